"""An open file is a mapping from names to arrays that stay in it: an index reads what it selects, and nothing else."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jscope._types import Shape


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StoredArray:
    """An array in a file. `array[2:4]` reads these rows only; `numpy.asarray(array)` reads it all.

    A digest is that of a whole array, so only what is read whole is compared with it.
    """

    shape: Shape
    dtype: np.dtype
    whole: Callable[[], np.ndarray]
    part: Callable[[Any], np.ndarray]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("A scalar has no length.")
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """Returns what an index of NumPy selects: for slices, a read-only view of the file."""
        return self.part(index)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.whole()
        # NumPy 1 passes no `copy`, and takes None for False.
        return np.array(array, dtype) if copy else np.asarray(array, dtype)

    def __repr__(self) -> str:
        return f"<StoredArray {self.dtype.name}{list(self.shape)}>"


class Stored(Mapping[str, StoredArray]):
    """The arrays of an open file by name. Two are equal if they are one: equality never reads a file."""

    @abstractmethod
    def has_tensor(self, name: str) -> bool:
        """Whether there is an array of this name."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.has_tensor(name)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return True  # A reader is there, also that of an empty file.
