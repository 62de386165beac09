"""A digest that does not depend on who holds which part of an array.

None of several processes sees all of an array that is sharded over them, and any other number of processes may restore
it. So the digest is a sum over the elements, modulo 2**32, in two lanes: each element, as an unsigned integer, is
multiplied with one odd number for each of its indices. A flipped bit always changes the sum, since an odd number has an
inverse; elements in each other's places change it but for a small chance.
"""

from __future__ import annotations

import math
from functools import lru_cache, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _rng
from jscope._types import Shape

KIND = "sum:"

_BLOCK = 1 << 16
"""Indices of long axes have two such numbers: of their block of so many, and within it."""

_SMALL = 1 << 12
"""Arrays of up to so many words are multiplied with what was computed for others of their shape."""

_PIECE = 1 << 18
"""About so many words are looked at at a time, so that what is computed on the way takes little memory."""


def element_sum(array: Any) -> str:
    """Returns the digest of an array of NumPy or JAX, of any dtype of numbers.

    Where it is sharded over processes, all of them call this, and each sums what it holds.

    >>> element_sum(np.float32([1, 2])) == element_sum(jnp.float32([1, 2])) != element_sum(np.float32([2, 1]))
    True
    """
    spread = isinstance(array, jax.Array) and not array.is_fully_addressable
    return _shown(_on_devices(array) if spread else _on_host(np.asarray(array, order="C")))


def _shown(sums: list[Any]) -> str:
    return KIND + "".join(f"{int(each):08x}" for each in sums)


def _on_host(array: np.ndarray) -> list[Any]:
    words = np.moveaxis(array[..., None].view(f"u{min(array.dtype.itemsize, 4)}"), -1, 0)
    if (bits := _bits(array.dtype)) < 8:
        words = words & np.uint8((1 << bits) - 1)  # The others may be anything.
    if not words.size:  # The other axes may be of any length, and each has as many factors.
        return [0, 0]
    if words.size <= _SMALL:
        return list((_factors(words.shape) * _stirred(words).reshape(-1)).sum(-1, dtype=np.uint32))
    return [_lane_sum(words, lane) for lane in (0, 1)]


@lru_cache(maxsize=256)
def _factors(shape: Shape) -> np.ndarray:
    """Returns what the words of a small array are multiplied with, for each lane."""
    lanes = [[_axis_factors(lane, axis, size) for axis, size in enumerate(shape)] for lane in (0, 1)]
    return np.stack([reduce(np.multiply.outer, factors).reshape(-1) for factors in lanes])


def _lane_sum(words: np.ndarray, lane: int) -> Any:
    """Returns the sum of one lane: over the last axes first, then over the first, that of the words of an element."""
    rows = max(1, _PIECE * words.shape[1] // words.size)
    pieces = []
    for start in range(0, words.shape[1], rows):
        piece = _stirred(words[:, start : start + rows])
        for axis in range(words.ndim - 1, 1, -1):
            piece = _contract(piece, lane, axis)
        pieces.append(piece)
    return _contract(_contract(np.concatenate(pieces, axis=1), lane, 1), lane, 0)


def _contract(values: np.ndarray, lane: int, axis: int) -> np.ndarray:
    """Returns the sums over the last axis of `values`, which is this axis of the words."""
    size = values.shape[-1]
    blocks = [
        np.einsum("...i,i->...", block, _axis_factors(lane, axis, block.shape[-1]), dtype=np.uint32, casting="unsafe")
        for block in (values[..., start : start + _BLOCK] for start in range(0, size, _BLOCK))
    ]
    return blocks[0] if size <= _BLOCK else _contract(np.stack(blocks, axis=-1), lane, -1 - axis)


@lru_cache(maxsize=256)
def _axis_factors(lane: int, axis: int, size: int) -> np.ndarray:
    return _odd(lane, axis, np.arange(size, dtype=np.uint32))


def _odd(lane: int, axis: int, indices: Any) -> Any:
    """Returns the odd numbers of some indices of an axis."""
    return _rng.mix(_rng.mix(_rng.SEED[lane], axis), indices) | np.uint32(1)


@jax.jit
def _on_devices(array: Any) -> list[Any]:
    array, shape = _of_bytes(jax.device_put(array, jax.memory.Space.Device)), array.shape
    words = jax.lax.bitcast_convert_type(array, f"uint{8 * min(array.dtype.itemsize, 4)}")
    words = words.reshape(*shape, math.prod(words.shape[len(shape) :]))
    words = _stirred(jnp.moveaxis(words, -1, 0)).astype(jnp.uint32)
    sums = []
    for lane in (0, 1):
        values = words
        for axis in reversed(range(words.ndim)):
            size = words.shape[axis]
            indices = jax.lax.broadcasted_iota(np.uint32, values.shape, axis)
            factors = _odd(lane, axis, indices % _BLOCK)
            factors *= _odd(lane, -1 - axis, indices // _BLOCK) if size > _BLOCK else np.uint32(1)
            values = (values * factors).sum(-1, dtype=jnp.uint32)
        sums.append(values)
    return sums


def _of_bytes(array: Any) -> Any:
    """Returns an array in a dtype of whole bytes; fewer bits are the low ones of a byte."""
    if jnp.iscomplexobj(array):
        return jnp.stack([array.real, array.imag], axis=-1)
    if array.dtype == jnp.bool:
        return array.astype(jnp.uint8)
    if (bits := _bits(array.dtype)) < 8:
        return jax.lax.bitcast_convert_type(array, f"uint{bits}").astype(jnp.uint8)
    return array


def _bits(dtype: np.dtype) -> int:
    """Returns how many bits an element has, where these are less than a byte; else 8 or more."""
    if dtype.itemsize > 1 or dtype == np.bool_:
        return 8
    return (jnp.iinfo if jnp.issubdtype(dtype, jnp.integer) else jnp.finfo)(dtype).bits


def _stirred(words: Any) -> Any:
    """Returns words whose low bits depend on the high ones: those of 1.0 are zeros, also after a multiplication."""
    return words if words.dtype.itemsize < 4 else words ^ (words >> 16)
