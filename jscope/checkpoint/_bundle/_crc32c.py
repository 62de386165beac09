"""Checksums, as TensorFlow and LevelDB use them.

A CRC is the remainder of the data, seen as a polynomial over the two-element field, modulo a polynomial P. So it is
linear, and two facts make it fast without a loop over bytes:

- What P divides may be added anywhere. P divides x^5685 + x^1362 + x^426 + 1, and with it the same polynomial in x^8
  or x^64, since squaring is linear here. So each 64-bit word may be moved onto three later ones, and a few large
  exclusive ors fold any amount of data into its last 5,685 words, then bytes.
- What is left is a sum of powers of x modulo P, one for each bit that is set.

Where `google-crc32c` is installed, which uses instructions made for this, it does the work.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

try:
    from jscope.checkpoint._bundle._google import extend
except ImportError:
    extend = None

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed.
_DEGREES = (5685, 1362, 426)  # `test_tensorbundle_bytes.py` has the division.
_BLOCK = 1 << 18  # Bytes folded at a time: what is being worked on stays in the cache.


def crc32c(data: Any, value: int = 0) -> int:
    """Returns the CRC-32C of bytes or of a contiguous array of them, going on from the `value` of what came before.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    >>> crc32c(b"6789", crc32c(b"12345")) == crc32c(b"123456789")
    True
    """
    return with_numpy(data, value) if extend is None else extend(value, data)


def mask(crc: int) -> int:
    """Returns what is stored in place of a CRC, since a CRC over data that hold CRCs is weak.

    >>> hex(mask(crc32c(b"123456789")))
    '0xc78ab0e5'
    """
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def with_numpy(data: Any, value: int = 0) -> int:
    """Returns the CRC-32C, computed by folding.

    >>> hex(with_numpy(b"123456789"))
    '0xe3069283'
    """
    data = np.frombuffer(data, np.uint8)
    end = len(data) + 4  # The definition appends 32 zero bits, and adds the initial value to the first 32.
    rest = np.empty(0, np.uint8)
    for start in range(0, end, _BLOCK):
        piece = data[start : start + _BLOCK]
        size = len(rest) + min(_BLOCK, end - start)
        words = np.zeros(-(-size // 8), np.uint64)
        work = words.view(np.uint8)[-size:]
        work[: len(rest)] = rest
        work[len(rest) : len(rest) + len(piece)] = piece
        if start == 0:
            work[:4] ^= np.frombuffer((value ^ 0xFFFFFFFF).to_bytes(4, "little"), np.uint8)
        rest = _folded(words).view(np.uint8)
    bits = np.unpackbits(_folded(rest), bitorder="little")
    powers = _powers()
    return int(np.bitwise_xor.reduce(powers[len(powers) - len(bits) :] * bits)) ^ 0xFFFFFFFF


def _folded(units: np.ndarray) -> np.ndarray:
    """Moves all but the last 5,685 units onto later ones, in place, and returns those."""
    top, *rest = _DEGREES
    end = len(units) - top
    step = top - rest[0]  # No unit of a step lands within the same step.
    for start in range(0, end, step):
        moved = units[start : min(start + step, end)]
        for degree in (*rest, 0):
            units[start + top - degree :][: len(moved)] ^= moved
    return units[max(end, 0) :]


@cache
def _powers() -> np.ndarray:
    """Returns x^k modulo P, highest k first, for every bit of 5,685 bytes."""
    powers = np.empty(8 * _DEGREES[0], np.uint32)
    power = 0x80000000
    for k in range(len(powers)):
        powers[-1 - k] = power
        power = power >> 1 ^ (_POLYNOMIAL if power & 1 else 0)
    return powers
