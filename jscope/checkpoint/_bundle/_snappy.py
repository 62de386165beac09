"""Snappy, decompression only: TensorFlow's own tables are not compressed, but some that others write are.

A compressed block is its size, then literals and copies of what came out before.
"""

from __future__ import annotations

from jscope.checkpoint._bundle._proto import MalformedError, varint

_MOST = 32  # Three bytes copy up to 64: no block grows more than 22-fold.


def decompress(data: bytes) -> bytes:
    r"""Returns what a block of snappy holds.

    >>> decompress(b"\x0a\x08abc\x0d\x03")
    b'abcabcabca'
    """
    size, at = varint(data, 0)
    if size > _MOST * len(data):
        raise MalformedError(f"{len(data)} bytes of snappy claim to hold {size}")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length, at = _literal(tag >> 2, data, at)
            if at + length > len(data):
                raise MalformedError("a literal of snappy runs over the end")
            out += data[at : at + length]
            at += length
        else:
            length, distance, at = _copy(tag, data, at)
            _repeat(out, distance, length)
        if len(out) > size:
            break
    if len(out) != size or at != len(data):
        raise MalformedError(f"snappy holds other than the {size} bytes it claims")
    return bytes(out)


def _literal(code: int, data: bytes, at: int) -> tuple[int, int]:
    """Returns the length of a literal, and where it begins: long ones have their length in 1 to 4 bytes more."""
    more = max(code - 59, 0)
    return (int.from_bytes(data[at : at + more], "little") if more else code) + 1, at + more


def _copy(tag: int, data: bytes, at: int) -> tuple[int, int, int]:
    """Returns length and distance of a copy, and where it ends."""
    if tag & 3 == 1:
        high, more, length = tag >> 5, 1, (tag >> 2 & 7) + 4
    else:
        high, more, length = 0, 2 * (tag & 3) - 2, (tag >> 2) + 1
    distance = high << 8 | int.from_bytes(data[at : at + more], "little")
    return length, distance, at + more


def _repeat(out: bytearray, distance: int, length: int) -> None:
    """Appends `length` bytes from `distance` before the end, which may overlap what is being appended."""
    if not 0 < distance <= len(out):
        raise MalformedError("a copy of snappy reaches before the beginning")
    source = out[-distance:]
    out += (source * (length // distance + 1))[:length]
