"""Protocol buffers, as much of them as a checkpoint needs.

A message is a sequence of numbered fields, each an integer, four bytes, or a run of bytes that may be a message. Zeros
are left out. Nothing here knows what the numbers mean: that is in `_entries`.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


class MalformedError(ValueError):
    """The bytes are not what they should be. Whoever knows the file makes this a `CorruptCheckpointError`."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    r"""Returns the integer of variable length that begins at `at`, and where it ends.

    >>> varint(b"\xac\x02", 0)
    (300, 2)
    """
    value = 0
    # Ten bytes of seven bits hold any 64: what goes on after them is damage.
    for i, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + i + 1
    raise MalformedError("a number does not end")


def signed(value: int) -> int:
    """Returns what 64 bits stand for as a signed number.

    >>> signed(2**64 - 1)
    -1
    """
    return value - (value >> 63 << 64)


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    r"""Yields the number and the value of each field: an int, or bytes.

    >>> list(fields(b"\x08\x01\x12\x02hi"))
    [(1, 1), (2, b'hi')]
    """
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = varint(data, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = varint(data, at)
        # The two kinds that are left are groups, which protocol buffers have given up.
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise MalformedError(f"a field is of the unknown kind {kind}")
        if at + size > len(data):
            raise MalformedError("a field runs over the end")
        yield tag >> 3, data[at : at + size]
        at += size


def integer(value: int | bytes) -> int:
    """Returns the value of a field that has to be an integer."""
    if isinstance(value, bytes):
        raise MalformedError("a field holds bytes in place of a number")
    return signed(value)


def content(value: int | bytes) -> bytes:
    """Returns the value of a field that has to be bytes."""
    if isinstance(value, int):
        raise MalformedError("a field holds a number in place of bytes")
    return value


def encode_varint(value: int) -> bytes:
    """Returns an integer in as many bytes as it takes; negative ones take ten.

    >>> encode_varint(300).hex(), len(encode_varint(-1))
    ('ac02', 10)
    """
    # Python's integers have no width; two's complement in 64 bits is what the format means.
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_integer(number: int, value: int) -> bytes:
    """Returns a field that holds an integer: nothing at all for zero."""
    return encode_varint(number << 3 | _VARINT) + encode_varint(value) if value else b""


def encode_bytes(number: int, value: bytes) -> bytes:
    """Returns a field that holds bytes, such as a message."""
    return encode_varint(number << 3 | _BYTES) + encode_varint(len(value)) + value


def encode_four(number: int, value: int) -> bytes:
    """Returns a field of four bytes."""
    return encode_varint(number << 3 | _FOUR) + value.to_bytes(4, "little")
