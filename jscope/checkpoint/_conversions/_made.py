"""One array that a rule makes, read a region at a time.

For a region of ours it is worked out which regions of theirs hold it; these are read, reshaped, cut and transposed,
which are views as long as the source gives views, and put in their place. So one layer of a stack is read without the
others, and what one process has of a sharded array without the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jscope._types import Shape
from jscope.checkpoint._conversions import _axes
from jscope.checkpoint._conversions._axes import Cover, Range, inside, outside
from jscope.checkpoint._conversions._bound import Bound
from jscope.checkpoint._conversions._source import Source, Type, index_of, whole

_ALIGNMENT = 64
"""JAX, on CPU, takes arrays that begin at a multiple of so many bytes as they are."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One array of theirs: its name, and which index it is along each stacked axis."""

    name: str
    index: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Made:
    """One array of ours.

    Attributes:
      bound: The rule.
      type: Its shape and dtype.
      pieces: The arrays of theirs that it is made of.
      index: Which index of the split axes it is.
      values: What the kept placeholders stand for, as ours spells it.
      sizes: The sizes of the axes.
      laid: Its shape as the pattern gives it, before a function.
      function: What to apply to it after the pattern, or to the pieces before; with `of_pieces`.
      ties: What must be equal to it.
    """

    bound: Bound
    type: Type
    pieces: tuple[Piece, ...]
    index: Mapping[str, int]
    values: Mapping[str, Any]
    sizes: Mapping[str, int]
    laid: Shape
    function: Callable[[Any], Any] | None = None
    of_pieces: bool = False
    ties: tuple[Made, ...] = ()

    def read(self, source: Source, ranges: Sequence[Range]) -> np.ndarray:
        """Returns a region of it.

        Raises:
          ConversionError: What is tied to it has other values.
        """
        value = self._value(source, ranges)
        for other in self.ties:
            if not _same_bytes(value, other.read(source, ranges)):
                raise self.bound.rule.error(
                    f"`{self.pieces[0].name}` and `{other.pieces[0].name}` are tied, but their values differ"
                )
        return value

    def at(self, piece: Piece) -> dict[str, Any]:
        """Returns what all placeholders stand for beside a piece: listed values by our spelling, else indices."""
        listed, both = self.bound.listed, {**piece.index, **self.index}
        return {**self.values} | {name: listed[name][i] if name in listed else i for name, i in both.items()}

    @property
    def is_as_it_was(self) -> bool:
        """Whether it is an array of theirs as it was, under another name."""
        return self.bound.sides is None and self.function is None and not any(self.bound.rule.dtypes)

    def _value(self, source: Source, ranges: Sequence[Range]) -> np.ndarray:
        if self.function is None:
            return self._laid(source, ranges)
        if self.of_pieces:
            return replace(self, function=None)._laid(_Applied(source, self.function), ranges)
        # What a function does with its array nobody knows: it gets all of it.
        value = np.asarray(self.function(self._laid(source, whole(self.laid))))
        return value.astype(self.type.dtype, copy=False)[index_of(ranges)]

    def _laid(self, source: Source, ranges: Sequence[Range]) -> np.ndarray:
        """Returns a region of it, as the pattern makes it."""
        bound, dtype = self.bound, self.type.dtype
        if bound.sides is None:
            return source.read(self.pieces[0].name, ranges).astype(dtype, copy=False)
        at = self.at(self.pieces[0])
        covers = self.covers(ranges, at)
        lengths = [math.prod(cover.sizes) for cover in covers]
        cut = tuple(slice(cover.begin, cover.end) for cover in covers)
        if not bound.stacked:
            # A single piece stays a view all the way: what is mapped takes no memory until it is placed.
            value = self._piece(source, self.pieces[0], self.wanted(self.pieces[0], covers)[0])
            return value.reshape(lengths)[cut].astype(dtype, copy=False)
        out = empty(tuple(size for cover in covers for size in cover.sizes), dtype)
        for piece in self.pieces:
            wanted, place = self.wanted(piece, covers)
            if place is not None:
                there = out[(*place, ...)]  # A view, also of one element.
                there[...] = self._piece(source, piece, wanted).reshape(there.shape)
        return out.reshape(lengths)[cut]

    def covers(self, ranges: Sequence[Range], at: Mapping[str, Any]) -> list[Cover]:
        """Returns which indices of the axes of each composed axis of ours hold a region."""
        assert self.bound.sides is not None
        return [self._cover(axis, at, each) for axis, each in zip(self.bound.sides[1], ranges, strict=True)]

    def _lengths(self, composed: tuple[str, ...], at: Mapping[str, Any]) -> list[int]:
        """Returns the sizes in a composed axis, in which a group of unequal parts is one axis."""
        by = self.bound.grouping(composed)
        if by is None:
            return [self.bound.size_of(axis, at, self.sizes) for axis in composed]
        before = composed[: composed.index(by)]
        return [*(self.sizes[axis] for axis in before), sum(self.bound.part_sizes(composed, at, self.sizes))]

    def _cover(self, composed: tuple[str, ...], at: Mapping[str, Any], wanted: Range) -> Cover:
        """Returns which indices of the axes of a composed axis hold a range of it."""
        sizes = self._lengths(composed, at)
        if self.bound.grouping(composed) is None:
            return inside(sizes, *wanted)
        # To be sharded along unequal parts is rare: they are all read.
        return Cover(*wanted, tuple(sizes), tuple(whole(tuple(sizes))))

    def wanted(self, piece: Piece, covers: Sequence[Cover]) -> tuple[dict[str, Range], tuple[int | slice, ...] | None]:
        """Returns which range of each axis is wanted of a piece, and where that goes; None where it is not wanted."""
        assert self.bound.sides is not None
        at, wanted, place = self.at(piece), {}, []
        for composed, cover in zip(self.bound.sides[1], covers, strict=True):
            by = self.bound.grouping(composed)
            plain = composed if by is None else composed[: composed.index(by)]
            for axis, (low, high) in zip(plain, cover.ranges, strict=by is None):
                if axis not in piece.index:
                    wanted[axis] = (low, high)
                    place.append(slice(0, high - low))
                elif low <= piece.index[axis] < high:
                    place.append(piece.index[axis] - low)
                else:
                    return wanted, None
            if by is not None:
                wanted |= {axis: (0, self.bound.size_of(axis, at, self.sizes)) for axis in composed[len(plain) + 1 :]}
                parts = self.bound.part_sizes(composed, at, self.sizes)
                offset = sum(parts[: piece.index[by]])
                place.append(slice(offset, offset + parts[piece.index[by]]))
        return wanted, tuple(place)

    def _piece(self, source: Source, piece: Piece, wanted: Mapping[str, Range]) -> np.ndarray:
        """Returns ranges of the axes of one array of theirs, in the order in which ours has them."""
        assert self.bound.sides is not None
        # What is taken in another order is read whole along that axis.
        order, at = self.bound.rule.order, self.at(piece)
        full = {axis: (0, len(each)) for axis, each in order.items()}
        ranges = {**wanted, **full} | {axis: (i, i + 1) for axis, i in self.index.items()}
        cuts = [self._cut(composed, at, ranges) for composed in self.bound.sides[0]]
        value = source.read(piece.name, [(cut.begin, cut.end) for cut in cuts])
        value = value.reshape([size for cut in cuts for size in cut.sizes])
        # `outside` has read one run, which may be more than was asked for: now each axis can be cut by itself.
        value = value[index_of([each for cut in cuts for each in cut.ranges])]
        theirs, ours = map(_axes.flat, self.bound.sides)
        # Parts of unequal groups were read whole, as one axis.
        grouped = {
            axis
            for composed in self.bound.sides[0]
            if (by := self.bound.grouping(composed))
            for axis in composed[composed.index(by) + 1 :]
        }
        there = {
            axis: (0, self.bound.size_of(axis, at, self.sizes)) if axis in grouped else ranges[axis] for axis in theirs
        }
        value = value.reshape([high - low for axis, (low, high) in there.items() if axis not in self.index])
        value = value[tuple(slice(*ranges[a]) if a in grouped else slice(None) for a in theirs if a not in self.index)]
        left = [axis for axis in theirs if axis not in self.index]
        right = [axis for axis in ours if axis not in piece.index]
        value = value.transpose([left.index(axis) for axis in right])
        for axis, each in order.items():
            low, high = wanted[axis]
            value = np.take(value, each[low:high], right.index(axis))
        return value

    def _cut(self, composed: tuple[str, ...], at: Mapping[str, Any], ranges: Mapping[str, Range]) -> Cover:
        """Returns which range of a composed axis of theirs holds these ranges of its axes."""
        by = self.bound.grouping(composed)
        if by is None:
            sizes = [self.bound.size_of(axis, at, self.sizes) for axis in composed]
            return outside(sizes, [ranges[axis] for axis in composed])
        # Of a group of unequal parts, one part, whole; `_piece` cuts it.
        before = composed[: composed.index(by)]
        parts = self.bound.part_sizes(composed, at, self.sizes)
        offset, size = sum(parts[: self.index[by]]), parts[self.index[by]]
        outer = [*(self.sizes[axis] for axis in before), sum(parts)]
        return outside(outer, [*(ranges[axis] for axis in before), (offset, offset + size)])


class _Applied:
    """A source whose arrays have gone through a function, which is given all of each."""

    def __init__(self, source: Source, function: Callable[[Any], Any]) -> None:
        self._source, self._function = source, function
        self.types: Mapping[str, Type] = source.types

    def read(self, name: str, ranges: Sequence[Range]) -> np.ndarray:
        found = self._source.read(name, whole(self.types[name].shape))
        return np.asarray(self._function(found))[index_of(ranges)]


def empty(shape: Shape, dtype: Any) -> np.ndarray:
    """Returns an array of NumPy without values that JAX, on CPU, uses where it is.

    >>> empty((3, 5), np.float32).ctypes.data % 64
    0
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    # NumPy aligns to 16 bytes, and JAX would copy what it cannot use.
    data = np.empty(size + _ALIGNMENT, np.uint8)
    begin = -data.ctypes.data % _ALIGNMENT
    return data[begin : begin + size].view(dtype).reshape(shape)


def _same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    # By bytes, since a NaN is tied to itself, and 0.0 is not to -0.0.
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
