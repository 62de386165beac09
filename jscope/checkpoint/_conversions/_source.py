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


class FromReader:
    """The arrays of a checkpoint under other names: `names` tells those in the checkpoint."""

    def __init__(self, reader: Reader, names: Mapping[str, str]) -> None:
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        self.types: Mapping[str, Type] = {new: Type(tuple(shapes[old]), dtypes[old]) for new, old in names.items()}
        self._reader, self._names = reader, names
        self._mapped: dict[str, np.ndarray] = {}
        self._last: tuple[str, np.ndarray] | None = None

    def read(self, name: str, ranges: Sequence[Range]) -> np.ndarray:
        """Returns a region: a view of the file, where the format gives one."""
        return self._array(name)[index_of(ranges)]

    def _array(self, name: str) -> np.ndarray:
        """Returns an array; many regions of one are read, and some formats compare a checksum each time."""
        if name in self._mapped:
            return self._mapped[name]
        if self._last is None or self._last[0] != name:
            self._last = None  # Before the next is there, which may be as large.
            self._last = name, self._reader.get_tensor(self._names[name])
        array = self._last[1]
        if _is_mapped(array):  # It takes no memory.
            self._mapped[name] = array
        return array


def _is_mapped(array: np.ndarray) -> bool:
    """Whether an array is a view of something other than memory that NumPy has."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return not array.flags.owndata


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
