"""Taking from a checkpoint what a model wants: one report of all that does not fit, before any array is read.

A wish is a leaf: an array, a `jax.ShapeDtypeStruct` or a spec tell shape and dtype; a random key and a Python number
want one back. What is found is known from the checkpoint's table of contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope._check import differences
from jscope._spec import VariableSpec
from jscope._types import Shape
from jscope.checkpoint import _leaves
from jscope.checkpoint._place import HOST, Place, load, place_of, put
from jscope.checkpoint._reader import Reader
from jscope.errors import DTypeMismatchError, InvalidArgumentError, StructureMismatchError

_WIDTH = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


@dataclass(frozen=True, slots=True)
class Wish:
    """What one leaf should be: what is stored for it, its kind, and where it goes."""

    shape: Shape
    dtype: np.dtype
    kind: str | None
    place: Place

    @property
    def stored(self) -> tuple[Shape, np.dtype, str | None]:
        """What must agree with what is found."""
        return self.shape, self.dtype, self.kind

    @property
    def is_number(self) -> bool:
        """Whether it is a Python number."""
        return self.kind is not None and not _leaves.is_key_kind(self.kind)


def wish(name: str, leaf: Any, place: Place = None) -> Wish:
    """Returns what a leaf wants to be restored to."""
    kind = _leaves.kind_of(leaf)
    place = place_of(leaf) if place is None else place
    if _leaves.is_key_kind(kind):
        data = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
        return Wish(data.shape, np.dtype(data.dtype), kind, place)
    if kind is None and not (hasattr(leaf, "dtype") and hasattr(leaf, "shape")):
        raise InvalidArgumentError(
            f"`{name}` is wanted as a `{type(leaf).__name__}`, which no checkpoint has.\nGive arrays, "
            "`jax.ShapeDtypeStruct`s, specs, random keys and Python numbers; leave out what else there is."
        )
    if kind is not None:
        leaf = np.asarray(leaf)
    return Wish(tuple(leaf.shape), np.dtype(leaf.dtype), kind, place)


def contents(reader: Reader, names: Mapping[str, str]) -> dict[str, Wish]:
    """Returns what a checkpoint has, by jscope's names; `names` tells those in the checkpoint."""
    if not names:
        return {}
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    kinds = _leaves.kinds_in(reader.metadata)
    return {new: Wish(tuple(shapes[old]), np.dtype(dtypes[old]), kinds.get(old), HOST) for new, old in names.items()}


def check(
    wishes: Mapping[str, Wish], found: Mapping[str, Wish], *, title: str, advice: str = "", cast: bool = False
) -> None:
    """Raises one report of everything missing, unexpected, mis-shaped and mis-typed, if there is anything.

    Raises:
      StructureMismatchError: With the report.
    """
    agreed = {name: _adapted(each, wishes.get(name), cast) for name, each in found.items()}
    lines = [*_differences(wishes, agreed), *_cut(wishes)]
    if lines:
        raise StructureMismatchError("\n".join([title, *lines, advice]).rstrip())


def _differences(wishes: Mapping[str, Wish], found: Mapping[str, Wish]) -> list[str]:
    if wishes.keys() == found.keys() and all(each.stored == found[name].stored for name, each in wishes.items()):
        return []
    other = {name: each for name, each in wishes.items() if name in found and found[name].kind != each.kind}
    same = {name: each for name, each in wishes.items() if name not in other}
    lines = differences(
        {name: VariableSpec(name, each.shape, each.dtype, "") for name, each in same.items()},
        {name: jax.ShapeDtypeStruct(each.shape, each.dtype) for name, each in found.items() if name not in other},
    )
    return lines + [
        f"  kind:       `{name}` is {_kind(found[name])}, expected {_kind(each)}" for name, each in other.items()
    ]


def _cut(wishes: Mapping[str, Wish]) -> list[str]:
    """Returns a line for each array that JAX would cut to 32 bits."""
    return [
        f"  dtype:      `{name}` is wanted in {each.dtype}, which JAX has with `jax_enable_x64` alone"
        for name, each in wishes.items()
        if each.dtype.itemsize >= 8 and each.place is not HOST and _canonical(each.dtype) != each.dtype
    ]


def _canonical(dtype: np.dtype) -> np.dtype:
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def take(reader: Reader, names: Mapping[str, str], wishes: Mapping[str, Wish]) -> dict[str, Any]:
    """Returns the leaves of these wishes, which were checked before."""
    dtypes = reader.get_variable_to_dtype_map()
    # Converted on the host: JAX would cut 64 bits first.
    others = {name: each for name, each in wishes.items() if not each.is_number and dtypes[names[name]] != each.dtype}
    arrays = load(reader, {names[name]: HOST if name in others else each.place for name, each in wishes.items()})
    values = {name: arrays[names[name]] for name in wishes}
    converted = {name: _converted(name, values[name], each.dtype) for name, each in others.items()}
    values |= put(converted, {name: each.place for name, each in others.items()})
    return {name: _leaves.decode(values[name], each.kind) for name, each in wishes.items()}


def _converted(name: str, value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Returns an array in another dtype; numbers may be rounded, but none is lost."""
    with np.errstate(over="ignore"):
        new = value.astype(dtype)
    lost = (
        new.astype(value.dtype) != value
        if jnp.issubdtype(dtype, jnp.integer)
        else np.isfinite(value) & ~np.isfinite(new)
    )
    if np.any(lost):
        raise DTypeMismatchError(f"`{name}` has values that {dtype} cannot hold, such as {value[lost].flat[0]}.")
    return new


def _adapted(found: Wish, wanted: Wish | None, cast: bool) -> Wish:
    """Returns what is found as what it may be taken for: Python numbers take any dtype that holds them."""
    if wanted is None:
        return found
    numbers = found.shape == wanted.shape == () and (found.is_number or wanted.is_number)
    free = numbers and None in (found.kind, wanted.kind) and _width(found.dtype) == _width(wanted.dtype)
    if free:
        found = replace(found, kind=wanted.kind)
    if free or (cast and found.kind is None and _width(found.dtype) <= _width(wanted.dtype)):
        return replace(found, dtype=wanted.dtype)
    return found


def _width(dtype: np.dtype) -> int:
    """Orders dtypes by what they hold: bool, integers, floats, complex numbers."""
    if jnp.issubdtype(dtype, jnp.floating):
        return _WIDTH["f"]
    return _WIDTH["i"] if jnp.issubdtype(dtype, jnp.integer) else _WIDTH.get(dtype.kind, -1)


def _kind(each: Wish) -> str:
    if each.kind is None:
        return f"an array {each.dtype}{list(each.shape)}"
    return f"a Python `{each.kind}`" if each.is_number else f"a random key ({each.kind.partition(':')[2]})"
