"""`restore`: the variables of a model from any checkpoint, by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jscope import tree
from jscope._specs import Specs
from jscope._types import Key
from jscope._util._gc import gc_paused
from jscope.checkpoint import _fit, _leaves
from jscope.checkpoint._conversions._conversion import Conversion
from jscope.checkpoint._conversions._reader import converted
from jscope.checkpoint._names import Rename, Select, chosen
from jscope.checkpoint._open import read_checkpoint
from jscope.checkpoint._reader import Reader
from jscope.checkpoint._sources import sources
from jscope.errors import InvalidArgumentError

_ADVICE = (
    'What may differ: `rename=` names; `select=` takes some, of the model and of the checkpoint; `missing="init"` and '
    '`misshaped="init"` make others anew; `cast=True` converts.'
)


@dataclass(frozen=True, slots=True)
class _Options:
    """What may differ, as `restore` documents it."""

    select: Select
    rename: Rename
    conversion: Conversion | None
    missing: str
    misshaped: str
    cast: bool
    key: Any
    shardings: Any
    report: Any


@gc_paused()
def restore(
    like: Any,
    path: str | os.PathLike[str] | Reader,
    *,
    select: Select = None,
    rename: Rename = None,
    conversion: Conversion | None = None,
    missing: Literal["error", "init"] = "error",
    misshaped: Literal["error", "init"] = "error",
    cast: bool = False,
    key: Key | None = None,
    shardings: Any = None,
    report: Callable[[str], object] | None = None,
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
        params and the state are taken; of TensorFlow's, the variables, and of what an optimizer keeps beside them what
        `like` names.
      select: Which variables to take from the checkpoint, by the model's names: a regular expression found in them,
        or a predicate. The others are left out of the result; or initialized, with `missing="init"`.
      rename: From names in the checkpoint to the model's: `{regular expression: replacement}`, pairs of these, or a
        function.
      conversion: From names and layouts in the checkpoint, after `rename`, to the model's. Arrays are read, converted
        and placed one at a time.
      missing: `"init"` makes initial values for what the checkpoint lacks; needs `Specs` and a `key`.
      misshaped: `"init"` does so for what has another shape in the checkpoint: a head of other classes, say.
      cast: Whether to convert values to the dtypes wanted, where these can hold them.
      key: The random key of initial values; they are those that `init` gives with this key.
      shardings: Where to put values, before what `like` says: one sharding, or a nested dict of them.
      report: What to call with a text of what was taken and what was made anew, and why: `print`, say.

    Raises:
      StructureMismatchError: One report of everything missing, unexpected, mis-shaped and mis-typed.
      MissingVariableError: A regular expression of `rename` or `select` does not match any name.
      CheckpointError: The checkpoint cannot be read.
    """
    for argument, choice in (("missing", missing), ("misshaped", misshaped)):
        _check_choice(argument, choice, like, key)
    options = _Options(select, rename, conversion, missing, misshaped, cast, key, shardings, report)
    if isinstance(path, Reader):
        return _restored(path, like, options)
    return read_checkpoint(path, lambda reader: _restored(reader, like, options))


