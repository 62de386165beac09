"""Taking from a checkpoint what a model wants: one report of all that does not fit, before any array is read.

A wish is a leaf: an array, a `jax.ShapeDtypeStruct` or a spec tell shape and dtype; a random key and a Python number
want one back. What is found is known from the checkpoint's table of contents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding, SingleDeviceSharding

from jscope._check import differences
from jscope._spec import VariableSpec
from jscope._types import Shape
from jscope.checkpoint import _leaves
from jscope.checkpoint._put import HOST, Target, put, read_onto, target_of
from jscope.checkpoint._reader import Reader
from jscope.errors import DTypeMismatchError, InvalidArgumentError, StructureMismatchError

_LAYERS = {
    "`jscope.tree.stack(": 'stack(restore(jscope.tree.unstack(specs, at="..."), path), at="...")',
    "`jscope.tree.unstack(": 'unstack(restore(jscope.tree.stack(specs.shape_dtype(), at="..."), path), at="...")',
}
_WIDTH = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one leaf should be: what is stored for it, its kind, where it goes, and the type of a Python number."""

    shape: Shape
    dtype: np.dtype
    kind: str | None
    target: Target
    number: type | None = None

    @property
    def stored(self) -> tuple[Shape, np.dtype, str | None]:
        """What must agree with what is found."""
        return self.shape, self.dtype, self.kind

    @property
    def is_number(self) -> bool:
        """Whether it is a Python number."""
        return self.kind is not None and not _leaves.is_key_kind(self.kind)


def wanted_leaf(name: str, leaf: Any, target: Target = None) -> Leaf:
    """Returns what a leaf wants to be restored to."""
    kind = _leaves.kind_of(leaf)
    target = target_of(leaf) if target is None else target
    if _leaves.is_key_kind(kind):
        data = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
        return Leaf(data.shape, np.dtype(data.dtype), kind, target)
    if kind is None and not (hasattr(leaf, "dtype") and hasattr(leaf, "shape")):
        raise InvalidArgumentError(
            f"`{name}` is wanted as a `{type(leaf).__name__}`, which no checkpoint has.\nGive arrays, "
            "`jax.ShapeDtypeStruct`s, specs, random keys and Python numbers; leave out what else there is."
        )
    if kind is not None:
        array = np.asarray(_leaves.number_type(leaf)(leaf))  # pyright: ignore[reportOptionalCall]
        return Leaf((), array.dtype, kind, target, type(leaf))
    return Leaf(tuple(leaf.shape), _leaves.native(leaf.dtype), kind, target)


def found_leaves(reader: Reader, names: Mapping[str, str]) -> dict[str, Leaf]:
    """Returns what a checkpoint has, by jscope's names; `names` tells those in the checkpoint."""
    # To list the shapes of a large checkpoint costs, and nothing may be wanted of it.
    if not names:
        return {}
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    kinds = _leaves.kinds_in(reader.metadata)
    return {new: Leaf(tuple(shapes[old]), np.dtype(dtypes[old]), kinds.get(old), HOST) for new, old in names.items()}


def check(
    wanted: Mapping[str, Leaf],
    found: Mapping[str, Leaf],
    *,
    made: Mapping[str, Leaf] | None = None,
    title: str,
    advice: str = "",
    cast: bool = False,
    more: Sequence[str] = (),
) -> None:
    """Raises one report of everything missing, unexpected, mis-shaped and mis-typed, if there is anything.

    `more` are lines that belong into it. What is `made` anew needs no place in the checkpoint, but its sharding must
    divide it, too.

    Raises:
      StructureMismatchError: With the report.
    """
    agreed = {name: _adapted(each, wanted.get(name), cast) for name, each in found.items()}
    lines = [*more, *_differences(wanted, agreed), *_cut(wanted), *_undivided({**wanted, **(made or {})})]
    if lines:
        told = [call for words, call in _LAYERS.items() if any(words in line for line in lines)]
        layers = [f"Restore layers as the checkpoint has them: `jscope.tree.{call}`." for call in told]
        raise StructureMismatchError("\n".join([title, *lines, *layers, advice]).rstrip())


def _differences(wanted: Mapping[str, Leaf], found: Mapping[str, Leaf]) -> list[str]:
    # The usual case, at a fraction of what a report costs for thousands of variables.
    if wanted.keys() == found.keys() and all(each.stored == found[name].stored for name, each in wanted.items()):
        return []
    # Of another kind is one line, not two about its shape and dtype.
    other = {name: each for name, each in wanted.items() if name in found and found[name].kind != each.kind}
    same = {name: each for name, each in wanted.items() if name not in other}
    lines = differences(
        {name: VariableSpec(name, each.shape, each.dtype, "") for name, each in same.items()},
        {name: jax.ShapeDtypeStruct(each.shape, each.dtype) for name, each in found.items() if name not in other},
    )
    return lines + [
        f"  kind:       `{name}` is {_kind(found[name])}, expected {_kind(each)}" for name, each in other.items()
    ]


def _cut(wanted: Mapping[str, Leaf]) -> list[str]:
    """Returns a line for each array that JAX would cut to 32 bits."""
    return [
        f"  dtype:      `{name}` is wanted in {each.dtype}, which JAX has only with `jax_enable_x64`"
        for name, each in wanted.items()
        if each.dtype.itemsize >= 8 and each.target is not HOST and _canonical(each.dtype) != each.dtype
    ]


