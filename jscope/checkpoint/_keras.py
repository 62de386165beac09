"""Keras's files: the weights of `.weights.h5` and `.keras`, under the names of their layers.

Keras gives variables no names, but positions. Its groups follow the attributes of the model, and lists of layers count
classes: `layers/conv2d_1/vars/0`. What tells a layer is the name that each has as an attribute. So names here are those
of layers, or of attributes where a layer is one, and the position: `encoder/hidden/0`. What belongs to the training,
an optimizer's variables and the state of random generators, is left out.

Of a `.keras` file only the weights are read, never what the model consists of, which may name code to run. And no file
is trusted: links are not followed, least of all to other files, and no array may claim more bytes than there are.

What is written are groups and arrays, where `keras.save` has them. This file is all that knows HDF5.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._util import _text
from jscope.checkpoint._blocks import Blocks
from jscope.checkpoint._errors import CheckpointError, CorruptCheckpointError, UnsupportedCheckpointError
from jscope.checkpoint._files import BUFFER, reserve
from jscope.checkpoint._keras_names import LAYERS, LEFT_OUT, VARS
from jscope.checkpoint._other_formats import refuse_pointer
from jscope.errors import MissingVariableError

try:
    import h5py
except ImportError as error:
    raise ImportError("Keras's files are HDF5: `pip install jscope[keras]` reads and writes them.") from error

WEIGHTS = "model.weights.h5"
"""What a `.keras` file, a zip archive, calls its weights."""

_GROWTH = 1032
"""The most that deflate, HDF5's and zip's compression, can make of a byte."""
_IN_MEMORY = 1 << 30
"""The most bytes of weights that are unpacked in memory."""
_HEAP, _HEADER = re.compile(rb"GCOL\x01\0\0\0"), 16
"""How a heap of HDF5 begins, and how many bytes stand before its first object, and in each before its content."""
_SAID = 1 << 12
"""More bytes than HDF5 writes of an array, a group or a name."""
_OWN_FILTERS = 6
"""Filters of HDF5 with a number up to this are its own; others are plugins, which are code."""


@dataclass(frozen=True, slots=True)
class _Stored:
    dataset: Any
    dtype: np.dtype


class KerasReader:
    """Open weights of Keras, as a `Reader`."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.metadata: Mapping[str, str] = {}
        refuse_pointer(path)
        # Whatever is wrong with the file, it does not stay open.
        with contextlib.ExitStack() as opened, _blamed(self.path):
            self._size = os.path.getsize(path)
            weights = opened.enter_context(_weights(path)) if zipfile.is_zipfile(path) else path
            _check_heaps(path, weights)
            self._file = opened.enter_context(h5py.File(weights, "r"))
            found = [(parts, raw, self._stored(dataset)) for parts, raw, dataset in _datasets(self._file, self.path)]
            self._opened = opened.pop_all()
        names = [_path.join(*parts) for parts, _, _ in found]
        # Two layers of one name in different lists cannot be told by it: then groups are, all of them.
        told = names if len(set(names)) == len(names) else [_path.join(*raw) for _, raw, _ in found]
        self._arrays = {name: stored for name, (_, _, stored) in zip(told, found, strict=True)}

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Returns the shape of each array, by name."""
        return {name: list(each.dataset.shape) for name, each in self._arrays.items()}

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype]:
        """Returns the dtype of each array, by name."""
        return {name: each.dtype for name, each in self._arrays.items()}

    def has_tensor(self, name: str) -> bool:
        """Whether there is an array of this name."""
        return name in self._arrays

    def get_tensor(self, name: str) -> np.ndarray:
        """Returns one array."""
        if not self._file:
            raise CheckpointError(f"`{self.path}` was closed. Open it again to read from it.")
        if name not in self._arrays:
            near = _text.did_you_mean(name, self._arrays)
            raise MissingVariableError(f"There is no array `{name}` in `{self.path}`.{near}")
        stored = self._arrays[name]
        if stored.dtype.hasobject:
            raise UnsupportedCheckpointError(f"`{name}` in `{self.path}` holds something other than numbers.")
        with _blamed(self.path):
            value = np.asarray(stored.dataset[()])
        return value.view(stored.dtype) if value.dtype.kind == "V" else value.astype(stored.dtype, copy=False)

    def close(self) -> None:
        """Lets go of the file. Arrays that were read stay valid."""
        self._opened.close()

    def places(self) -> dict[str, str]:
        """Returns where each array is in the file, by name."""
        return {name: each.dataset.name for name, each in self._arrays.items()}

    def layers(self) -> dict[str, str | None]:
        """Returns the name that each layer has as an attribute, by its group."""
        found: dict[str, str | None] = {}

        def take(group: str, item: Any) -> None:
            if isinstance(item, h5py.Group) and VARS in item and not {*_path.parts(group)} & {*LEFT_OUT}:
                found[group] = _name_of(item)

        take("", self._file)
        self._file.visititems(take)
        return found

    def _stored(self, dataset: Any) -> _Stored:
        """Returns an array that the file has, after checking that it has it."""
        if dataset.shape is None:
            raise CorruptCheckpointError(f"`{dataset.name}` in `{self.path}` is not an array: it has no shape.")
        if dataset.is_virtual or dataset.external:
            raise UnsupportedCheckpointError(
                f"`{dataset.name}` in `{self.path}` lies in another file, which is not read. Write it anew, whole."
            )
        filters = dataset.id.get_create_plist()
        used = [filters.get_filter(at)[0] for at in range(filters.get_nfilters())]
        if any(number > _OWN_FILTERS for number in used):
            raise UnsupportedCheckpointError(
                f"`{dataset.name}` in `{self.path}` is compressed in a way that needs code."
            )
        growth = _GROWTH if used else 1
        # HDF5 believes what the header says of an array's bytes, so they are compared with the file as well; and of an
        # array that has none it makes zeros, however many it claims.
        if dataset.nbytes > growth * min(dataset.id.get_storage_size(), self._size):
            raise CorruptCheckpointError(
                f"`{dataset.name}` in `{self.path}` claims {dataset.nbytes:,} bytes, and the file has "
                f"{min(dataset.id.get_storage_size(), self._size):,} for it."
            )
        return _Stored(dataset, _dtype(dataset))


def open(path: Path) -> KerasReader:
    """Returns the weights of a file of Keras."""
    return KerasReader(path)


def write(path: Path, arrays: Mapping[str, Any], layers: Mapping[str, str | None]) -> None:
    """Writes a file, and waits until it is on the disk: arrays by where they are, and names of layers by group."""
    blocks = {
        # One after the other comes to the host.
        place: each if isinstance(each, Blocks) else Blocks(each.shape, each.dtype, lambda _, a=each: a, True)
        for place, each in arrays.items()
    }
    groups = {group for place in (*arrays, *layers) for group in _path.prefixes(place)}
    with path.open("r+b", BUFFER) as file:
        # HDF5 goes to pieces where the disk is full. So it writes no more than what it says of arrays, and after this.
        size = sum(each.nbytes for each in blocks.values())
        reserve(file.fileno(), size + _SAID * (1 + len(blocks) + len(layers) + len(groups)))
        begins = _laid_out(path, blocks, layers)
        reserve(file.fileno(), os.path.getsize(path))
        for place, each in blocks.items():
            if each.nbytes:
                file.seek(begins[place])
                file.writelines(block.data for block in each)
        file.flush()
        os.fsync(file.fileno())


def _laid_out(path: Path, arrays: Mapping[str, Any], layers: Mapping[str, str | None]) -> dict[str, int]:
    """Writes a file without the bytes of its arrays; returns where these begin."""
    begins = {}
    # It would lock the file for itself, which `replacing` has done already.
    with h5py.File(path, "w", locking=False) as file:
        for group, name in layers.items():
            attributes = file.require_group(_path.join(group, VARS)).attrs
            if name is not None:
                attributes["name"] = name
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        how.set_obj_track_times(False)  # The same arrays make the same file.
        for place, array in arrays.items():
            is_half = array.dtype == jnp.bfloat16
            kind = h5py.h5t.py_create(np.dtype("V2") if is_half else array.dtype)
            group, name = file.require_group(_path.parent(place)), _path.basename(place)
            # The functions below h5py's own, which forget `how` where an array is a scalar.
            made = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(array.shape), how)
            if is_half:
                group[name].attrs["dtype"] = array.dtype.name
            begins[place] = made.get_offset()
    return begins


@contextlib.contextmanager
def _blamed(path: str) -> Iterator[None]:
    """Has whatever h5py raises blame the file: it has no class of its own."""
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise CorruptCheckpointError(f"`{path}` is not an intact file of Keras: {error}.") from error


def _weights(path: Path) -> IO[bytes]:
    """Returns the weights in a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        if WEIGHTS not in archive.namelist():
            there = ", ".join(f"`{name}`" for name in archive.namelist()[:8]) or "nothing"
            raise UnsupportedCheckpointError(f"`{path}` is a zip archive without `{WEIGHTS}`; it has {there}.")
        member = archive.getinfo(WEIGHTS)
        # As Keras writes it, it lies in the archive as it is, and is read from there; the archive's file is closed with
        # the last that reads from it.
        if member.compress_type == zipfile.ZIP_STORED:
            return archive.open(member)
        if member.file_size > min(_IN_MEMORY, _GROWTH * member.compress_size):
            raise UnsupportedCheckpointError(
                f"`{WEIGHTS}` in `{path}` is compressed, and claims {member.file_size:,} bytes.\n"
                "Unpack it, and open that."
            )
        with archive.open(member) as file:
            return io.BytesIO(file.read(member.file_size))


