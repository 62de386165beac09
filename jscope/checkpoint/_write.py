"""Writing safetensors files: digests of all arrays first, then the header that tells them, then the arrays.

Arrays of whole cache lines come first, so that each of them begins at a multiple of 64 bytes, where JAX can use it in
place; then the others, those of wide dtypes first, so that each is aligned for its dtype. The format allows no holes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jscope._errors import InvalidArgumentError
from jscope.checkpoint import _dtypes
from jscope.checkpoint._digest import digest, in_threads
from jscope.checkpoint._errors import UnsupportedCheckpointError
from jscope.checkpoint._header import ALIGNMENT, METADATA, OWN, Entry, encode

BUFFER = 1 << 20


def write(path: Path, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes a new file, and waits until it is on the disk."""
    _check_metadata(metadata)
    codes = {name: _code(name, array) for name, array in arrays.items()}
    for array in arrays.values():
        if isinstance(array, jax.Array):
            array.copy_to_host_async()  # All at once; the loop below waits for one at a time.
    data = {name: _bytes(array) for name, array in arrays.items()}
    order = sorted(arrays, key=lambda name: (data[name].nbytes % ALIGNMENT != 0, -_dtypes.itemsize(codes[name])))
    ends = dict(zip(order, np.cumsum([data[name].nbytes for name in order], dtype=int).tolist(), strict=True))
    digests = in_threads(digest, list(data.values()), [each.nbytes for each in data.values()])
    entries = {
        name: Entry(
            np.dtype(array.dtype), tuple(array.shape), codes[name], ends[name] - data[name].nbytes, ends[name], each
        )
        for (name, array), each in zip(arrays.items(), digests, strict=True)
    }
    header = encode(entries, metadata)
    with path.open("wb", BUFFER) as file:
        _reserve(file.fileno(), len(header) + sum(each.nbytes for each in data.values()))
        file.write(header)
        for name in order:
            file.write(data[name].data)
        file.flush()
        os.fsync(file.fileno())


def _reserve(descriptor: int, size: int) -> None:
    """Has the room on the disk set apart: writing is twice as fast then, and a full disk is known before."""
    if hasattr(os, "posix_fallocate") and size:
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP, errno.ENOSYS):
                raise


def _code(name: str, array: Any) -> str:
    code = _dtypes.code_of(np.dtype(array.dtype))
    if code is None or name == METADATA:
        what = (
            f"{array.dtype}{list(array.shape)}, a dtype that the format cannot hold"
            if code is None
            else "named as the metadata"
        )
        raise UnsupportedCheckpointError(f"`{name}` cannot be stored as safetensors: it is {what}.")
    return code


def _bytes(array: Any) -> np.ndarray:
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
