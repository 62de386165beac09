"""Reading: names, shapes and dtypes at once, arrays when they are asked for.

The data files are mapped into memory, so that an array is a view of the file; what costs time is only the checksum,
which every array has and which is compared whenever one is read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jscope._util import _text
from jscope.checkpoint._bundle import _dtypes, _entries, _state, _strings
from jscope.checkpoint._bundle._crc32c import crc32c, mask
from jscope.checkpoint._bundle._entries import Entry, Extent
from jscope.checkpoint._bundle._proto import MalformedError
from jscope.checkpoint._errors import (
    CheckpointError,
    CorruptCheckpointError,
    MissingCheckpointError,
    UnsupportedCheckpointError,
)
from jscope.checkpoint._other_formats import refuse_pointer
from jscope.errors import MissingVariableError

_MOST = 1 << 32  # Bytes of an index: 100 for each of 40 million variables.


class BundleReader:
    """An open TensorFlow checkpoint; see `jscope.checkpoint.tensorbundle.open`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._location = os.path.abspath(prefix)  # Data files are opened later, perhaps from another directory.
        self._files: dict[int, np.ndarray] | None = {}
        try:
            self._index = _entries.parse(_index_bytes(prefix + _state.INDEX))
        except MalformedError as error:
            # A pointer of Git LFS is a text in place of the file; asked only when it turns out not to be an index.
            refuse_pointer(Path(prefix + _state.INDEX))
            raise CorruptCheckpointError(
                f"`{prefix}{_state.INDEX}` is not an intact index of a TensorFlow checkpoint: {error}.\n"
                "Copy it again from where it was saved, or take an earlier checkpoint."
            ) from error

    def __repr__(self) -> str:
        return f"<TensorFlow checkpoint {self._prefix!r} of {len(self._index.entries)} variables>"

    @property
    def path(self) -> str:
        """The prefix."""
        return self._prefix

    @property
    def metadata(self) -> Mapping[str, str]:
        """Nothing: the format has no place for it."""
        return {}

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Returns the shape of each array, by name."""
        return {name: list(entry.shape) for name, entry in self._index.entries.items()}

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype]:
        """Returns the dtype of each array, by name: `object` for strings."""
        return {name: _dtypes.shown(entry.dtype) for name, entry in self._index.entries.items()}

    def has_tensor(self, name: str, /) -> bool:
        """Whether there is an array of this name."""
        return name in self._index.entries

    def get_tensor(self, name: str, /) -> np.ndarray:
        """Returns one array: a read-only view of the file where there is one in one piece, strings as `bytes` objects.

        Raises:
          MissingVariableError: There is no such array.
          CorruptCheckpointError: Its bytes are not those that were saved.
          UnsupportedCheckpointError: It holds something other than numbers or strings.
          MissingCheckpointError: Its data file is not there.
        """
        entry = self._index.entries.get(name)
        if entry is None:
            near = _text.did_you_mean(name, self._index.entries)
            raise MissingVariableError(f"`{self._prefix}` has no variable `{name}`.{near}")
        if _dtypes.numeric(entry.dtype) is None and entry.dtype != _dtypes.STRING:
            raise UnsupportedCheckpointError(
                f"`{name}` in `{self._prefix}` is of TensorFlow's dtype {_dtypes.name_of(entry.dtype)}, which no array "
                "of numpy or JAX holds.\nLeave it out, or save it from TensorFlow as a plain dtype."
            )
        try:
            return self._assembled(name, entry) if entry.slices else self._whole(entry)
        except MalformedError as error:
            refuse_pointer(Path(self._data_file(entry.shard)))
            raise CorruptCheckpointError(
                f"`{name}` cannot be read from `{self._prefix}`: {error}.\nCopy the checkpoint again from where it was "
                "saved, all its files together, or take an earlier one."
            ) from error

    def close(self) -> None:
        """Lets go of the files. Arrays that were read stay valid."""
        self._files = None

    def __enter__(self) -> BundleReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _whole(self, entry: Entry) -> np.ndarray:
        """Returns an array, or a slice of one, that is in one piece."""
        raw = self._bytes(entry)
        if entry.dtype == _dtypes.STRING:
            return _strings.decode_strings(raw.tobytes(), entry, self._index.byteorder)
        if mask(crc32c(raw)) != entry.crc:
            raise MalformedError("its checksum is wrong")
        dtype = _dtypes.numeric(entry.dtype)
        assert dtype is not None
        # Any byte but 0 is true to TensorFlow, while NumPy needs 0 or 1.
        if dtype == np.bool_:
            return (raw != 0).reshape(entry.shape)
        if self._index.byteorder != sys.byteorder:
            raw = _swapped(raw, dtype)
        # What follows something of odd size may lie where its dtype must not.
        aligned = raw.ctypes.data % dtype.alignment == 0
        return (raw if aligned else raw.copy()).view(dtype).reshape(entry.shape)

    def _assembled(self, name: str, entry: Entry) -> np.ndarray:
        """Returns an array that is in slices, after checking that they cover it exactly."""
        parts = [(each, self._slice(name, entry, each)) for each in entry.slices]
        if (length := sum(part.length for _, part in parts)) < entry.length:
            raise UnsupportedCheckpointError(
                f"Of `{name}` in `{self._prefix}` only {length} of {entry.length} elements were saved under this "
                "name.\nTensorFlow does so to the slots of partitioned variables where the optimizer was made inside a "
                "variable scope. Leave it out."
            )
        # Slices that share their bytes could claim any amount of memory.
        if sum(part.size for _, part in parts) > sum(len(self._file(n)) for n in {part.shard for _, part in parts}):
            raise MalformedError("its slices claim more bytes than their files have")
        dtype = np.dtype(object) if entry.dtype == _dtypes.STRING else _dtypes.numeric(entry.dtype)
        out, covered = np.empty(entry.shape, dtype), np.zeros(entry.shape, np.bool_)
        for extents, part in parts:
            region = tuple(_region(extents, entry.shape))
            out[region] = self._whole(part)
            covered[region] = True
        # As many elements as there are, and all covered: then none is covered twice.
        if length > entry.length or not covered.all():
            raise MalformedError("its slices overlap")
        return out

    def _slice(self, name: str, entry: Entry, extents: tuple[Extent, ...]) -> Entry:
        """Returns the entry of one slice, checked against the variable that it is a slice of."""
        part = self._index.slices.get(_entries.slice_key(name, extents))
        if part is None:
            raise MalformedError(f"its slice {_slice_text(extents)} is missing")
        shape = tuple(region.stop - region.start for region in _region(extents, entry.shape))
        if part.shape != shape or part.dtype != entry.dtype or part.slices:
            raise MalformedError(f"its slice {_slice_text(extents)} is of another shape or dtype")
        return part

    def _bytes(self, entry: Entry) -> np.ndarray:
        """Returns the bytes of an entry."""
        file = self._file(entry.shard)
        if entry.offset + entry.size > len(file):
            raise MalformedError(
                f"it has {entry.size} bytes at {entry.offset} of "
                f"`{os.path.basename(self._data_file(entry.shard))}`, which has only {len(file)}"
            )
        return file[entry.offset : entry.offset + entry.size]

    def _file(self, shard: int) -> np.ndarray:
        if self._files is None:
            raise CheckpointError(f"`{self._prefix}` was closed. Open it again to read from it.")
        if shard not in self._files:
            self._files[shard] = _map_file(self._data_file(shard))
        return self._files[shard]

    def _data_file(self, shard: int) -> str:
        return _state.data_file(self._location, shard, self._index.shards)


def _index_bytes(path: str) -> bytes:
    file = _map_file(path)
    if len(file) > _MOST:
        raise MalformedError(f"it has {len(file):,} bytes")
    return file.tobytes()


def _map_file(path: str) -> np.ndarray:
    """Returns the bytes of a file, without reading them yet."""
    try:
        # An empty file cannot be mapped.
        return np.asarray(np.memmap(path, np.uint8, "r")) if os.path.getsize(path) else np.empty(0, np.uint8)
    except OSError as error:
        raise MissingCheckpointError(
            f"`{path}` cannot be read: {error.strerror}.\nA TensorFlow checkpoint is all its files: copy them together."
        ) from error


def _region(extents: tuple[Extent, ...], shape: tuple[int, ...]) -> Iterator[slice]:
    """Yields where a slice goes, axis by axis."""
    for (start, length), size in zip(extents, shape, strict=True):
        stop = size if length < 0 else start + length
        if not 0 <= start <= stop <= size:
            raise MalformedError(f"its slice {_slice_text(extents)} reaches beyond it")
        yield slice(start, stop)


def _slice_text(extents: tuple[Extent, ...]) -> str:
    parts = ("" if length < 0 else f"{start}:{start + length}" for start, length in extents)
    return f"[{', '.join(part or ':' for part in parts)}]"


def _swapped(raw: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Returns the bytes of numbers in the other byte order."""
    # A complex number is two numbers, each in its own order of bytes.
    width = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
    return np.ascontiguousarray(raw.reshape(-1, width)[:, ::-1]).reshape(-1)
