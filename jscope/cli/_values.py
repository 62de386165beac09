"""What the values of an array are like, looking at some elements at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jscope.cli._contents import PIECE

BINS = 32
"""Bars of a histogram."""


@dataclass(frozen=True, slots=True)
class Values:
    """Of the finite values of an array, or of their absolutes, where it is complex.

    What there is not, because there are no such values or because float64 cannot hold it, is None.

    Attributes:
      not_finite: How many are infinite or not numbers.
      zeros: How many are zero.
      norm: The square root of the sum of squares.
      mean: Their mean.
      std: Their standard deviation.
      least: The least.
      greatest: The greatest.
    """

    not_finite: int
    zeros: int
    norm: float | None
    mean: float | None
    std: float | None
    least: float | None
    greatest: float | None


def is_number(dtype: np.dtype) -> bool:
    """Whether arrays of a dtype have values to compute with: no text, no records."""
    return dtype == np.bool_ or jnp.issubdtype(dtype, jnp.number)


# Squares of large numbers overflow; `_held` leaves them out, and there is nothing to be warned of.
@np.errstate(over="ignore", invalid="ignore")
def values_of(array: np.ndarray) -> Values:
    """Returns what the values of an array are like.

    >>> values_of(np.array([3.0, 0.0, -4.0, np.inf]))  # doctest: +ELLIPSIS
    Values(not_finite=1, zeros=1, norm=5.0, mean=-0.333..., std=2.867..., least=-4.0, greatest=3.0)
    """
    count, zeros, squares, mean, spread, least, greatest = 0, 0, 0.0, 0.0, 0.0, np.inf, -np.inf
    for values in pieces(array):
        # Chan's update: sums of squares of large values would lose the small differences.
        more, shift = values.size, values.mean() - mean
        mean += shift * more / (count + more)
        spread += values.var() * more + shift**2 * count * more / (count + more)
        count += more
        zeros += int((values == 0).sum())
        squares += float(values @ values)
        least, greatest = min(least, values.min()), max(greatest, values.max())
    known = (mean, (spread / count) ** 0.5, least, greatest) if count else (None,) * 4
    return Values(array.size - count, zeros, *map(_held, (math.sqrt(squares), *known)))


def _held(value: Any) -> float | None:
    """Returns a number as JSON has it, which does not know infinities."""
    return None if value is None or not math.isfinite(value) else float(value)


def histogram(array: np.ndarray, least: float, greatest: float) -> list[int]:
    """Returns how many of the finite values fall into each of `BINS` equal parts of a range.

    >>> sum(histogram(np.arange(100.0), 0.0, 99.0))
    100
    """
    counts = np.zeros(BINS, np.int64)
    for values in pieces(array):
        # A range without an extent gets one, and one that is too wide for differences of float64 is halved.
        scale = 0.5 if greatest / 2 - least / 2 > 1e300 else 1.0
        counts += np.histogram(values * scale, BINS, (least * scale, greatest * scale))[0]
    return counts.tolist()


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the finite values of an array as float64, some at a time."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE]
        if jnp.issubdtype(piece.dtype, jnp.complexfloating):
            piece = np.abs(piece)
        piece = piece.astype(np.float64)
        piece = piece[np.isfinite(piece)]
        if piece.size:
            yield piece


@np.errstate(over="ignore", invalid="ignore")
def distance(new: np.ndarray, old: np.ndarray) -> tuple[float | None, float | None]:
    """Returns the norm of the difference of two arrays, and the greatest difference, where both are finite.

    >>> distance(np.array([1.0, 2.0]), np.array([4.0, -2.0]))
    (5.0, 4.0)
    """
    squares, most = 0.0, 0.0
    flat = new.reshape(-1), old.reshape(-1)
    for start in range(0, new.size, PIECE):
        a, b = (each[start : start + PIECE] for each in flat)
        kind = np.complex128 if jnp.issubdtype(a.dtype, jnp.complexfloating) else np.float64
        a, b = (each.astype(kind) for each in (a, b))
        # Not where their difference is finite: that of two large numbers is not, and is no reason to pass over them.
        gap = np.abs(a - b)[np.isfinite(a) & np.isfinite(b)]
        squares, most = squares + float(gap @ gap), max(most, float(gap.max(initial=0.0)))
    return _held(math.sqrt(squares)), _held(most)