def _undivided(wanted: Mapping[str, Leaf]) -> list[str]:
    """Returns a line for each array that cannot be divided as its sharding says."""
    reasons = {name: _why_undivided(each.target, each.shape) for name, each in wanted.items() if each.target}
    return [f"  sharding:   `{name}` cannot be {reason}" for name, reason in reasons.items() if reason]


@lru_cache(maxsize=1024)
def _why_undivided(target: Target, shape: Shape) -> str:
    if not isinstance(target, Sharding) or isinstance(target, SingleDeviceSharding):
        return ""
    text = f"on {getattr(target, 'spec', target)}"
    try:
        target.shard_shape(shape)
    except (ValueError, IndexError) as error:
        # JAX says which axis, between a description of the mesh and the factors of all axes.
        reason = str(error).partition("implies that ")[2].partition(" (full")[0]
        return f"{text}: it has the shape {list(shape)}{f', and {reason}' if reason else ' of fewer axes'}"
    return ""


def _canonical(dtype: np.dtype) -> np.dtype:
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def take(
    reader: Reader, names: Mapping[str, str], wanted: Mapping[str, Leaf], *, one_by_one: bool = False
) -> dict[str, Any]:
    """Returns the leaves of these wanted, which were checked before."""
    dtypes = reader.get_variable_to_dtype_map()
    # Converted on the host: JAX would cut 64 bits first.
    others = {name: each for name, each in wanted.items() if not each.is_number and dtypes[names[name]] != each.dtype}
    rest = {name: each for name, each in wanted.items() if name not in others}
    # Of arrays that are made one at a time, one is on the host at a time, too.
    groups = [{name: each} for name, each in others.items()] if one_by_one else [others]
    values = {}
    for group in (rest, *groups):
        values |= _read(reader, names, group, cast=group is not rest)
    return {name: _finished(name, _leaves.from_array(values[name], each.kind), each) for name, each in wanted.items()}


def _read(reader: Reader, names: Mapping[str, str], wanted: Mapping[str, Leaf], *, cast: bool) -> dict[str, Any]:
    """Returns arrays in their targets, cast to their dtypes or as they are."""
    targets = {name: each.target for name, each in wanted.items()}
    arrays = read_onto(reader, {names[name]: HOST if cast else target for name, target in targets.items()})
    values = {name: arrays[names[name]] for name in wanted}
    return (
        put({name: _converted(name, each, wanted[name].dtype) for name, each in values.items()}, targets)
        if cast
        else values
    )


def _finished(name: str, value: Any, leaf: Leaf) -> Any:
    """Returns a number in the type in which it is wanted: a member of an `IntEnum`, say."""
    if leaf.number is None:
        return value
    try:
        return leaf.number(value)
    except (ValueError, TypeError) as error:
        raise DTypeMismatchError(
            f"`{name}` is {value!r}, and is wanted as a `{leaf.number.__name__}`, which it cannot be: {error}.\n"
            f"Ask for a plain `{leaf.kind}`."
        ) from error


def _converted(name: str, value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Returns an array in another dtype; numbers may be rounded, but none is lost."""
    # What overflows is found below, with the name of the variable.
    with np.errstate(over="ignore"):
        new = value.astype(dtype)
    lost = (
        new.astype(value.dtype) != value
        if jnp.issubdtype(dtype, jnp.integer)  # Which must come back the same; floats may be rounded, not overflow.
        else np.isfinite(value) & ~np.isfinite(new)
    )
    if np.any(lost):
        raise DTypeMismatchError(f"`{name}` has values that {dtype} cannot hold, such as {value[lost].flat[0]}.")
    return new


def _adapted(found: Leaf, asked: Leaf | None, cast: bool) -> Leaf:
    """Returns what is found as what it may be taken for: Python numbers take any dtype that holds them."""
    if asked is None:
        return found
    numbers = found.shape == asked.shape == () and (found.is_number or asked.is_number)
    free = numbers and None in (found.kind, asked.kind) and _width(found.dtype) == _width(asked.dtype)
    # A count of steps is an int64 in TensorFlow, and an int32 in JAX; whether it fits is seen when it is read.
    free = free or (
        found.shape == asked.shape == () and found.kind is asked.kind is None and _are_integers(found, asked)
    )
    if free:
        found = replace(found, kind=asked.kind)
    if free or (cast and found.kind is None and _width(found.dtype) <= _width(asked.dtype)):
        return replace(found, dtype=asked.dtype)
    return found


def _are_integers(*leaves: Leaf) -> bool:
    return all(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in leaves)


def _width(dtype: np.dtype) -> int:
    """Orders dtypes by what they hold: bool, integers, floats, complex numbers."""
    if jnp.issubdtype(dtype, jnp.floating):
        return _WIDTH["f"]
    return _WIDTH["i"] if jnp.issubdtype(dtype, jnp.integer) else _WIDTH.get(dtype.kind, -1)


def _kind(each: Leaf) -> str:
    if each.kind is None:
        return f"an array {each.dtype}{list(each.shape)}"
    return f"a Python `{each.kind}`" if each.is_number else f"a random key ({each.kind.partition(':')[2]})"