def _check_heaps(path: Path, weights: Any) -> None:
    """Raises where HDF5 would read for ever: in a heap, which has the names, it goes on by sizes that it believes."""
    if not os.path.getsize(path):
        return  # It cannot be mapped, and is nothing.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        # What lies in an archive as it is lies in this file; what was unpacked is in memory.
        data = weights.getvalue() if isinstance(weights, io.BytesIO) else mapped
        for begin in [found.start() for found in _HEAP.finditer(data)]:
            at, end = begin + _HEADER, begin + int.from_bytes(data[begin + 8 : begin + 16], "little")
            while at + _HEADER <= end <= len(data) and data[at : at + 2] != bytes(2):
                at += _HEADER + -(-int.from_bytes(data[at + 8 : at + 16], "little") // 8) * 8
            # The last is what is free, which counts from its own beginning, and ends where the heap does.
            free = int.from_bytes(data[at + 8 : at + 16], "little") if at + _HEADER <= end else end - at
            if end > len(data) or free < 0 or at + free != end:
                raise ValueError(f"the heap of names at {begin} runs beyond its end")


def _datasets(file: Any, path: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Any]]:
    """Yields each array with the parts of its name, and those of the groups that it is in."""
    seen: set[Any] = set()
    left: list[tuple[Any, tuple[str, ...], tuple[str, ...]]] = [(file, (), ())]
    while left:
        group, parts, raw = left.pop()
        # A group may be in itself, which would never end.
        if group in seen:
            raise UnsupportedCheckpointError(f"`{group.name}` in `{path}` is there under two names, or in itself.")
        seen.add(group)
        groups = []
        for name, item in _items(group, path):
            if isinstance(item, h5py.Dataset):
                yield (*parts, name), (*raw, name), item
            elif name not in LEFT_OUT:
                groups.append((item, (*parts, *_shown(group, name, item)), (*raw, name)))
        left += groups[::-1]


