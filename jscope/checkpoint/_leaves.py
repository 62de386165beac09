"""Any pytree as arrays by name, and back.

The name of a leaf is its path as JAX names it: `enc/w` in nested dicts, `0/mu/enc/w` in the state of an optimizer. What
is not an array is stored as one, and its *kind* beside it says what it was: a random key (as its data), a Python
number. None and empty containers have no leaves; they come back with the structure that `rebuild` is given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope import _path, tree
from jscope._spec import VariableSpec
from jscope._specs import Specs
from jscope.checkpoint._errors import UnsupportedCheckpointError
from jscope.errors import NameConflictError

KINDS = "jscope.kinds"
"""The entry of a checkpoint's metadata that tells the kinds by name, as JSON."""

_KEY = "key:"
_NUMBERS: Mapping[str, type] = {"bool": bool, "int": int, "float": float, "complex": complex}


def flatten(item: Any) -> dict[str, Any]:
    """Returns the leaves of any pytree by name, in its order.

    >>> flatten({"enc": {"w": 1, "b": 2}, "steps": [3, None, (4,)]})
    {'enc/w': 1, 'enc/b': 2, 'steps/0': 3, 'steps/2/0': 4}

    Raises:
      NameConflictError: Two leaves have one name, or one's name is a prefix of another's.
      InvalidNameError: A name is not printable, or has an empty part.
    """
    flat: dict[str, Any] = {}
    for name, leaf in _leaves(item, ""):
        if name in flat:
            raise NameConflictError(f"Two leaves have the name `{name}`. Rename one of them.")
        flat[name] = leaf
    _path.check_all(flat)
    above: set[str] = set()
    parents = set(map(_path.parent, flat))
    while parents := parents - above - {""}:
        above |= parents
        parents = set(map(_path.parent, parents))
    return flat if above.isdisjoint(flat) else tree.flatten(flat)  # Which says what is a prefix of what.


def rebuild(like: Any, leaf_of: Callable[[str], Any], at: str = "") -> Any:
    """Returns a pytree of the structure of `like`, whose leaves are those of a name.

    >>> rebuild({"enc": {"w": 0}, "steps": [0, None]}, str.upper)
    {'enc': {'w': 'ENC/W'}, 'steps': ['STEPS/0', None]}
    """
    if _is_array(like):
        return leaf_of(at)
    if isinstance(like, Specs):
        like = like.map(lambda spec: spec)  # Specs are flat, what they stand for nests.
    # Not by `jax.tree`, which would sort the keys: the order of a model's variables is that of their creation.
    if _is_names(like):
        return {key: rebuild(value, leaf_of, _child(at, key)) for key, value in like.items()}

    def replace(path: Any, leaf: Any) -> Any:
        name = _join(at, path)
        return rebuild(leaf, leaf_of, name) if _is_names(leaf) else leaf_of(name)

    return jax.tree_util.tree_map_with_path(replace, like, is_leaf=_is_names)


