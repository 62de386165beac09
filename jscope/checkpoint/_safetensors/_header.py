"""The header of a safetensors file: what is where.

A file is eight bytes with the length of the header, the header, and the arrays. The header is JSON: for each name the
dtype, the shape, and where the bytes begin and end; under `__metadata__` strings by name. It is read as if it came from
an enemy: nothing is believed that the size of the file does not bear out, before anything is allocated.

Headers that jscope writes end in spaces, so that the arrays begin at a multiple of 64 bytes and JAX can use them where
they lie. Their metadata has a digest of each array, and one of all the rest of the header.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from jscope._types import Shape
from jscope._util._gc import gc_paused
from jscope.checkpoint._digest import hexdigest
from jscope.checkpoint._errors import CorruptCheckpointError
from jscope.checkpoint._safetensors import _dtypes

ALIGNMENT = 64
LIMIT = 100_000_000
"""The longest header, in bytes; the same as in the safetensors library."""

METADATA = "__metadata__"
OWN = DIGEST, DIGESTS, DTYPES = "jscope.digest", "jscope.digests", "jscope.dtypes"
"""The entries of the metadata that belong to the file and not to the user."""

_NONE = "0" * 32
"""What stands in the place of the header's digest while that is computed."""


class Kind(NamedTuple):
    """What arrays of one dtype and shape have in common.

    Attributes:
      dtype: Their dtype.
      shape: Their shape.
      code: The dtype they are stored as.
      size: The number of their bytes, None where that is not known.
    """

    dtype: np.dtype
    shape: Shape
    code: str
    size: int | None


Entry: TypeAlias = tuple[Kind, int, int]
"""One array: its kind, and where its bytes begin and end, counted from the end of the header.

A plain tuple, since a file may have 100,000 of them.
"""


