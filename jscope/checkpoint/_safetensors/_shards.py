"""Several safetensors files with an index, as models of Hugging Face have them: written whole or not at all.

They are a new directory, which gets its name when all of it is on the disk. Nothing there is replaced: no rename does
that for a directory at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jscope.checkpoint import _leaves
from jscope.checkpoint._files import check_free, creating, write_text
from jscope.checkpoint._safetensors._index import SUFFIX
from jscope.checkpoint._safetensors._writer import write_file
from jscope.errors import InvalidArgumentError

STEM = "model"


def write_shards(
    folder: Path, arrays: Mapping[str, Any], kinds: Mapping[str, str], metadata: Mapping[str, str], shard_bytes: int
) -> None:
    """Writes a new directory of files of at most `shard_bytes` bytes of arrays; a larger array has a file to itself."""
    if isinstance(shard_bytes, bool) or not isinstance(shard_bytes, int) or shard_bytes < 1:
        raise InvalidArgumentError(f"shard_bytes={shard_bytes!r} is not a positive int: the most bytes of one file.")
    check_free(folder)  # Now, and not after all has been written.
    shards = _shards({name: array.nbytes for name, array in arrays.items()}, shard_bytes)
    # Hugging Face's names, which people look for; what loads goes by the index.
    files = {f"{STEM}-{i:05d}-of-{len(shards):05d}.safetensors": names for i, names in enumerate(shards, 1)}
    index = {
        "metadata": {"total_size": sum(array.nbytes for array in arrays.values())},
        "weight_map": {name: file for file, names in files.items() for name in names},
    }
    with creating(folder) as scratch:
        for file, names in files.items():
            of_these = {name: kinds[name] for name in names if name in kinds}
            write_file(scratch / file, {name: arrays[name] for name in names}, _leaves.with_kinds(metadata, of_these))
        write_text(scratch / f"{STEM}{SUFFIX}", json.dumps(index, indent=2))


def _shards(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Returns which names are in one file, in their order.

    >>> _shards({"a": 2, "b": 2, "c": 9, "d": 1}, 4)
    [['a', 'b'], ['c'], ['d']]
    """
    shards: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not shards or size > room:
            shards.append([])
            room = limit
        shards[-1].append(name)
        room -= size
    return shards