def to_arrays(flat: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the leaves as arrays (of NumPy or JAX), and the kinds of those that were none.

    >>> to_arrays({"w": np.float32(1.5), "step": 3})
    ({'w': array(1.5, dtype=float32), 'step': array(3)}, {'step': 'int'})

    Raises:
      UnsupportedCheckpointError: A leaf is neither array, nor number, nor random key.
    """
    arrays, kinds = {}, {}
    for name, leaf in flat.items():
        if type(leaf) is np.ndarray and leaf.dtype.kind in "biufc" and leaf.dtype.isnative:
            arrays[name] = leaf  # Most are, and need not be asked all that follows.
            continue
        check_alive(name, leaf)
        kind = kind_of(leaf)
        arrays[name] = jax.random.key_data(leaf) if is_key(leaf) else as_array(name, leaf)
        if kind is not None:
            kinds[name] = kind
    return arrays, kinds


def from_array(value: Any, kind: str | None) -> Any:
    """Returns the leaf that was stored as an array.

    >>> from_array(np.array(3), "int")
    3
    """
    if kind is None:
        return value
    if is_key_kind(kind):
        return jax.random.wrap_key_data(jnp.asarray(value), impl=kind.removeprefix(_KEY))
    return _NUMBERS[kind](value)


def kind_of(leaf: Any) -> str | None:
    """Returns the kind of a leaf, None for an array.

    >>> kind_of(3), kind_of(jax.random.key(0)), kind_of(np.zeros(2))
    ('int', 'key:threefry2x32', None)
    """
    if is_key(leaf):
        return _KEY + _impl(leaf)
    number = number_type(leaf)
    return None if number is None else number.__name__


def number_type(leaf: Any) -> type | None:
    """Returns which of Python's numbers a leaf is, also as a subclass (an `IntEnum`); None for anything else.

    >>> number_type(True), number_type(np.float64(1.5))
    (<class 'bool'>, None)
    """
    if isinstance(leaf, np.generic):  # `np.float64` is a float to Python, but has a dtype to keep.
        return None
    return next((each for each in _NUMBERS.values() if isinstance(leaf, each)), None)  # A bool is an int, too: first.


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed random key, or stands for one."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and not isinstance(dtype, np.dtype) and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def is_key_kind(kind: str | None) -> bool:
    """Whether a kind is that of a random key.

    >>> is_key_kind("key:rbg"), is_key_kind("int")
    (True, False)
    """
    return kind is not None and kind.startswith(_KEY)


def as_array(name: str, leaf: Any) -> Any:
    """Returns a leaf as an array, or raises an error with its name."""
    # A tracer is an instance of `jax.Array`, too.
    if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer):
        return leaf
    if isinstance(leaf, np.ndarray | np.generic | bool | int | float | complex):
        value = np.asarray(leaf)
        # Objects, bytes, text, dates: an int beyond 64 bits becomes an object.
        if value.dtype.kind not in "OSUmM":
            return value.astype(native(value.dtype), copy=False)
    if isinstance(leaf, Tracer):
        what = "is being traced. Save outside of `jax.jit`"
    elif isinstance(leaf, jax.ShapeDtypeStruct):
        what = "is a `jax.ShapeDtypeStruct`, which has no value"
    else:
        what = (
            f"is a `{type(leaf).__name__}`{_dtype(leaf)}: neither an array of numbers, nor a number, nor a random key"
        )
    raise UnsupportedCheckpointError(f"`{name}` cannot be saved: it {what}.")


def native(dtype: Any) -> np.dtype:
    """Returns a dtype in the order of bytes of this machine: all that JAX has, and all that is stored.

    >>> native(np.dtype(">f4")) == np.float32
    True
    """
    return np.dtype(dtype).newbyteorder("=")


def check_alive(name: str, leaf: Any) -> None:
    """Raises for an array of JAX that has no value any more."""
    if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer) and leaf.is_deleted():
        raise UnsupportedCheckpointError(
            f"`{name}` cannot be saved: it was deleted, or donated to a function (`donate_argnums`).\nSave what that "
            "function has returned, or save before it is called."
        )


def with_kinds(metadata: Mapping[str, str], kinds: Mapping[str, str]) -> dict[str, str]:
    """Returns metadata with these kinds, in place of others that may stand there.

    >>> with_kinds({"license": "CC0"}, {"step": "int"})
    {'license': 'CC0', 'jscope.kinds': '{"step": "int"}'}
    """
    rest = {key: value for key, value in metadata.items() if key != KINDS}
    return rest | {KINDS: json.dumps(kinds)} if kinds else rest


def kinds_in(metadata: Mapping[str, str]) -> dict[str, str]:
    """Returns the kinds that the metadata of a checkpoint tell."""
    return json.loads(metadata.get(KINDS, "{}"))


def _impl(key: Any) -> str:
    found: list[str] = []
    # An abstract key tells its implementation only where it is traced.
    jax.eval_shape(lambda traced: found.append(str(jax.random.key_impl(traced))), key)
    return found[0]


def _leaves(item: Any, at: str) -> list[tuple[str, Any]]:
    if _is_array(item):
        return [(at, item)]
    if _is_names(item):
        found = []
        for key, value in item.items():
            name = _child(at, key)
            # Most of what stands in dicts are leaves, of which there may be many thousands.
            found += [(name, value)] if type(value) is np.ndarray else _leaves(value, name)
        return found
    below = [(_join(at, path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(item, is_leaf=_is_names)]
    return [pair for name, leaf in below for pair in (_leaves(leaf, name) if _is_names(leaf) else [(name, leaf)])]


def _is_array(item: Any) -> bool:
    """Whether this is a leaf of the most common kind, so that only the others are passed to JAX."""
    if type(item) is dict or type(item) is np.ndarray:
        return type(item) is not dict
    return isinstance(item, jax.ShapeDtypeStruct | VariableSpec | np.ndarray | jax.Array)


def _is_names(item: Any) -> bool:
    """Whether this is a mapping that JAX would sort, or not look into."""
    # `all_leaves` asks whether JAX takes the mapping for a leaf: then nobody else would look into it.
    return isinstance(item, Mapping) and (type(item) is dict or jax.tree_util.all_leaves([item]))


def _child(at: str, key: Any) -> str:
    """Returns the name of what stands under a key of a dict; a key that is not a string is named as JAX names it."""
    if type(key) is str:
        return _path.child(at, key)
    # Not by `f"{key}"`: the text of a member of an enumeration of strings is its name there, and not what it equals.
    return _path.child(at, str.__str__(key) if isinstance(key, str) else _join("", (jax.tree_util.DictKey(key),)))


def _join(at: str, path: Any) -> str:
    below = jax.tree_util.keystr(path, simple=True, separator=_path.SEPARATOR)
    return _path.SEPARATOR.join([at, below]) if at and path else at or below


def _dtype(leaf: Any) -> str:
    return f" of dtype {leaf.dtype}" if hasattr(leaf, "dtype") else ""
