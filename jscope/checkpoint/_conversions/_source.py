"""Where arrays come from: names with shapes and dtypes, and one region at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from jscope._types import Shape
from jscope.checkpoint._conversions._axes import Range
from jscope.checkpoint._reader import Reader


@dataclass(frozen=True, slots=True)
class Type:
    """Shape and dtype of an array, where it is a file's or is not there yet."""

    shape: Shape
    dtype: Any

    def __str__(self) -> str:
        return f"{getattr(self.dtype, 'name', self.dtype)}{list(self.shape)}"


def type_of(array: Any) -> Type:
    """Returns shape and dtype of anything that has them; a Python number has NumPy's."""
    if hasattr(array, "shape") and hasattr(array, "dtype"):
        return Type(tuple(array.shape), array.dtype)
    return Type(np.shape(array), np.asarray(array).dtype)


class Source(Protocol):
    """Arrays by name."""

    @property
    def types(self) -> Mapping[str, Type]:
        """What there is."""
        ...

    def read(self, name: str, ranges: Sequence[Range]) -> np.ndarray:
        """Returns a region of an array: where it begins and ends on each axis."""
        ...


def whole(shape: Shape) -> list[Range]:
    """Returns the region that is all of an array.

    >>> whole((2, 3))
    [(0, 2), (0, 3)]
    """
    return [(0, size) for size in shape]


def index_of(ranges: Sequence[Range]) -> tuple[slice, ...]:
    """Returns a region as an index of NumPy."""
    return tuple(slice(begin, end) for begin, end in ranges)


@dataclass(frozen=True)
class FromReader:
    """The arrays of a checkpoint under other names: `names` tells those in the checkpoint."""

    reader: Reader
    types: Mapping[str, Type]
    names: Mapping[str, str]

    def read(self, name: str, ranges: Sequence[Range]) -> np.ndarray:
        """Returns a region: a view of the file, where the format gives one."""
        return self.reader.get_tensor(self.names[name])[index_of(ranges)]


def from_reader(reader: Reader, names: Mapping[str, str]) -> FromReader:
    """Returns some arrays of a checkpoint as a source."""
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    return FromReader(reader, {new: Type(tuple(shapes[old]), dtypes[old]) for new, old in names.items()}, names)


@dataclass(frozen=True)
class FromArrays:
    """Arrays in memory."""

    arrays: Mapping[str, Any]
    types: Mapping[str, Type]

    def read(self, name: str, ranges: Sequence[Range]) -> np.ndarray:
        """Returns a region, a view where the array is on the host."""
        array = self.arrays[name]
        if isinstance(array, jax.Array) and any(each.platform != "cpu" for each in array.devices()):
            # JAX keeps what it has copied to the host as long as the array lives: of a part only, which dies at once.
            return np.asarray(array if tuple(ranges) == tuple(whole(array.shape)) else array[index_of(ranges)])
        return np.asarray(array)[index_of(ranges)]


def from_arrays(arrays: Mapping[str, Any]) -> FromArrays:
    """Returns arrays in memory as a source."""
    return FromArrays(arrays, {name: type_of(array) for name, array in arrays.items()})
