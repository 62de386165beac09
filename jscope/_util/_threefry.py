"""Many keys are made at once, on the host, with the bits of `jax.random.fold_in`.

JAX's default generator is Threefry-2x32 with 20 rounds: "Parallel Random Numbers: As Easy as 1, 2, 3" (Salmon et al.,
2011). Making the keys of all variables takes a few thousand integer operations, but compiling a program for that would
take longer than everything else at the start of a small model. A test compares the keys with those of
`jax.random.fold_in`, bit by bit. Keys of other generators, and traced keys, are left to JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY = np.uint32(0x1BD11BDA)


def fold_in(data: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Folds numbers, uint32 `[n]`, into the data of keys, uint32 `[2]` or `[n, 2]`; returns the new data, `[n, 2]`.

    >>> import jax
    >>> key = jax.random.key(7)
    >>> new = fold_in(np.asarray(jax.random.key_data(key)), np.uint32([5]))
    >>> bool((new == jax.random.key_data(jax.random.fold_in(key, 5))).all())
    True
    """
    # `jax.random.fold_in` encrypts the block (0, number) with the key (a, b).
    a, b = (data[..., lane] for lane in (0, 1))
    schedule = a, b, a ^ b ^ _PARITY
    # Each sum begins with an array: arrays wrap around as Threefry wants, but NumPy warns where two scalars do.
    x, y = np.broadcast_arrays(schedule[0], numbers + schedule[1])
    for step in range(5):
        for bits in _ROTATIONS[step % 2]:
            x = x + y
            y = x ^ ((y << np.uint32(bits)) | (y >> np.uint32(32 - bits)))
        x = x + schedule[(step + 1) % 3]
        y = y + schedule[(step + 2) % 3] + np.uint32(step + 1)
    return np.stack([x, y], axis=-1)


def fold_pair(key: jax.Array, a: Any, b: Any) -> jax.Array:
    """Folds two numbers into a key, one after the other."""
    return jax.random.fold_in(jax.random.fold_in(key, a), b)


def fold_all(key: jax.Array, pairs: np.ndarray) -> Any:
    """Folds both numbers of each pair, uint32 `[n, 2]`, into a typed key; returns the data of the `n` new keys.

    >>> key = jax.random.key(7)
    >>> new = fold_all(key, np.uint32([[5, 6]]))
    >>> bool((new == jax.random.key_data(fold_pair(key, 5, 6))).all())
    True
    """
    data = jax.random.key_data(key)
    # Under a trace, even the data of a key from outside the trace is traced.
    if isinstance(data, Tracer) or not is_threefry(jax.random.key_impl(key)):
        return _fold_pairs(key, pairs)
    return fold_in(fold_in(np.asarray(data), pairs[:, 0]), pairs[:, 1])


@jax.jit
def _fold_pairs(key: jax.Array, pairs: jax.Array) -> jax.Array:
    return mapped(lambda pair: jax.random.key_data(fold_pair(key, *pair)), jax.random.key_impl(key))(pairs)


def mapped(function: Callable[[Any], Any], random: Hashable) -> Callable[[Any], Any]:
    """Returns a function of many random keys, or of their data, that does to each what `function` does to one."""
    # Threefry promises the same numbers under `vmap` as without it; rbg does not.
    return jax.vmap(function) if is_threefry(random) else lambda rows: jax.lax.map(function, rows)


def is_threefry(random: Hashable) -> bool:
    """Whether `random`, a result of `jax.random.key_impl`, is Threefry."""
    return str(random) == "threefry2x32"
