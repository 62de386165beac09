"""An array that is never in memory as a whole: it is written block by block, in the order of its indices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jscope._types import Shape

_LIMIT = 1 << 22
"""About so many bytes are read at a time."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Shape and dtype of an array, and what reads a region of it: where that begins and ends on each axis.

    What can only be made `at_once` is read as a whole.
    """

    shape: Shape
    dtype: np.dtype
    read: Callable[[Sequence[tuple[int, int]]], np.ndarray]
    at_once: bool = False

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields the bytes of the array, one block after the other.

        >>> whole = np.arange(6).reshape(2, 3)
        >>> blocks = Blocks((2, 3), whole.dtype, lambda ranges: whole[tuple(slice(*each) for each in ranges)])
        >>> b"".join(each.tobytes() for each in blocks) == whole.tobytes()
        True
        """
        if not self.nbytes or self.at_once:
            yield _bytes(self.read([(0, size) for size in self.shape]), self.dtype)
            return
        # Along the first axis whose indices are few bytes each; before it, one index after the other.
        sizes = [math.prod(self.shape[i:]) * self.dtype.itemsize for i in range(len(self.shape) + 1)]
        axis = next(i for i, size in enumerate(sizes) if size <= _LIMIT or i == len(self.shape))
        axis = max(axis - 1, 0)
        step = max(1, _LIMIT // sizes[axis + 1]) if self.shape else 1
        rest = [(0, size) for size in self.shape[axis + 1 :]]
        for outer in itertools.product(*map(range, self.shape[:axis])):
            before = [(i, i + 1) for i in outer]
            for begin in range(0, self.shape[axis] if self.shape else 1, step):
                middle = [(begin, min(begin + step, self.shape[axis]))] if self.shape else []
                yield _bytes(self.read([*before, *middle, *rest]), self.dtype)


def _bytes(array: np.ndarray, dtype: Any) -> np.ndarray:
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8)
