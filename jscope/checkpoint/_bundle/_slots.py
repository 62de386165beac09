"""Which names in a checkpoint are variables of the model, and which are an optimizer's.

Optimizers keep values beside each variable, its slots: for `net/w` TensorFlow 1 has `net/w/Adam` and `net/w/Adam_1`,
and TensorFlow 2, whose names follow Python attributes and end in `/.ATTRIBUTES/VARIABLE_VALUE`, has
`net/w/.OPTIMIZER_SLOT/optimizer/m`. A slot belongs to a variable, so the slots of one kind are a tree like the params.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from jscope import _path

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_ATTRIBUTES = "/.ATTRIBUTES/"
_SLOT = "/.OPTIMIZER_SLOT/"
# What the optimizers of TensorFlow 1 call their slots; the first letters tell them from parts of a model's names.
_KINDS = re.compile(
    r"(Adadelta|Adagrad|AdagradDA|AdaMax|Adam|AMSGrad|ExponentialMovingAverage|Ftrl|LARS|LAMB|Momentum|NAdam|Nadam|RMSProp)"
    r"(_\d+)?"
)
_BOOKKEEPING = re.compile(r"(.*/)?(beta[12]_power(_\d+)?|global_step|save_counter)")
_ESCAPES = {"..": ".", ".S": _path.SEPARATOR}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name in a checkpoint stands for.

    Attributes:
      path: The variable.
      slot: Which slot of that variable; empty for the variable itself.
    """

    path: str
    slot: str = ""


def meaning(name: str, names: Collection[str]) -> Meaning | None:
    """Returns what a name among `names` stands for, or None for what is not a variable.

    >>> names = ["net/w", "net/w/Adam", "train/net/w/Adam_1", "global_step"]
    >>> [meaning(name, names).slot for name in names]
    ['', 'Adam', 'Adam_1', '']
    >>> meaning("net/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE", [])
    Meaning(path='net', slot='opt/m')
    """
    if name == GRAPH:
        return None
    # A name of TensorFlow 1 has no part that begins with a dot.
    if _ATTRIBUTES in name:
        if not name.endswith(_VALUE):
            return None
        path, _, slot = name.removesuffix(_VALUE).partition(_SLOT)
        return Meaning(_attribute_path(path), slot)
    return _below_a_variable(name, names) or _of_a_known_kind(name, names) or Meaning(name)


def is_path_of_attributes(name: str) -> bool:
    """Whether TensorFlow 2 named this, by Python's attributes."""
    return _ATTRIBUTES in name


def is_bookkeeping(path: str) -> bool:
    """Whether this is known as a training's own, such as the count of its steps, though it is not a slot.

    >>> is_bookkeeping("train/beta1_power"), is_bookkeeping("net/w")
    (True, False)
    """
    return _BOOKKEEPING.fullmatch(path) is not None


def _below_a_variable(name: str, names: Collection[str]) -> Meaning | None:
    """What is below a variable is its slot, whatever it is called."""
    above = next((prefix for prefix in reversed(list(_path.prefixes(name))) if prefix in names), None)
    return Meaning(above, _path.relative(name, above) or "") if above else None


def _of_a_known_kind(name: str, names: Collection[str]) -> Meaning | None:
    """An optimizer made in a scope of its own has put that before the name: then the usual names of slots tell."""
    kind, above = _path.basename(name), _path.parent(name)
    # `train/net/w/Adam`: leave out names from the front until a variable is found.
    while _KINDS.fullmatch(kind) and above:
        if above in names:
            return Meaning(above, kind)
        above = above.partition(_path.SEPARATOR)[2]
    return None


def _attribute_path(path: str) -> str:
    """Returns a path of attributes with the characters that TensorFlow 2 writes otherwise."""
    return re.sub(r"\.\.|\.S", lambda match: _ESCAPES[match[0]], path)
