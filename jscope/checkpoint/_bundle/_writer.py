"""Writing: arrays one after the other, then the table of contents, each under another name until all is complete.

Only one array is in memory at a time, if the items come from a generator. Every array begins at a multiple of 64 bytes,
where JAX can use it in place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope.checkpoint._bundle import _dtypes, _state, _strings
from jscope.checkpoint._bundle._crc32c import crc32c, mask
from jscope.checkpoint._bundle._entries import Entry, Index
from jscope.checkpoint._errors import UnsupportedCheckpointError
from jscope.checkpoint._files import refusals, replacing, sync, temporary

_ALIGNMENT = 64


def write_bundle(prefix: str, items: Iterable[tuple[str, Any]]) -> None:
    """Writes a checkpoint of named values.

    Raises:
      UnsupportedCheckpointError: A value is of a kind that the format does not have.
      CheckpointWriteError: The disk is full, or the directory read-only.
    """
    data, index = Path(_state.data_file(prefix, 0, 1)), Path(prefix + _state.INDEX)
    scratch = {path: temporary(path) for path in (data, index)}
    entries: dict[str, Entry] = {}
    try:
        with refusals(Path(prefix)):
            # Both complete and on the disk before either gets its name.
            _write_to_disk(scratch[data], lambda file: entries.update(_write_arrays(file, items)))
            _write_to_disk(scratch[index], lambda file: file.write(Index(entries, {}).encode()))
            # The index last, since it is what readers look for.
            for path in (data, index):
                os.replace(scratch[path], path)
            sync(data.parent)
    finally:
        for path in scratch.values():
            path.unlink(missing_ok=True)


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
    with path.open("xb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())


def _write_arrays(file: IO[bytes], items: Iterable[tuple[str, Any]]) -> dict[str, Entry]:
    """Writes values one after the other, and returns the entry of each."""
    entries: dict[str, Entry] = {}
    end = 0
    for name, value in items:
        shape, number, raw, crc = _encoded_value(name, value)
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        file.write(bytes(offset - end))
        file.write(raw)
        end = offset + len(raw)
        entries[name] = Entry(number, shape, 0, offset, len(raw), crc)
    return entries


def _encoded_value(name: str, value: Any) -> tuple[tuple[int, ...], int, Any, int]:
    """Returns shape, dtype, bytes and masked checksum of a value."""
    array = _as_array(name, value)
    if array.dtype.kind in "OSU":
        raw, crc = _strings.encode_strings(array)
        return array.shape, _dtypes.STRING, raw, crc
    number = _dtypes.number_of(array.dtype.newbyteorder("="))
    if number is None:
        raise UnsupportedCheckpointError(
            f"`{name}` is of dtype {array.dtype.name}, which TensorFlow does not have.\nCast it to one that it has, or "
            "save it as `safetensors`."
        )
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
