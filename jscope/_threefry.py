"""`jax.random.fold_in` for many keys at once, on the host.

Making the keys of all variables is a few thousand integer operations, but compiling a program for it would take longer
than all the rest of a small model's start. This is Threefry-2x32 with 20 rounds, JAX's own default generator: "Parallel
Random Numbers: As Easy as 1, 2, 3" (Salmon et al., 2011). A test holds it to `jax.random.fold_in`, bit by bit.
"""

from __future__ import annotations

import numpy as np

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY = np.uint32(0x1BD11BDA)


def fold_in(data: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Folds a uint32 `[n]` into the data of keys, uint32 `[..., 2]`; returns that of the new keys, uint32 `[n, 2]`.

    >>> import jax
    >>> key = jax.random.key(7)
    >>> new = fold_in(np.asarray(jax.random.key_data(key)), np.uint32([5]))
    >>> bool((new == jax.random.key_data(jax.random.fold_in(key, 5))).all())
    True
    """
    a, b = (data[..., lane] for lane in (0, 1))
    schedule = a, b, a ^ b ^ _PARITY
    x, y = np.broadcast_arrays(schedule[0], numbers + schedule[1])
    for step in range(5):
        for bits in _ROTATIONS[step % 2]:
            x = x + y
            y = x ^ ((y << np.uint32(bits)) | (y >> np.uint32(32 - bits)))
        x = x + schedule[(step + 1) % 3]
        y = y + schedule[(step + 2) % 3] + np.uint32(step + 1)
    return np.stack([x, y], axis=-1)
