"""What an index says: one header, and an entry for each array.

A variable that was partitioned has an entry with its full shape and no data, and one more entry for each slice, under a
key that encodes name and slice so that the keys sort as the slices do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from jscope.checkpoint._bundle import _dtypes, _table
from jscope.checkpoint._bundle._proto import (
    MalformedError,
    content,
    encode_bytes,
    encode_four,
    encode_integer,
    fields,
    integer,
)

Extent: TypeAlias = tuple[int, int]
"""Start and length along one axis; a length of -1 is all of it."""

HEADER = b""
_HIDDEN = b"\0"  # What the key of a slice begins with.
_VERSION = 1
_AXES = 64  # What numpy can hold.
_BYTES = 1 << 62


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one array, or one slice of it, is found.

    Attributes:
      dtype: TensorFlow's number of it.
      shape: In full, even where `slices` hold the data.
      shard: Number of the data file.
      offset: Where it begins there, in bytes.
      size: How many bytes it has there.
      crc: Its masked checksum.
      slices: The slices that make it up; none for an array in one piece.
    """

    dtype: int
    shape: tuple[int, ...] = ()
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    slices: tuple[tuple[Extent, ...], ...] = ()

    @property
    def length(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def encode(self) -> bytes:
        """Returns an entry without slices as TensorFlow's `BundleEntryProto`."""
        dims = b"".join(encode_bytes(2, encode_integer(1, size)) for size in self.shape)
        out = encode_integer(1, self.dtype) + encode_bytes(2, dims) + encode_integer(3, self.shard)
        return out + encode_integer(4, self.offset) + encode_integer(5, self.size) + encode_four(6, self.crc)


@dataclass(frozen=True, slots=True)
class Index:
    """The table of contents of a checkpoint.

    Attributes:
      entries: By name.
      slices: The entries of slices, by key.
      shards: Number of data files.
      byteorder: `"little"` or `"big"`.
    """

    entries: Mapping[str, Entry]
    slices: Mapping[bytes, Entry]
    shards: int = 1
    byteorder: str = "little"

    def encode(self) -> bytes:
        """Returns the index as a file: of what was written here, so little-endian and without slices."""
        header = encode_integer(1, self.shards) + encode_bytes(3, encode_integer(1, _VERSION))
        named = sorted((name.encode(), entry) for name, entry in self.entries.items())
        return _table.encode_table([(HEADER, header), *((key, entry.encode()) for key, entry in named)])


def parse(data: bytes) -> Index:
    """Returns what an index file says, after checking all that can be checked without the data."""
    items = _table.decode_table(data)
    key, header = next(items, (None, b""))
    if key != HEADER:
        raise MalformedError("it is a table, but not of a checkpoint (TensorFlow's older format, perhaps)")
    shards, byteorder = _parse_header(header)
    entries: dict[str, Entry] = {}
    slices: dict[bytes, Entry] = {}
    for key, value in items:
        if key.startswith(_HIDDEN):
            slices[key] = _parse_entry(value, shards)
            continue
        name = _decoded(key)
        try:
            entries[name] = _parse_entry(value, shards)
        except MalformedError as error:
            raise MalformedError(f"`{name}`: {error}") from None
    return Index(entries, slices, shards, byteorder)


def slice_key(name: str, extents: tuple[Extent, ...]) -> bytes:
    r"""Returns the key of a slice.

    >>> slice_key("w", ((0, 2), (0, -1)))
    b'\x00w\x00\x01\x01\x02\x80\x82\x80\x7f'
    """
    text = name.encode().replace(b"\0", b"\0\xff")
    rank = len(extents)
    count = rank.to_bytes((rank.bit_length() + 7) // 8, "big")
    key = _HIDDEN + text + b"\0\x01" + bytes([len(count)]) + count
    return key + b"".join(_ordered(number) for extent in extents for number in extent)


def _ordered(number: int) -> bytes:
    """Returns a signed number in bytes that sort as numbers do: the longer, the more of the first bits are set."""
    # Google's OrderedCode: a key sorts as the name and the extents that it encodes.
    size = (number if number >= 0 else ~number).bit_length() // 7 + 1
    header = (1 << 16) - (1 << 16 - size)
    body = int.from_bytes(number.to_bytes(10, "big", signed=True)[-size:], "big")
    return (body ^ (header << 8 * size >> 16)).to_bytes(size, "big")


def _decoded(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise MalformedError(f"the name {key!r} is not UTF-8") from None


def _parse_header(data: bytes) -> tuple[int, str]:
    """Returns the number of data files and the byte order."""
    found: dict[int, int] = {}
    for number, value in fields(data):
        if number == 3:
            # `VersionDef.min_consumer`: which readers the writer shuts out.
            newest = dict(fields(content(value))).get(2, 0)
            if integer(newest) > _VERSION:
                raise MalformedError(f"it asks for a reader of version {newest}, newer than any when this was written")
        elif number in (1, 2):
            found[number] = integer(value)
    if not 1 <= found.get(1, 0) < 100_000:
        raise MalformedError(f"it names {found.get(1, 0)} data files")
    return found[1], "big" if found.get(2) else "little"


def _parse_entry(data: bytes, shards: int) -> Entry:
    """Returns one entry, checked."""
    found: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    crc, slices = 0, []
    for number, value in fields(data):
        if number == 2:
            shape = _shape(content(value))
        elif number == 6:
            crc = int.from_bytes(content(value), "little")
        elif number == 7:
            slices.append(tuple(_extents(content(value))))
        elif number in (1, 3, 4, 5):
            found[number] = integer(value)
    dtype, shard, offset, size = (found.get(number, 0) for number in (1, 3, 4, 5))
    entry = Entry(dtype, shape, shard, offset, size, crc, tuple(slices))
    _check(entry, shards)
    return entry


def _shape(data: bytes) -> tuple[int, ...]:
    # `TensorShapeProto.unknown_rank`, which a saved array cannot have.
    if any(number == 3 and value for number, value in fields(data)):
        raise MalformedError("its shape is unknown")
    dims = [dict(fields(content(value))) for number, value in fields(data) if number == 2]
    return tuple(integer(dim.get(1, 0)) for dim in dims)


def _extents(data: bytes) -> Iterator[Extent]:
    for number, value in fields(data):
        if number == 1:
            extent = dict(fields(content(value)))
            yield integer(extent.get(1, 0)), integer(extent[2]) if 2 in extent else -1


def _check(entry: Entry, shards: int) -> None:
    """Raises for what cannot be an array, so that later arithmetic and allocations stay sane."""
    shape = entry.shape
    # A size of 0 hides the others from a product, but not from what multiplies them later.
    if len(shape) > _AXES or min(shape, default=0) < 0 or math.prod(size or 1 for size in shape) * 16 > _BYTES:
        raise MalformedError(f"it claims the shape {list(shape)[:_AXES]}")
    if not 0 <= entry.shard < shards or not (0 <= entry.offset < _BYTES and 0 <= entry.size < _BYTES):
        raise MalformedError(f"it claims {entry.size} bytes at {entry.offset} of data file {entry.shard}")
    dtype = _dtypes.numeric(entry.dtype)
    if dtype is not None and not entry.slices and entry.size != entry.length * dtype.itemsize:
        raise MalformedError(f"{dtype.name}{list(shape)} claims {entry.size} bytes")
    if entry.dtype == _dtypes.STRING and not entry.slices and entry.size < entry.length:
        raise MalformedError(f"{entry.length} strings claim {entry.size} bytes")
    for extents in entry.slices:
        if len(extents) != len(shape):
            raise MalformedError(f"it has {len(shape)} axes, and a slice with {len(extents)}")
