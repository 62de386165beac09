"""Reading safetensors files: the file is mapped, an array is a view of it, verified when it is first read."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from jscope._util import _text
from jscope.checkpoint._errors import (
    CheckpointError,
    CorruptCheckpointError,
    MissingCheckpointError,
    UnsupportedCheckpointError,
)
from jscope.checkpoint._other_formats import refuse_foreign
from jscope.checkpoint._safetensors._checksum import agrees, in_threads
from jscope.checkpoint._safetensors._dtypes import CODES
from jscope.checkpoint._safetensors._header import Entry, Header, Kind, decode_header
from jscope.checkpoint._safetensors._stored import Stored, StoredArray
from jscope.errors import MissingVariableError


class SafetensorsReader(Stored):
    """An open safetensors file, as a `Reader`."""

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        if not path.is_file():
            raise MissingCheckpointError(f"There is no file `{path}`{', but a directory' * path.is_dir()}.")
        self.path = str(path)
        self._bytes: np.ndarray | None = _map(path)
        self._header = self._decode(path, self._bytes)
        self._verify_once, self._verified = verify, set[str]()

    @property
    def metadata(self) -> Mapping[str, str]:
        """What `save` was given as metadata."""
        return self._header.metadata

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Returns the shape of each array, by name."""
        return {name: list(kind.shape) for name, (kind, _, _) in self._header.entries.items()}

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype]:
        """Returns the dtype of each array, by name."""
        return {name: kind.dtype for name, (kind, _, _) in self._header.entries.items()}

    def has_tensor(self, name: str) -> bool:
        """Whether there is an array of this name."""
        return name in self._header.entries

    def get_tensor(self, name: str) -> np.ndarray:
        """Returns one array, a read-only view of the file."""
        return self.get_arrays([name])[name]

    def get_arrays(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Returns several arrays; the digests of large ones are computed in threads."""
        # All are looked up before any is hashed: a misspelt name must not cost the time that large ones take.
        found = {name: self._entry(name) for name in names}
        for name, (kind, _, _) in found.items():
            self._check_readable(name, kind)
        pending = [name for name in found if name not in self._verified] if self._verify_once else []
        in_threads(self._verify, pending, [found[name][0].size or 0 for name in pending])
        return {name: self._view(name, entry) for name, entry in found.items()}

    def __getitem__(self, name: str) -> StoredArray:
        """Returns one array as it lies in the file; nothing is read before it is asked for."""
        entry = self._entry(name)
        kind = entry[0]
        self._check_readable(name, kind)
        return StoredArray(
            kind.shape, kind.dtype, lambda: self.get_tensor(name), lambda index: self._view(name, entry, index)
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._header.entries)

    def __len__(self) -> int:
        return len(self._header.entries)

    def close(self) -> None:
        """Lets go of the file. Arrays that were read stay valid."""
        self._bytes = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self, path: Path, data: np.ndarray) -> Header:
        try:
            return decode_header(lambda begin, end: data[begin:end].tobytes(), len(data), self.path)
        except CorruptCheckpointError:
            # Whatever has no better reader ends up here, by its name or without one.
            refuse_foreign(path)
            raise

    def _entry(self, name: str) -> Entry:
        entry = self._header.entries.get(name)
        if entry is None:
            hint = _text.did_you_mean(name, self._header.entries)
            raise MissingVariableError(f"There is no array `{name}` in `{self.path}`.{hint}")
        return entry

    def _check_readable(self, name: str, kind: Kind) -> None:
        if kind.dtype.names:
            raise UnsupportedCheckpointError(
                f"`{name}` in `{self.path}` has the dtype {kind.code}, which NumPy lacks; there are "
                f"{', '.join(CODES)}.\nLeave it out with `select=`; the others can be read."
            )

    def _raw(self, entry: Entry) -> np.ndarray:
        if self._bytes is None:
            raise CheckpointError(f"`{self.path}` was closed. Open it again to read from it.")
        _, begin, end = entry
        return self._bytes[self._header.start + begin : self._header.start + end]

    def _verify(self, name: str) -> None:
        digest = self._digests.get(name)
        if digest is not None and not agrees(self._raw(self._entry(name)), digest):
            raise CorruptCheckpointError(
                f"`{name}` in `{self.path}` is corrupt: its bytes do not have the digest {digest} of the saved.\n"
                "Restore another step, or the file from a copy; `verify=False` reads it as it is."
            )
        self._verified.add(name)

    @cached_property
    def _digests(self) -> Mapping[str, str]:
        try:
            digests = json.loads(self._header.digests)
        except (ValueError, RecursionError) as error:
            raise CorruptCheckpointError(f"The digests in `{self.path}` are not JSON: {error}.") from error
        if not isinstance(digests, dict) or not all(isinstance(each, str) for each in digests.values()):
            raise CorruptCheckpointError(f"The digests in `{self.path}` are not texts by name.")
        return digests

    def _view(self, name: str, entry: Entry, index: Any = ...) -> np.ndarray:
        kind, raw = entry[0], self._raw(entry)
        try:
            array = raw.view(kind.dtype).reshape(kind.shape)
        except ValueError as error:  # Sizes whose product is zero may each be beyond what NumPy takes.
            raise CorruptCheckpointError(f"`{name}` in `{self.path}` has a shape beyond NumPy: {error}.") from error
        part = array[index]
        # NumPy takes any byte for a bool, and then `x + x` and `x & x` disagree about it.
        if kind.code == "BOOL" and part.size and part.view(np.uint8).max() > 1:
            raise CorruptCheckpointError(f"`{name}` in `{self.path}` is bool, but holds bytes other than 0 and 1.")
        return part


def _map(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return np.zeros(0, np.uint8)  # An empty file cannot be mapped.
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except FileNotFoundError as error:  # It was there when it was looked for: a step that `keep=` has deleted.
        raise MissingCheckpointError(f"`{path}` was deleted while it was opened.") from error
