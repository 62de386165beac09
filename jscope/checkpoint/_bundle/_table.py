"""LevelDB's sorted tables.

A table is blocks of sorted keys and values, then a block that says where each of them is, then a footer that says where
that block is. Within a block a key names only what differs from the key before. Each block has a checksum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jscope.checkpoint._bundle._crc32c import crc32c, mask
from jscope.checkpoint._bundle._proto import MalformedError, encode_varint, varint
from jscope.checkpoint._bundle._snappy import decompress

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER = 48
_TRAILER = 5  # How the block is compressed, and its checksum.
_RESTARTS = 16  # Every 16th key is written in full.
_BLOCK = 1 << 16


def decode_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a table, in order."""
    if len(data) < FOOTER:
        raise MalformedError(f"it has {len(data)} bytes, fewer than the smallest index has")
    footer = data[-FOOTER:]
    if not footer.endswith(MAGIC):
        raise MalformedError("its last bytes are not those of an index: it is cut off, or something else")
    _, _, at = _parse_handle(footer, 0)
    offset, size, _ = _parse_handle(footer, at)
    last = None
    for _, handle in _items_of_block(_checked_block(data, offset, size)):
        offset, size, _ = _parse_handle(handle, 0)
        for key, value in _items_of_block(_checked_block(data, offset, size)):
            # Without this, an index that names one block many times would take forever.
            if last is not None and key <= last:
                raise MalformedError("its keys are not in order")
            yield key, value
            last = key


def encode_table(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Returns the table of keys and values, which must be in order.

    >>> dict(decode_table(encode_table([(b"a", b"1"), (b"ab", b"2")])))
    {b'a': b'1', b'ab': b'2'}
    """
    out = bytearray()
    index = [(block[-1][0], _append(out, _encoded_block(block, _RESTARTS))) for block in _grouped(items)]
    # Readers ask for a block of metadata, which may be empty.
    empty = _append(out, _encoded_block([], _RESTARTS))
    footer = empty + _append(out, _encoded_block(index, 1))
    return bytes(out) + footer.ljust(FOOTER - len(MAGIC), b"\0") + MAGIC


def _parse_handle(data: bytes, at: int) -> tuple[int, int, int]:
    """Returns offset and size of a block, and where they end."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return offset, size, at


def _checked_block(data: bytes, offset: int, size: int) -> bytes:
    """Returns the content of one block, after comparing the checksum."""
    end = offset + size
    if end + _TRAILER > len(data):
        raise MalformedError("it names a block beyond its end")
    if mask(crc32c(data[offset : end + 1])) != int.from_bytes(data[end + 1 : end + _TRAILER], "little"):
        raise MalformedError("the checksum of a block is wrong")
    kind = data[end]  # The checksum covers it, so it is not damage: 0 is plain, 1 is snappy.
    if kind > 1:
        raise MalformedError(f"a block is compressed in the unknown way {kind}")
    return decompress(data[offset:end]) if kind else data[offset:end]


def _items_of_block(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of one block."""
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    if end < 0:
        raise MalformedError("a block is shorter than it says")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or at + fresh + size > end:
            raise MalformedError("an entry runs over the end of its block")
        key = key[:shared] + block[at : at + fresh]
        yield key, block[at + fresh : at + fresh + size]
        at += fresh + size


def _grouped(items: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yields the items in runs of about the size of a block."""
    group: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in items:
        group.append((key, value))
        size += len(key) + len(value)
        if size >= _BLOCK:
            yield group
            group, size = [], 0
    if group:
        yield group


def _encoded_block(items: list[tuple[bytes, bytes]], restarts: int) -> bytes:
    """Returns one block."""
    out, starts, last = bytearray(), [0], b""
    for i, (key, value) in enumerate(items):
        shared = 0
        # Keys in full are where a reader that searches can begin; this one reads all.
        if i % restarts == 0:
            starts[i // restarts :] = [len(out)]
        else:
            shared = next((n for n, (a, b) in enumerate(zip(last, key, strict=False)) if a != b), len(last))
        out += encode_varint(shared) + encode_varint(len(key) - shared) + encode_varint(len(value))
        out += key[shared:] + value
        last = key
    return bytes(out) + b"".join(n.to_bytes(4, "little") for n in (*starts, len(starts)))


def _append(out: bytearray, block: bytes) -> bytes:
    """Appends a block and its checksum, and returns the handle."""
    handle = encode_varint(len(out)) + encode_varint(len(block))
    out += block + b"\0" + mask(crc32c(block + b"\0")).to_bytes(4, "little")
    return handle
