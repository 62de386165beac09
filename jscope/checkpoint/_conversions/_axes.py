"""Patterns of axes, and which region of a composed axis holds which of the axes that it is composed of.

`"d (part h k) -> i d h k"` says what einops would: theirs has two axes, of which the second is composed of three. The
arithmetic of regions is here: `inside` goes from a range of a composed axis to ranges of its parts, `outside` back.
Both may give more than was asked for, and then tell what to cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from jscope.checkpoint._errors import ConversionError

Side: TypeAlias = tuple[tuple[str, ...], ...]
"""The axes of an array, each with the axes that it is composed of: none for an axis of size 1."""

Range: TypeAlias = tuple[int, int]
"""Where something begins, and where it ends."""

# Not einops's parser: that is not a dependency, and refuses axes that one side lacks, which is what stacking is.
_TOKEN = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*|1(?![0-9A-Za-z_])|[()])")


def parsed(axes: str) -> tuple[Side, Side] | None:
    """Returns both sides of a pattern; None for the empty one, which changes nothing.

    >>> parsed("d (h k) -> h d k 1")
    ((('d',), ('h', 'k')), (('h',), ('d',), ('k',), ()))

    Raises:
      ConversionError: It is not a pattern.
    """
    if not axes.strip():
        return None
    left, arrow, right = axes.partition("->")
    if not arrow or "->" in right:
        raise ConversionError(f"the pattern `{axes}` must have one `->`, from their axes to ours")
    return _side(left, axes), _side(right, axes)


def written(sides: tuple[Side, Side] | None) -> str:
    """Returns the text of a pattern: the inverse of `parsed`, with one space between axes.

    >>> written(parsed("d ( h k )->h d k 1"))
    'd (h k) -> h d k 1'
    """
    return "" if sides is None else " -> ".join(" ".join(map(_axis_text, side)) for side in sides).strip()


def flat(side: Side) -> list[str]:
    """Returns all axes of a side, in order.

    >>> flat((("d",), ("h", "k"), ()))
    ['d', 'h', 'k']
    """
    return [name for axis in side for name in axis]


def _axis_text(axis: tuple[str, ...]) -> str:
    return axis[0] if len(axis) == 1 else f"({' '.join(axis)})" if axis else "1"


def _side(text: str, axes: str) -> Side:
    side: list[tuple[str, ...]] = []
    group: list[str] | None = None
    at, text = 0, text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or (found[1] == "(" and group is not None) or (found[1] == ")" and group is None):
            raise ConversionError(
                f"the pattern `{axes}` is wrong at `{text[at:].strip()}`: there may be names of axes, `1`, and "
                "names in parentheses, which are not nested"
            )
        at, token = found.end(), found[1]
        if token == "(":
            group = []
        elif token == ")":
            side.append(tuple(group or ()))
            group = None
        elif group is not None:
            # A factor of 1 changes no product: `(1 a)` is `a`, and is written so.
            group += [token] * (token != "1")
        else:
            side.append(() if token == "1" else (token,))
    if group is not None:
        raise ConversionError(f"the pattern `{axes}` has a `(` that is not closed")
    names = flat(tuple(side))
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConversionError(f"the pattern `{axes}` has `{twice[0]}` twice on one side")
    return tuple(side)


class Cover(NamedTuple):
    """A range of a composed axis, the sizes of the axes that it has there, and which range of each is meant."""

    begin: int
    end: int
    sizes: tuple[int, ...]
    ranges: tuple[Range, ...]


def outside(sizes: Sequence[int], ranges: Sequence[Range]) -> Cover:
    """Returns the smallest range of a composed axis that holds these ranges of its parts.

    >>> outside((4, 3), [(1, 2), (0, 2)])
    Cover(begin=3, end=5, sizes=(1, 2), ranges=((0, 1), (0, 2)))
    >>> outside((4, 3), [(1, 3), (0, 2)])
    Cover(begin=3, end=9, sizes=(2, 3), ranges=((0, 2), (0, 2)))
    """
    begin, first = 0, 0
    # As long as there is one index, the range is within it.
    for size, (low, high) in zip(sizes, ranges, strict=True):
        if high - low != 1:
            break
        begin, first = begin * size + low, first + 1
    # One element, which is one index of the composed axis however many axes follow.
    if first == len(sizes):
        return Cover(begin, begin + 1, (1,) * first, ((0, 1),) * first)
    low, high = ranges[first]
    # From the first axis with several indices on, one run is read; what it has too much is for the caller to cut.
    inner = math.prod(sizes[first + 1 :])
    begin = (begin * sizes[first] + low) * inner
    shape = (*(1,) * first, high - low, *sizes[first + 1 :])
    cut = (*((0, 1),) * first, (0, high - low), *ranges[first + 1 :])
    return Cover(begin, begin + (high - low) * inner, shape, tuple(cut))


def inside(sizes: Sequence[int], begin: int, end: int) -> Cover:
    """Returns ranges of the parts that hold a range of a composed axis; `begin` and `end` count from their beginning.

    >>> inside((4, 3), 3, 9)
    Cover(begin=0, end=6, sizes=(2, 3), ranges=((1, 3), (0, 3)))
    >>> inside((4, 3), 4, 8)
    Cover(begin=1, end=5, sizes=(2, 3), ranges=((1, 3), (0, 3)))
    """
    ranges: list[Range] = []
    for i, size in enumerate(sizes):
        inner = math.prod(sizes[i + 1 :])
        # Of an axis without elements there is nothing to divide by, and all of it is nothing.
        low, high = (begin // inner, -(-end // inner)) if inner and end > begin else (0, size)
        ranges.append((low, high))
        begin, end = begin - low * inner, end - low * inner
        if high - low != 1:
            # Where several indices are meant, all of each later axis may be; `begin` and `end` cut what is too much.
            ranges += [(0, size) for size in sizes[i + 1 :]]
            break
    return Cover(begin, end, tuple(high - low for low, high in ranges), tuple(ranges))