def _restored(reader: Reader, like: Any, options: _Options) -> Any:
    leaves = _leaves.flatten(like)
    reader, found_names, more = _found(reader, leaves, options)
    names = chosen(found_names, options.select)
    targets = _targets(leaves, options.shardings)
    wanted_leaves = {name: _fit.wanted_leaf(name, leaf, targets[name]) for name, leaf in leaves.items()}
    asked = {name: wanted_leaves[name] for name in chosen(dict.fromkeys(wanted_leaves, ""), options.select, some=True)}
    found = _fit.found_leaves(reader, names)
    # Before the report, which is then about the rest only.
    misshaped = _misshaped(asked, found) if options.misshaped == "init" else []
    there = {name: each for name, each in asked.items() if name in names and name not in misshaped}
    # With nothing found, initial values for everything would hide that this is another model's checkpoint.
    lacking = wanted_leaves if options.missing == "init" else misshaped
    made = {name: wanted_leaves[name] for name in lacking if name not in there} if there else {}
    taken = {name: each for name, each in asked.items() if name not in made}
    _fit.check(
        taken,
        {name: each for name, each in found.items() if name not in made},
        made=made,
        title=f"`{reader.path}` does not fit the model:",
        advice=_advice(like, taken, found),
        cast=options.cast,
        more=more,
    )
    values = _fit.take(reader, names, taken, one_by_one=options.conversion is not None)
    if made:
        new = like.select(lambda spec: spec.path in made)
        values |= tree.flatten(new.materialize(options.key, {name: targets[name] for name in made}))
    if options.report is not None:
        options.report(_report(reader.path, taken, made, found))
    # With some left out, the structure of `like` cannot be kept: it would need a value for each leaf.
    if len(values) < len(leaves):
        return tree.unflatten({name: values[name] for name in leaves if name in values})
    return _leaves.rebuild(like, values.__getitem__)


def _found(reader: Reader, leaves: Mapping[str, Any], options: _Options) -> tuple[Reader, dict[str, str], list[str]]:
    """Returns what to read from, which names there are by the model's, and what a conversion cannot take."""
    if options.conversion is None:
        return reader, sources(reader, options.rename, leaves.__contains__), []
    theirs = sources(reader, options.rename, options.conversion.takes)
    view = converted(reader, options.conversion, theirs, leaves)
    # Who selects does not want all that there is.
    more = view.problems + (view.unmatched if options.select is None else [])
    return view, {name: name for name in view.get_variable_to_shape_map()}, more


def _advice(like: Any, taken: Iterable[str], found: Mapping[str, Any]) -> str:
    missing = [name for name in taken if name not in found]
    if missing and isinstance(like, Specs) and like.params and not any(like[name].trainable for name in missing):
        return f"What is missing is state: to restore the params only, ask for `specs.params`.\n{_ADVICE}"
    return _ADVICE


def _misshaped(asked: Mapping[str, _fit.Leaf], found: Mapping[str, _fit.Leaf]) -> list[str]:
    """Returns the names of the arrays that have another shape in the checkpoint."""
    both = [name for name, each in asked.items() if name in found and each.kind is None is found[name].kind]
    return [name for name in both if asked[name].shape != found[name].shape]


def _report(path: str, taken: Mapping[str, Any], made: Mapping[str, _fit.Leaf], found: Mapping[str, _fit.Leaf]) -> str:
    title = f"{len(taken)} variables taken from `{path}`, {len(made)} initialized"
    lines = [f"  {name}: {_why_made(each, found.get(name))}" for name, each in made.items()]
    return "\n".join([title + (":" if lines else "."), *lines])


def _why_made(leaf: _fit.Leaf, found: _fit.Leaf | None) -> str:
    if found is None:
        return "not there, or not selected"
    return f"has the shape {list(found.shape)} there, not {list(leaf.shape)}"


def _targets(names: Iterable[str], shardings: Any) -> dict[str, Any]:
    """Returns what `shardings` says for each name."""
    if not isinstance(shardings, Mapping):
        return dict.fromkeys(names, shardings)
    flat = _leaves.flatten(shardings)
    return {name: flat.get(name) for name in names}


def _check_choice(argument: str, choice: str, like: Any, key: Any) -> None:
    if choice not in ("error", "init"):
        raise InvalidArgumentError(f'{argument}={choice!r} is neither "error" nor "init".')
    if choice == "init" and (key is None or not isinstance(like, Specs)):
        raise InvalidArgumentError(
            f'{argument}="init" needs specs, which know the initializers, and a random key; here are a '
            f"`{type(like).__name__}` and key={key!r}.\n"
            f'Call `restore(model.specs(x), path, {argument}="init", key=jax.random.key(0))`.'
        )
