"""`restore`: the variables of a model from any checkpoint, by name."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jscope import _path, tree
from jscope._specs import Specs
from jscope._types import Key
from jscope._util._gc import gc_paused
from jscope.checkpoint import _fit, _leaves
from jscope.checkpoint._names import Rename, Select, chosen, renamed
from jscope.checkpoint._open import read_checkpoint
from jscope.checkpoint._reader import Reader
from jscope.checkpoint._step import VERSION
from jscope.errors import InvalidArgumentError

_VARIABLES = ("params", "state")
_ADVICE = 'What may differ: `rename=` names, `select=` some, `missing="init"` makes others anew, `cast=True` converts.'


@dataclass(frozen=True, slots=True)
class _Options:
    """What may differ, as `restore` documents it."""

    select: Select
    rename: Rename
    missing: str
    cast: bool
    key: Any
    shardings: Any


@gc_paused()
def restore(
    like: Any,
    path: str | os.PathLike[str] | Reader,
    *,
    select: Select = None,
    rename: Rename = None,
    missing: Literal["error", "init"] = "error",
    cast: bool = False,
    key: Key | None = None,
    shardings: Any = None,
) -> Any:
    """Returns the values that a checkpoint has for the variables of a model.

    >>> import tempfile, jscope
    >>> from jscope import checkpoint
    >>> path = tempfile.mkdtemp() + "/old.safetensors"
    >>> checkpoint.safetensors.save(path, {"encoder": {"kernel": np.ones((2, 3), np.float32)}})
    >>> specs = jscope.specs(lambda s: (s / "enc").get_variable("w", (2, 3)))
    >>> checkpoint.restore(specs, path, rename={"encoder/kernel": "enc/w"})["enc"]["w"].shape
    (2, 3)

    Everything is checked against the checkpoint's table of contents first; arrays are read only where all fits, and
    only those that are needed.

    Args:
      like: What is wanted: `Specs`, or a pytree of arrays or `jax.ShapeDtypeStruct`s. Where these have shardings,
        values are put there; where they are NumPy's, values are.
      path: A checkpoint of any format, as for `load_checkpoint`; or a reader. Of what a `Checkpointer` saved, the
        params and the state are taken.
      select: Which variables to take from the checkpoint, by the model's names: a regular expression found in them,
        or a predicate. The others are left out of the result; or initialized, with `missing="init"`.
      rename: From names in the checkpoint to the model's: `{regular expression: replacement}`, pairs of these, or a
        function.
      missing: `"init"` makes initial values for what the checkpoint lacks; needs `Specs` and a `key`.
      cast: Whether to convert values to the dtypes wanted, where these can hold them.
      key: The random key of initial values; they are those that `init` gives with this key.
      shardings: Where to put values, before what `like` says: one sharding, or a nested dict of them.

    Raises:
      StructureMismatchError: One report of everything missing, unexpected, mis-shaped and mis-typed.
      CheckpointError: The checkpoint cannot be read.
    """
    _check_missing(missing, like, key)
    options = _Options(select, rename, missing, cast, key, shardings)
    if isinstance(path, Reader):
        return _restored(path, like, options)
    return read_checkpoint(path, lambda reader: _restored(reader, like, options))


def _restored(reader: Reader, like: Any, options: _Options) -> Any:
    leaves = _leaves.flatten(like)
    names = chosen(_sources(reader, options.rename, leaves), options.select)
    targets = _targets(leaves, options.shardings)
    wanted_leaves = {name: _fit.wanted_leaf(name, leaf, targets[name]) for name, leaf in leaves.items()}
    asked = {name: wanted_leaves[name] for name in chosen(dict.fromkeys(wanted_leaves, ""), options.select)}
    there = {name: each for name, each in asked.items() if name in names}
    # With nothing found, initial values for everything would hide that this is another model's checkpoint.
    taken = there if options.missing == "init" and there else asked
    title = f"`{reader.path}` does not fit the model:"
    made = (
        {name: each for name, each in wanted_leaves.items() if name not in taken} if options.missing == "init" else {}
    )
    found = _fit.found_leaves(reader, names)
    _fit.check(taken, found, made=made, title=title, advice=_ADVICE, cast=options.cast)
    values = _fit.take(reader, names, taken)
    if options.missing == "init":
        lacking = like.select(lambda spec: spec.path not in values)
        values |= tree.flatten(lacking.materialize(options.key, {name: targets[name] for name in lacking.flat()}))
    # With some left out, the structure of `like` cannot be kept: it would need a value for each leaf.
    if len(values) < len(leaves):
        return tree.unflatten({name: values[name] for name in leaves if name in values})
    return _leaves.rebuild(like, values.__getitem__)


def _sources(reader: Reader, rename: Rename, wanted: Container[str]) -> dict[str, str]:
    """Returns the names in a checkpoint by the model's; of what a `Checkpointer` saved, those of params and state.

    Who wants only the params is not told that the state is unexpected, nor the other way round.
    """
    names = {name: name for name in reader.get_variable_to_shape_map()}
    if VERSION not in reader.metadata or not any(_path.relative(name, _VARIABLES[0]) for name in names):
        return renamed(names, rename)
    items = {item: {short: name for name in names if (short := _path.relative(name, item))} for item in _VARIABLES}
    below = items["params"] | items["state"]
    sources = {new: below[old] for new, old in renamed(below, rename).items()}
    parts = [{new: old for new, old in sources.items() if _path.relative(old, item)} for item in _VARIABLES]
    of_use = [part for part in parts if any(name in wanted for name in part)]
    return {new: old for part in of_use or parts for new, old in part.items()}


def _targets(names: Iterable[str], shardings: Any) -> dict[str, Any]:
    """Returns what `shardings` says for each name."""
    if not isinstance(shardings, Mapping):
        return dict.fromkeys(names, shardings)
    flat = _leaves.flatten(shardings)
    return {name: flat.get(name) for name in names}


def _check_missing(missing: str, like: Any, key: Any) -> None:
    if missing not in ("error", "init"):
        raise InvalidArgumentError(f'missing={missing!r} is neither "error" nor "init".')
    if missing == "init" and (key is None or not isinstance(like, Specs)):
        raise InvalidArgumentError(
            f'missing="init" needs specs, which know the initializers, and a random key; here are a '
            f"`{type(like).__name__}` and key={key!r}.\n"
            'Call `restore(model.specs(x), path, missing="init", key=jax.random.key(0))`.'
        )