@dataclass(frozen=True, slots=True)
class Header:
    """All arrays by name, the user's metadata, the number of bytes before the first array, and the digests as JSON."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]
    start: int
    digests: str = "{}"  # Of use only to what is read: nobody wants 100,000 of them to see what there is.


def encode_header(entries: Mapping[str, Entry], digests: Mapping[str, str], metadata: Mapping[str, str]) -> bytes:
    """Returns the bytes of a file before the first array."""
    rows = {
        name: {
            "dtype": kind.code,
            "shape": _dtypes.stored_shape(kind.shape, kind.dtype),
            "data_offsets": (begin, end),
        }
        for name, (kind, begin, end) in entries.items()
    }
    dtypes = {name: real for name, (kind, _, _) in entries.items() if (real := _dtypes.view_of(kind.dtype))}
    # The digest comes first: it must be the first place in the file where these characters stand.
    own = {DIGEST: _NONE, **metadata, DIGESTS: json.dumps(digests)}
    own |= {DTYPES: json.dumps(dtypes)} if dtypes else {}
    text = json.dumps({METADATA: own} | rows, separators=(",", ":")).encode()
    # JSON may end in spaces, so this is a valid file for every reader.
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text.replace(_NONE.encode(), hexdigest(text).encode(), 1)


@gc_paused()
def decode_header(read: Callable[[int, int], bytes], size: int, path: str) -> Header:
    """Returns the header of a file of `size` bytes, of which `read(begin, end)` gives some.

    Raises:
      CorruptCheckpointError: It contradicts itself, the size of the file, or its digest.
    """
    if size < 8:
        raise CorruptCheckpointError(f"`{path}` has {size} bytes; a safetensors file has at least 8. It was truncated.")
    length = int.from_bytes(read(0, 8), "little")
    # Before anything of this size is read.
    if length > min(size - 8, LIMIT):
        raise CorruptCheckpointError(
            f"`{path}` is not a safetensors file, or was truncated: its header claims {length:,} bytes, and the file "
            f"has {size:,} (a header may have {LIMIT:,} at most)."
        )
    try:
        return _checked_header(read(8, 8 + length), size)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptCheckpointError(
            f"The header of `{path}` is not that of a safetensors file: {error}.\nIt was altered, truncated, or is of "
            "another format."
        ) from error


def _checked_header(text: bytes, size: int) -> Header:
    # No number here has a point: one that does becomes a text, which passes for no other number.
    table = json.loads(text, parse_float=str)
    metadata, start = table.pop(METADATA, {}), 8 + len(text)
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("the metadata holds something other than strings")
    user, digest = {key: value for key, value in metadata.items() if key not in OWN}, metadata.get(DIGEST, "")
    # Only files of jscope have a digest; one that has any of its entries must have the right one.
    if len(user) == len(metadata):
        _check_unique(text, table, metadata)
    elif digest != hexdigest(text.replace(digest.encode(), _NONE.encode(), 1)):
        raise ValueError(
            "it does not have the digest that jscope gave it (a program that rewrites the file must leave out the "
            f"metadata {', '.join(OWN)})"
        )
    # JSON's true is equal to 1. Names may hold these letters, too, and then a shape is told by its text.
    told = str if b"true" in text or b"false" in text else tuple
    entries = _checked_entries(table, json.loads(metadata.get(DTYPES, "{}")), told)
    _check_layout(entries, size - start)
    return Header(entries, user, start, metadata.get(DIGESTS, "{}"))


def _checked_entries(table: Any, dtypes: Any, told: Callable[[Any], Any]) -> dict[str, Entry]:
    """Returns the entries, each checked; those of one dtype and shape, as `told` tells them, share what that costs."""
    kinds: dict[tuple[Any, Any, Any], Kind] = {}
    entries = {}
    for name, row in table.items():
        code, shape, (begin, end) = row["dtype"], row["shape"], row["data_offsets"]
        if shape.__class__ is not list:
            raise ValueError(f"`{name}` has the shape {shape}")
        key = code, told(shape), dtypes.get(name) if dtypes else None
        try:
            kind = kinds.get(key)
        except TypeError:  # There is a list or a dict within.
            raise ValueError(f"`{name}` has the dtype {code!r} and the shape {shape}") from None
        if kind is None:
            kind = kinds[key] = _checked_kind(name, code, shape, key[2])
        if type(begin) is not int or type(end) is not int or not 0 <= begin <= end:
            raise ValueError(f"`{name}` has the offsets {begin} and {end}")
        if end - begin != kind.size is not None:
            raise ValueError(f"`{name}` has {code}{shape}, so {kind.size:,} bytes, but offsets for {end - begin:,}")
        entries[name] = kind, begin, end
    return entries


def _checked_kind(name: str, code: Any, shape: Any, real: str | None) -> Kind:
    """Returns the kind of what has a code and a stored shape, and a `real` dtype where the code stands for one."""
    # `type(n) is int`, since JSON's true is an int to Python; the bound keeps products within 64 bits for NumPy.
    if len(shape) > 64 or not all(type(n) is int and 0 <= n < 2**62 for n in shape):
        raise ValueError(f"`{name}` has the shape {shape}")
    if not isinstance(code, str) or not code.isidentifier():
        raise ValueError(f"`{name}` has the dtype {code!r}")
    if code not in _dtypes.CODES:  # Such as F4: the others can be read, so this is not the file's fault.
        return Kind(_dtypes.unreadable(code), tuple(shape), code, None)
    stored = _dtypes.dtype_of(code)
    meant = (stored, tuple(shape)) if real is None else _dtypes.real(real, code, tuple(shape))
    if meant is None:
        raise ValueError(f"`{name}` is {code}{shape}, which no {real} is stored as")
    dtype, shape = meant
    return Kind(dtype, shape, code, math.prod(shape) * dtype.itemsize)


def _check_layout(entries: Mapping[str, Entry], size: int) -> None:
    """Raises unless the arrays lie side by side and fill the file."""
    # In the order of the header, which is nearly always that of the arrays.
    begins, ends = [begin for _, begin, _ in entries.values()], [end for _, _, end in entries.values()]
    if [*begins, size] == [0, *ends]:
        return
    end, before = 0, "the header"
    for name, (_, begin, its_end) in sorted(entries.items(), key=lambda item: item[1][1:]):
        if begin != end:
            what = "overlap" if begin < end else "leave a hole"
            raise ValueError(f"`{name}` begins at {begin}, but {before} ends at {end}: they {what}")
        end, before = its_end, f"`{name}`"
    if end != size:
        raise ValueError(f"the arrays take {end:,} bytes, and the file has {size:,} for them")


def _check_unique(text: bytes, table: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Raises where a name is there twice, which a dict does not tell."""
    # Between two quotes each, there are the names of rows, what they consist of and their codes, and the metadata.
    rows = [row for row in table.values() if isinstance(row, dict)]
    strings = len(table) + sum(map(len, rows)) + len(rows) + 2 * len(metadata) + bool(metadata)
    # Where there are more, or quotes may be escaped, they are looked at one by one, which takes much longer.
    if b"\\" in text or np.count_nonzero(np.frombuffer(text, np.uint8) == ord('"')) != 2 * strings:
        json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name is there twice")
    return table
