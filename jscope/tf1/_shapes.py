"""Shapes as TensorFlow has them: a dimension may be unknown, and so may all of them.

`TensorShape` is a tuple of ints (None where unknown), so JAX takes it as a shape. It has what TensorFlow code asks a
shape for: `as_list()`, `num_elements()`, `.dims[0].value`. A shape of which nothing is known is `None`.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from jscope.tf1._errors import ArgumentError, ArgumentTypeError


class Dimension(int):
    """One known dimension: an int that also has TensorFlow 1's `.value`.

    >>> Dimension(3).value + Dimension(1)
    4
    """

    @property
    def value(self) -> int:
        """The dimension as a plain int."""
        return int(self)

    def is_compatible_with(self, other: Any) -> bool:
        """Whether it is the other one, or that is unknown."""
        other = _dimension(other)
        return other is None or self == other

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises `ValueError` unless it is the other one, or that is unknown."""
        if not self.is_compatible_with(other):
            raise ArgumentError(f"Dimensions {self} and {other} are not compatible")

    def merge_with(self, other: Any) -> Dimension:
        """Returns the dimension, after `assert_is_compatible_with`."""
        self.assert_is_compatible_with(other)
        return self


class TensorShape(tuple[Any, ...]):
    """A shape of known rank: a tuple of ints, None where a dimension is unknown.

    >>> TensorShape([2, None]).as_list(), TensorShape((2, 3)).num_elements()
    ([2, None], 6)
    """

    __slots__ = ()

    def __new__(cls, dims: Any = ()) -> TensorShape:
        return tuple.__new__(cls, _dims(dims))

    @property
    def ndims(self) -> int:
        """The number of dimensions; also `rank`."""
        return len(self)

    rank = ndims

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return tuple.__new__(TensorShape, found) if index.__class__ is slice else found

    # Old code compares with lists (`assert x.get_shape() == [2, 3]`), which no tuple is equal to.
    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def concatenate(self, other: Any) -> TensorShape:
        """Returns the shape with the dimensions of another one at its end.

        >>> TensorShape([2])[:1].concatenate([3])
        (2, 3)
        """
        return tuple.__new__(TensorShape, (*self, *TensorShape(other)))

    @property
    def dims(self) -> list[Any]:
        """The dimensions as a list."""
        return list(self)

    def as_list(self) -> list[int | None]:
        """Returns the dimensions as plain ints, None where unknown."""
        return [None if dim is None else int(dim) for dim in self]

    def is_fully_defined(self) -> bool:
        """Whether every dimension is known."""
        return None not in self

    def num_elements(self) -> int | None:
        """Returns the number of elements, or None where a dimension is unknown."""
        return math.prod(self) if self.is_fully_defined() else None

    def is_compatible_with(self, other: Any) -> bool:
        """Whether the ranks agree, and so do all dimensions that are known to both."""
        theirs = as_shape(other)
        if theirs is None:
            return True
        pairs = zip(self, theirs, strict=False)
        return len(self) == len(theirs) and all(a is None or b is None or a == b for a, b in pairs)

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises `ValueError` unless `is_compatible_with`."""
        if not self.is_compatible_with(other):
            raise ArgumentError(f"Shapes {self} and {as_shape(other)} are incompatible")

    def assert_is_fully_defined(self) -> None:
        """Raises `ValueError` unless every dimension is known."""
        if not self.is_fully_defined():
            raise ArgumentError(f"Shape {self} is not fully defined")

    def assert_has_rank(self, rank: int) -> None:
        """Raises `ValueError` unless it has so many dimensions."""
        self.with_rank(rank)

    def assert_same_rank(self, other: Any) -> None:
        """Raises `ValueError` unless the other one has as many dimensions, or nobody knows how many."""
        theirs = as_shape(other)
        if theirs is not None and len(theirs) != len(self):
            raise ArgumentError(f"Shapes {self} and {theirs} must have the same rank")

    def with_rank(self, rank: int) -> TensorShape:
        """Returns the shape; raises `ValueError` unless it has so many dimensions.

        >>> TensorShape([2, 3]).with_rank(2)[1].value
        3
        """
        return self._where(len(self) == rank, f"must have rank {rank}")

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """Returns the shape; raises `ValueError` if it has fewer dimensions."""
        return self._where(len(self) >= rank, f"must have rank at least {rank}")

    def with_rank_at_most(self, rank: int) -> TensorShape:
        """Returns the shape; raises `ValueError` if it has more dimensions."""
        return self._where(len(self) <= rank, f"must have rank at most {rank}")

    def merge_with(self, other: Any) -> TensorShape:
        """Returns the shape with what only the other one knows; raises `ValueError` where they disagree."""
        theirs = as_shape(other)
        if theirs is None:
            return self
        self._where(self.is_compatible_with(theirs), f"and {theirs} are not compatible")
        return TensorShape([b if a is None else a for a, b in zip(self, theirs, strict=True)])

    def _where(self, holds: bool, wanted: str) -> TensorShape:
        if not holds:
            raise ArgumentError(f"Shape {self} {wanted}")
        return self

    def __str__(self) -> str:
        return repr(tuple(self.as_list()))

    __repr__ = __str__


def as_shape(shape: Any) -> TensorShape | None:
    """Returns what TensorFlow would take `shape` for: None where even the rank is unknown.

    >>> as_shape(3), as_shape([2, None]), as_shape(np.array([4, 5])), as_shape(None) is None
    ((3,), (2, None), (4, 5), True)
    """
    if shape is None or isinstance(shape, TensorShape):
        return shape
    return shape_of(shape) if shape.__class__ is tuple and are_sizes(shape) else TensorShape(shape)


# Shapes are few and requests many: making the `Dimension`s would be most of what a shape costs. What users write must
# have been looked at before, since the cache takes `(True,)` for `(1,)`; in the shape of an array there is no `True`.
@functools.lru_cache(maxsize=4096)
def shape_of(sizes: tuple[int, ...]) -> TensorShape:
    """Returns the shape of an array, which has these sizes."""
    return TensorShape(sizes)


def _dims(shape: Any) -> Iterable[Dimension | None]:
    if isinstance(shape, TensorShape):
        return tuple(shape)
    if isinstance(shape, list | tuple) and are_sizes(shape):
        return map(Dimension, shape)
    if isinstance(shape, np.ndarray) and shape.ndim:
        shape = shape.tolist()
    # A string stays one, so that its letters raise TensorFlow's error; anything else without items is one dimension.
    if not isinstance(shape, str | bytes) and not hasattr(shape, "__iter__"):
        shape = (shape,)
    return [_dimension(dim) for dim in shape]


def are_sizes(shape: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a shape is made of ints and `Dimension`s, none of them negative."""
    # By class, since True is an int as well, and must be looked at by `_dimension`.
    for dim in shape:  # noqa: SIM110 - `all` of a generator takes twice as long.
        if dim.__class__ not in _SIZES or dim < 0:
            return False
    return True


_SIZES = (int, Dimension)


def _dimension(dim: Any) -> Dimension | None:
    if dim is None:
        return None
    # A `Dimension` of TensorFlow's own is not an int; it has one as its value. A tensor has a method of that name.
    value = getattr(dim, "value", dim)
    if callable(value):
        raise _not_a_size(dim)
    dim = value
    # As TensorFlow 1 did. TensorFlow 2 does not, but files that divide (`channels / groups`) are older than that.
    whole = isinstance(dim, float | np.floating) and dim.is_integer()
    try:
        size = int(dim) if whole else operator.index(dim)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise _not_a_size(dim) from None
    if size < 0:
        raise ArgumentError(f"Dimension {size} must be >= 0")
    return Dimension(size)


def _not_a_size(dim: Any) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"Dimension value must be integer or None or have an __index__ method, got value '{dim!r}' with type "
        f"'{type(dim)!r}'"
    )
