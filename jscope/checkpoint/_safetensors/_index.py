"""Models of Hugging Face in several safetensors files: an index says which file has which array."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from jscope._util import _text
from jscope.checkpoint import _leaves
from jscope.checkpoint._errors import CorruptCheckpointError
from jscope.checkpoint._other_formats import refuse_pointer
from jscope.checkpoint._safetensors._reader import SafetensorsReader
from jscope.checkpoint._safetensors._stored import Stored, StoredArray
from jscope.errors import MissingVariableError

SUFFIX = ".safetensors.index.json"


class IndexReader(Stored):
    """All files of an index, as one `Reader`."""

    def __init__(self, index: Path, *, verify: bool = True) -> None:
        self.path = str(index)
        files = _file_of_each(index)
        readers = {file: SafetensorsReader(index.parent / file, verify=verify) for file in sorted(set(files.values()))}
        self.metadata: Mapping[str, str] = _metadata_of_all(reader.metadata for reader in readers.values())
        self._readers = {name: readers[file] for name, file in files.items()}
        lost = [name for name, reader in self._readers.items() if not reader.has_tensor(name)]
        if lost:
            more = f", nor are {len(lost) - 1} others where it says" if lost[1:] else ""
            raise CorruptCheckpointError(f"`{index}`: `{lost[0]}` is not in `{files[lost[0]]}`{more}.")
        self._shapes = {reader.path: reader.get_variable_to_shape_map() for reader in readers.values()}
        self._dtypes = {reader.path: reader.get_variable_to_dtype_map() for reader in readers.values()}

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Returns the shape of each array, by name."""
        return {name: self._shapes[reader.path][name] for name, reader in self._readers.items()}

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype]:
        """Returns the dtype of each array, by name."""
        return {name: self._dtypes[reader.path][name] for name, reader in self._readers.items()}

    def has_tensor(self, name: str) -> bool:
        """Whether there is an array of this name."""
        return name in self._readers

    def get_tensor(self, name: str) -> np.ndarray:
        """Returns one array, a read-only view of its file."""
        return self.get_arrays([name])[name]

    def get_arrays(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Returns several arrays."""
        return {name: self._reader(name).get_tensor(name) for name in names}

    def __getitem__(self, name: str) -> StoredArray:
        """Returns one array as it lies in its file; nothing is read before it is asked for."""
        return self._reader(name)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def close(self) -> None:
        """Lets go of the files. Arrays that were read stay valid."""
        for reader in self._readers.values():
            reader.close()

    def _reader(self, name: str) -> SafetensorsReader:
        if name not in self._readers:
            hint = _text.did_you_mean(name, self._readers)
            raise MissingVariableError(f"There is no array `{name}` in `{self.path}`.{hint}")
        return self._readers[name]


def _metadata_of_all(metadata: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Returns the metadata of several files as those of one.

    >>> _metadata_of_all([{"license": "CC0"}, {"jscope.kinds": '{"step": "int"}'}])
    {'license': 'CC0', 'jscope.kinds': '{"step": "int"}'}
    """
    both, kinds = {}, {}
    for each in metadata:
        both |= each
        kinds |= _leaves.kinds_in(each)
    return _leaves.with_kinds(both, kinds)


def _file_of_each(index: Path) -> dict[str, str]:
    """Returns the file of each array, after checking that it is one beside the index."""
    try:
        files = json.loads(index.read_bytes())["weight_map"]
        names = {*files.values()}
        # `../x` or `/x` would read files that the index has no business with.
        if not all(isinstance(name, str) and Path(name).name == name and name.isprintable() for name in names):
            raise ValueError(f"it names files elsewhere: {sorted(map(str, names))[:4]}")
        return files
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        # Asked only now, so that an intact index is not opened twice.
        refuse_pointer(index)
        raise CorruptCheckpointError(f"`{index}` is not an index of safetensors files: {error}.") from error
