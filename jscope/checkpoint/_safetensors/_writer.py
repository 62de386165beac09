"""Writing safetensors files: the arrays one after the other, and the header again when their digests are known.

Arrays of whole cache lines come first, so that each of them begins at a multiple of 64 bytes, where JAX can use it in
place; then the others, those of wide dtypes first, so that each is aligned for its dtype. The format allows no holes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np

from jscope._util._gc import gc_paused
from jscope.checkpoint._blocks import Blocks
from jscope.checkpoint._errors import UnsupportedCheckpointError
from jscope.checkpoint._files import BUFFER, reserve
from jscope.checkpoint._safetensors import _dtypes
from jscope.checkpoint._safetensors._checksum import UNKNOWN, checksum, going_on
from jscope.checkpoint._safetensors._header import ALIGNMENT, METADATA, OWN, Entry, Kind, encode_header
from jscope.errors import InvalidArgumentError

CHUNK = 1 << 26
"""Bytes to collect before the operating system is told to write them."""


@gc_paused()
def write_file(path: Path, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes a new file, and waits until it is on the disk."""
    _check_metadata(metadata)
    kinds = {name: _kind_of(name, array) for name, array in arrays.items()}
    for array in arrays.values():
        if isinstance(array, jax.Array):
            array.copy_to_host_async()  # All at once; the next line waits for one at a time.
    data = {name: array if isinstance(array, Blocks) else _native_bytes(array) for name, array in arrays.items()}
    # The digests of large arrays are computed while they are written: see below.
    digests = {
        name: UNKNOWN if isinstance(each, Blocks) or each.nbytes >= BUFFER else checksum(each)
        for name, each in data.items()
    }
    order = sorted(kinds, key=lambda name: (data[name].nbytes % ALIGNMENT != 0, -kinds[name].dtype.itemsize))
    placed: dict[str, Entry] = {}
    end = 0
    for name in order:
        begin, end = end, end + data[name].nbytes
        placed[name] = kinds[name], begin, end
    entries = {name: placed[name] for name in arrays}
    header = encode_header(entries, digests, metadata)
    with path.open("wb", BUFFER) as file:
        reserve(file.fileno(), len(header) + end)
        file.write(header)
        large = _write_arrays(file, {name: data[name] for name in order})
        if large:  # Once more: its length must be known before the arrays, these digests are known only after.
            file.seek(0)
            file.write(encode_header(entries, digests | large, metadata))
        file.flush()
        os.fsync(file.fileno())


def _write_arrays(file: BinaryIO, data: Mapping[str, np.ndarray | Blocks]) -> dict[str, str]:
    """Writes arrays; meanwhile, threads have them go to the disk, and compute the digests of large ones, to return."""
    digests: dict[str, Future[str]] = {}
    known: dict[str, str] = {}
    syncs, unsynced = [], 0
    with ThreadPoolExecutor(2) as pool:
        for name, each in data.items():
            if isinstance(each, Blocks):
                known[name] = _write_blocks(file, each)
            elif each.nbytes >= BUFFER:
                digests[name] = pool.submit(checksum, each)
                file.write(each.data)
            else:
                file.write(each.data)
            unsynced += each.nbytes
            # The disk works while arrays are copied; the last `fsync` then finds little left to do.
            if unsynced >= CHUNK:
                file.flush()
                syncs.append(pool.submit(_sync, file.fileno()))
                unsynced = 0
        for sync in syncs:
            sync.result()
        return known | {name: each.result() for name, each in digests.items()}


def _write_blocks(file: BinaryIO, blocks: Blocks) -> str:
    """Writes an array that is made while it is written; returns its digest."""
    digest = UNKNOWN
    for block in blocks:
        file.write(block.data)
        digest = going_on(block, digest)
    return digest


def _sync(descriptor: int) -> None:
    getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has only `fsync`.


def _kind_of(name: str, array: Any) -> Kind:
    dtype = array.dtype
    code = _dtypes.code_of(dtype)
    if code is None or name == METADATA:
        what = (
            f"{dtype}{list(array.shape)}, a dtype that the format cannot hold"
            if code is None
            else "named as the metadata"
        )
        raise UnsupportedCheckpointError(f"`{name}` cannot be stored as safetensors: it is {what}.")
    return Kind(dtype, array.shape, code, array.nbytes)


def _native_bytes(array: Any) -> np.ndarray:
    """Returns the bytes of an array in the order of its indices, whatever its strides and its order of bytes."""
    host = np.asarray(array, order="C")
    if not host.dtype.isnative:
        host = host.astype(host.dtype.newbyteorder("="))
    return host.reshape(-1).view(np.uint8)


def _check_metadata(metadata: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidArgumentError(f"Metadata are strings by name, not {key!r}: {value!r}. Use `json.dumps`.")
        if key in OWN:
            raise InvalidArgumentError(f"The metadata `{key}` is written by jscope. Give yours another name.")
