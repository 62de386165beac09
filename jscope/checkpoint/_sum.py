"""A digest that does not depend on who holds which part of an array.

None of several processes sees all of an array that is sharded over them, and any other number of processes may restore
it. So the digest is a sum over the elements, modulo 2**32, in two lanes: each element, as an unsigned integer, is
multiplied with one odd number for each of its indices. A flipped bit always changes the sum, since an odd number has an
inverse; elements in each other's places change it but for a small chance.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _rng

_BLOCK = 1 << 16
"""Indices of long axes have two such numbers: of their block of so many, and within it."""


def digest(array: Any) -> str:
    """Returns the digest of an array of NumPy or JAX, of any dtype of whole bytes.

    Where it is sharded over processes, all of them call this, and each sums what it holds.

    >>> digest(np.float32([1, 2])) == digest(jnp.float32([1, 2])) != digest(np.float32([2, 1]))
    True
    """
    spread = isinstance(array, jax.Array) and not array.is_fully_addressable
    words = -(-array.dtype.itemsize // 4)
    lanes = [[_factors(lane, axis, size) for axis, size in enumerate((words, *array.shape))] for lane in (0, 1)]
    sums = _on_devices(array, lanes) if spread else _on_host(np.asarray(array, order="C"), lanes)
    return "sum:" + "".join(f"{int(each):08x}" for each in sums)


def _factors(lane: int, axis: int, size: int) -> np.ndarray:
    """Returns the odd numbers, uint32 `[size]`, of the indices of an axis."""
    if size <= _BLOCK:
        return _block(lane, axis, size)
    blocks = _factors(lane, -1 - axis, -(-size // _BLOCK))
    return np.outer(blocks, _block(lane, axis, _BLOCK)).reshape(-1)[:size]


@lru_cache(maxsize=256)
def _block(lane: int, axis: int, size: int) -> np.ndarray:
    return _rng.mix(_rng.mix(_rng.SEED[lane], axis), np.arange(size, dtype=np.uint32)) | np.uint32(1)


def _on_host(array: np.ndarray, lanes: list[list[np.ndarray]]) -> list[Any]:
    words = _stirred(np.moveaxis(array[..., None].view(f"u{min(array.dtype.itemsize, 4)}"), -1, 0))

    def contract(values: np.ndarray, factors: np.ndarray) -> np.ndarray:
        return np.einsum("...i,i->...", values, factors, dtype=np.uint32, casting="unsafe")

    return [reduce(contract, reversed(factors), words) for factors in lanes]


@jax.jit
def _on_devices(array: Any, lanes: list[list[Any]]) -> list[Any]:
    shape = array.shape
    if jnp.iscomplexobj(array):
        array = jnp.stack([array.real, array.imag], axis=-1)
    elif array.dtype == jnp.bool:
        array = array.astype(jnp.uint8)
    words = jax.lax.bitcast_convert_type(array, f"uint{8 * min(array.dtype.itemsize, 4)}")
    words = _stirred(jnp.moveaxis(words.reshape(*shape, len(lanes[0][0])), -1, 0)).astype(jnp.uint32)

    def contract(values: jax.Array, factors: Any) -> jax.Array:
        return (values * jnp.broadcast_to(factors, values.shape)).sum(-1, dtype=jnp.uint32)

    return [reduce(contract, reversed(factors), words) for factors in lanes]


def _stirred(words: Any) -> Any:
    """Returns words whose low bits depend on the high ones: those of 1.0 are zeros, also after a multiplication."""
    return words if words.dtype.itemsize < 4 else words ^ (words >> 16)
