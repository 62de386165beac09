"""Writing: arrays one after the other, then the table of contents, each under another name until all is complete.

Only one array is in memory at a time, if the items come from a generator. Every array begins at a multiple of 64 bytes,
where JAX can use it in place.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope.checkpoint._blocks import Blocks
from jscope.checkpoint._bundle import _dtypes, _state, _strings
from jscope.checkpoint._bundle._crc32c import crc32c, mask
from jscope.checkpoint._bundle._entries import Entry, Index, parse
from jscope.checkpoint._bundle._proto import MalformedError
from jscope.checkpoint._errors import UnsupportedCheckpointError
from jscope.checkpoint._files import replacing
from jscope.checkpoint._leaves import check_alive

_ALIGNMENT = 64


def write_bundle(prefix: str, items: Iterable[tuple[str, Any]]) -> None:
    """Writes a checkpoint of named values.

    Raises:
      UnsupportedCheckpointError: A value is of a kind that the format does not have.
      CheckpointWriteError: The disk is full, or the directory read-only.
    """
    index = Path(prefix + _state.INDEX)
    shards = _other_count(index)
    files = [Path(_state.data_file(prefix, shard, shards)) for shard in range(shards)]
    entries: dict[str, Entry] = {}
    try:
        # The data first, and known to be on the disk under their name: the index is what readers look for.
        with replacing(files[0], mode_of=index) as scratch:
            _write_to_disk(scratch, lambda file: entries.update(_write_arrays(file, items)))
        for empty in files[1:]:
            with replacing(empty, mode_of=index) as scratch:
                _write_to_disk(scratch, lambda file: None)
        with replacing(index) as scratch:
            _write_to_disk(scratch, lambda file: file.write(Index(entries, {}, shards).encode()))
    except BaseException:  # Also Ctrl-C: what no index names would stay for ever.
        for file in files:
            file.unlink(missing_ok=True)
        raise
    _delete_other_data(prefix, shards)


def _other_count(index: Path) -> int:
    """Returns how many data files to write: one, or two where the checkpoint that is replaced has one.

    The number is part of their names, so the old data stay what the old index says, until a rename replaces that.
    """
    try:
        return 2 if parse(index.read_bytes()).shards == 1 else 1
    except (OSError, MalformedError):  # There is none, or none that anybody could read.
        return 1


def _delete_other_data(prefix: str, shards: int) -> None:
    """Deletes the data files that no index names any more."""
    path = Path(prefix)
    data = re.compile(re.escape(path.name) + r"\.data-\d{5}-of-(\d{5})")
    for entry in path.parent.iterdir():
        match = data.fullmatch(entry.name)
        if match and int(match[1]) != shards:
            with contextlib.suppress(OSError):
                entry.unlink()


def point_to(prefix: str) -> None:
    """Makes the state file of the directory name this checkpoint as the latest."""
    path = Path(prefix)
    state_file = path.parent / _state.STATE
    known = _state.latest(state_file) if state_file.is_file() else []
    # From the oldest to the newest, which TensorFlow's `Saver` goes by when it deletes some.
    older = [name for name in (*known[1:], *known[:1]) if os.path.abspath(path.parent / name) != os.path.abspath(path)]
    text = _state.state_text([path.name, *older])
    with replacing(state_file) as scratch:
        _write_to_disk(scratch, lambda file: file.write(text.encode()))


def _write_to_disk(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Makes a file, and makes sure that it is on the disk."""
    with path.open("wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())


def _write_arrays(file: IO[bytes], items: Iterable[tuple[str, Any]]) -> dict[str, Entry]:
    """Writes values one after the other, and returns the entry of each."""
    entries: dict[str, Entry] = {}
    end = 0
    for name, value in items:
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        file.write(bytes(offset - end))
        if isinstance(value, Blocks):
            end = offset + value.nbytes
            entries[name] = Entry(
                _number_of(name, value.dtype), value.shape, 0, offset, value.nbytes, _write_blocks(file, value)
            )
            continue
        shape, number, raw, crc = _encoded_value(name, value)
        file.write(raw)
        end = offset + len(raw)
        entries[name] = Entry(number, shape, 0, offset, len(raw), crc)
    return entries


def _write_blocks(file: IO[bytes], blocks: Blocks) -> int:
    """Writes an array that is made while it is written; returns its masked checksum."""
    crc = 0
    for block in blocks:
        data = block if sys.byteorder == "little" else block.view(blocks.dtype).byteswap().view(np.uint8)
        file.write(data.data)
        crc = crc32c(data, crc)
    return mask(crc)


def _number_of(name: str, dtype: np.dtype) -> int:
    """Returns TensorFlow's number of a dtype, or raises an error that names the array."""
    number = _dtypes.number_of(dtype.newbyteorder("="))
    if number is None:
        raise UnsupportedCheckpointError(
            f"`{name}` is of dtype {dtype.name}, which TensorFlow does not have.\nCast it to one that it has, or save "
            "it as `safetensors`."
        )
    return number


def _encoded_value(name: str, value: Any) -> tuple[tuple[int, ...], int, Any, int]:
    """Returns shape, dtype, bytes and masked checksum of a value."""
    array = _as_array(name, value)
    if array.dtype.kind in "OSU":
        raw, crc = _strings.encode_strings(array)
        return array.shape, _dtypes.STRING, raw, crc
    number = _number_of(name, array.dtype)
    # The files are little-endian on every machine.
    raw = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    return array.shape, number, raw.data, mask(crc32c(raw))


def _as_array(name: str, value: Any) -> np.ndarray:
    """Returns a value as an array of numpy, or raises an error that names it."""
    if isinstance(value, jax.Array):
        _check_savable(name, value)
    array = np.asarray(value)
    if array.dtype == object and not all(isinstance(each, bytes | str) for each in array.ravel().tolist()):
        raise UnsupportedCheckpointError(
            f"`{name}` is a `{type(value).__name__}`, not an array of numbers or strings. Leave it out, or make it one."
        )
    return array


def _check_savable(name: str, value: jax.Array) -> None:
    """Raises for an array of JAX whose values cannot be had here."""
    check_alive(name, value)
    if isinstance(value, Tracer):
        raise UnsupportedCheckpointError(f"`{name}` is being traced. Save outside of `jax.jit`.")
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise UnsupportedCheckpointError(
            f"`{name}` is a random key, which TensorFlow does not have. Save `jax.random.key_data(key)`."
        )
    if not value.is_fully_addressable:
        raise UnsupportedCheckpointError(
            f"`{name}` is spread over several processes, and this format is written by one. Gather it first "
            "(`jax.experimental.multihost_utils.process_allgather`), or use a `Checkpointer` with store='orbax'."
        )