def _items(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UnsupportedCheckpointError(
                f"`{name}` in `{path}:{group.name}` is a link to somewhere else, which is not followed.\nKeras writes "
                "no links: something else has made this file."
            )
        yield name, group[name]


def _shown(group: Any, name: str, item: Any) -> tuple[str, ...]:
    """Returns the parts of a name that stand for a group."""
    if name == VARS or (name == LAYERS and VARS not in item):
        return ()
    # What has no variables of its own is a list, in which positions stand where others have names.
    if VARS not in group and (found := _name_of(item)):
        return (found,)
    return (name.lstrip("_"),)


def _name_of(layer: Any) -> str | None:
    """Returns the name that a layer has as an attribute."""
    if not isinstance(layer, h5py.Group) or not isinstance(layer.get(VARS, getlink=True), h5py.HardLink):
        return None
    attributes = layer[VARS].attrs
    # A text is a scalar; whatever else there may be is not even read.
    if "name" not in attributes or attributes.get_id("name").shape != ():
        return None
    name = attributes["name"]
    return name if isinstance(name, str) and name.isprintable() else None


def _dtype(dataset: Any) -> np.dtype:
    """Returns the dtype of an array; of text and records, that of objects."""
    # HDF5 has no bfloat16: Keras writes the bytes, and the name beside.
    is_bytes = dataset.dtype.kind == "V" and dataset.dtype.names is None and dataset.dtype.itemsize == 2
    if is_bytes and str(dataset.attrs.get("dtype")) == "bfloat16":
        return np.dtype(jnp.bfloat16)
    return dataset.dtype.newbyteorder("=") if dataset.dtype.kind in "biufc" else np.dtype(object)
