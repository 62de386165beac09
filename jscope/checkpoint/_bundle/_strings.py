"""Arrays of strings: their lengths, a checksum of these, then all the bytes."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np

from jscope.checkpoint._bundle._crc32c import crc32c, mask
from jscope.checkpoint._bundle._entries import Entry
from jscope.checkpoint._bundle._proto import MalformedError, encode_varint, varint


def decode_strings(raw: bytes, entry: Entry, byteorder: str) -> np.ndarray:
    """Returns an array of `bytes` objects."""
    lengths, at = [], 0
    # `entry.length` is bounded by the size of the entry, and that by the file: see `_entries._check`.
    for _ in range(entry.length):
        length, at = varint(raw, at)
        lengths.append(length)
    order = cast(Literal["little", "big"], byteorder)
    crc, stored = crc32c(_fixed(lengths, order)), raw[at : at + 4]
    at += 4
    if mask(crc) != int.from_bytes(stored, order) or at + sum(lengths) != len(raw):
        raise MalformedError("the lengths of its strings are wrong")
    if mask(crc32c(raw[at:], crc32c(stored, crc))) != entry.crc:
        raise MalformedError("its checksum is wrong")
    values = np.empty(entry.length, object)
    for i, length in enumerate(lengths):
        values[i] = raw[at : at + length]
        at += length
    return values.reshape(entry.shape)


def encode_strings(array: np.ndarray[Any, Any]) -> tuple[bytes, int]:
    """Returns an array of `bytes` or `str` as it is stored, and its masked checksum."""
    values = [value.encode() if isinstance(value, str) else bytes(value) for value in array.ravel().tolist()]
    lengths = [len(value) for value in values]
    crc, body = crc32c(_fixed(lengths, "little")), b"".join(values)
    stored = mask(crc).to_bytes(4, "little")
    head = b"".join(map(encode_varint, lengths)) + stored
    return head + body, mask(crc32c(body, crc32c(stored, crc)))


def _fixed(lengths: list[int], byteorder: Literal["little", "big"]) -> bytes:
    """Returns the lengths as their checksum sees them: in 4 bytes each, or 8 where that is too short."""
    return b"".join(n.to_bytes(4 if n < 1 << 32 else 8, byteorder) for n in lengths)
