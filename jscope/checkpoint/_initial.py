"""Initial values go straight into a file: one variable at a time is in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jscope._check import check_key
from jscope._materialize import materialize
from jscope._spec import DataDependent, VariableSpec
from jscope._specs import Specs
from jscope._types import Key, StrPath
from jscope.checkpoint import safetensors
from jscope.checkpoint._blocks import Blocks
from jscope.checkpoint._files import replacing
from jscope.checkpoint._safetensors._shards import write_shards
from jscope.checkpoint._safetensors._writer import write_file
from jscope.errors import InvalidArgumentError

SUFFIX = ".safetensors"
"""What the name of one file ends in."""

SHARD_BYTES = 5 * 10**9
"""The size of Hugging Face's files."""


def written(specs: Specs, key: Key, sharding: Any, to: StrPath | None, shard_bytes: int | None) -> dict[str, Any]:
    """Writes the initial values of all specs, and returns them as they lie in the files."""
    path = _checked_path(to, shard_bytes, sharding)
    check_key(key)
    if isinstance(jax.random.key_data(key), Tracer):
        raise InvalidArgumentError(f"Nothing was written to `{path}`: `key` is being traced. Call it outside of `jit`.")
    specs.map(lambda spec: spec)  # Refuses what the dict to be returned cannot hold.
    for spec in specs.flat().values():
        if isinstance(spec.initializer, str | DataDependent):
            _value(spec, key)  # Which says why there is no such value, before hours go into the others.
    arrays = {name: _block(spec, key) for name, spec in specs.flat().items()}
    if path.name.endswith(SUFFIX):
        with replacing(path) as scratch:
            write_file(scratch, arrays, {})
    else:
        write_shards(path, arrays, {}, {}, SHARD_BYTES if shard_bytes is None else shard_bytes)
    # Whoever has just written them need not read them all again to compare digests.
    return safetensors.load(path, verify=False)


def _checked_path(to: StrPath | None, shard_bytes: int | None, sharding: Any) -> Path:
    if to is None:
        raise InvalidArgumentError(f"shard_bytes={shard_bytes!r} is about files: say where, `to=`.")
    path = Path(to)
    if sharding is not None:
        raise InvalidArgumentError(
            f"Values go to devices (`sharding={sharding!r}`) or to files (`to={str(path)!r}`), not to both.\n"
            "Write them, and put them there by `jscope.checkpoint.restore(specs, path, shardings=...)`."
        )
    if shard_bytes is not None and path.name.endswith(SUFFIX):
        raise InvalidArgumentError(
            f"to={str(path)!r} is one file, which `shard_bytes={shard_bytes!r}` cannot divide.\n"
            f"Name a new directory, such as {str(path.with_suffix(''))!r}, or leave `shard_bytes` out."
        )
    return path


def _block(spec: VariableSpec, key: Key) -> Blocks:
    return Blocks(spec.shape, np.dtype(spec.dtype), lambda _: _value(spec, key), at_once=True)


def _value(spec: VariableSpec, key: Key) -> np.ndarray:
    return np.asarray(materialize([(spec, None)], key)[spec.path])
