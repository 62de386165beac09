"""safetensors files: one file, arrays by name, open to every program that knows the format.

Files are the format's own; the library of that name reads them, and its files are read here. What is done differently
is done on purpose: arrays are stored by their values (whatever their strides), all dtypes of JAX are kept, each array
has a digest that is verified when it is read, and large ones lie in the file such that JAX, on CPU, uses them in place.
A file is mapped, not read: only arrays that are asked for are fetched from the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jscope import tree as _tree
from jscope._types import Converter, StrPath
from jscope._util._gc import gc_paused
from jscope.checkpoint import _leaves
from jscope.checkpoint._files import replacing
from jscope.checkpoint._names import Rename, Select, chosen, renamed
from jscope.checkpoint._safetensors._index import SUFFIX, IndexReader
from jscope.checkpoint._safetensors._reader import SafetensorsReader
from jscope.checkpoint._safetensors._shards import write_shards
from jscope.checkpoint._safetensors._writer import write_file


@gc_paused()
def save(
    path: StrPath,
    tree: Any,
    *,
    metadata: Mapping[str, str] | None = None,
    conversion: Converter | None = None,
    shard_bytes: int | None = None,
) -> None:
    """Writes the arrays of a pytree to a file, all or nothing: an older file is replaced by a complete one, or kept.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> save(path, {"enc": {"w": np.array([1.5, 2.5])}, "step": 7}, metadata={"license": "CC0"})
    >>> load(path)
    {'enc': {'w': array([1.5, 2.5])}, 'step': 7}

    Args:
      path: The file, which may be there already.
      tree: Nested dicts, or any other pytree, of arrays of JAX or NumPy, random keys and Python numbers.
      metadata: Strings by name, to be stored beside.
      conversion: What makes other names and layouts of the arrays, each while it is written: the inverse of the
        `jscope.checkpoint.Conversion` that restores them.
      shard_bytes: How many bytes of arrays a file may have at most: then `path` is a new directory of such files with
        an index, as Hugging Face's are. An array that is larger has a file to itself.

    Raises:
      CheckpointExistsError: The directory is there already.
      UnsupportedCheckpointError: A leaf is none of these.
      StructureMismatchError: The conversion does not fit the tree; nothing is written.
      CheckpointWriteError: The disk is full, or the directory read-only.
    """
    arrays, kinds = _leaves.to_arrays(_leaves.flatten(tree))
    if conversion is not None:
        arrays, kinds = conversion.blocks(arrays, kinds)
    if shard_bytes is not None:
        write_shards(Path(path), arrays, kinds, metadata or {}, shard_bytes)
        return
    with replacing(Path(path)) as scratch:
        write_file(scratch, arrays, _leaves.with_kinds(metadata or {}, kinds))


def load(path: StrPath, *, select: Select = None, rename: Rename = None, verify: bool = True) -> dict[str, Any]:
    r"""Returns the arrays of a file as a nested dict of NumPy arrays, read-only views of the file.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/a.safetensors"
    >>> save(path, {"enc": {"w": np.ones(2)}, "dec": {"w": np.zeros(2)}})
    >>> load(path, select="^enc/")["enc"]["w"].tolist()
    [1.0, 1.0]

    They keep the file open. `jax.device_put` uses them, on CPU without a copy where their size is a multiple of 64
    bytes.

    Args:
      path: The file; or of several with an index, that index or its directory.
      select: Which arrays, by their names after `rename`: a regular expression found in them, or a predicate. The
        others are not read.
      rename: From names in the file to others: `{regular expression: replacement}`, or a function, as in
        `jscope.tree.rename`. Names of Hugging Face become paths by `{r"\.": "/"}`.
      verify: Whether to compare what is read with its digest.

    Raises:
      CorruptCheckpointError: The file is truncated or altered.
      MissingCheckpointError: There is no such file.
      MissingVariableError: A regular expression of `rename` or `select` does not match any name.
      NameConflictError: A name is a prefix of another: rename it.
    """
    reader = open(path, verify=verify)
    names = chosen(renamed(reader.get_variable_to_shape_map(), rename), select, some=True)
    kinds, arrays = _leaves.kinds_in(reader.metadata), reader.get_arrays(names.values())
    return _tree.unflatten({new: _leaves.from_array(arrays[old], kinds.get(old)) for new, old in names.items()})


def open(path: StrPath, *, verify: bool = True) -> SafetensorsReader | IndexReader:
    """Returns the file as a mapping from names to arrays that stay in it, with shapes and dtypes; no array is read.

    Of an array, `file[name][2:4]` reads these rows only, and compares no digest, which is that of the whole;
    `numpy.asarray(file[name])` reads it all, as `file.get_tensor(name)` does. It is a `jscope.checkpoint.Reader`.
    `path` is as for `load`.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> save(path, {"enc": {"w": np.ones((2, 3), np.float32)}})
    >>> open(path).get_variable_to_shape_map()
    {'enc/w': [2, 3]}
    >>> open(path)["enc/w"][1, :2]
    array([1., 1.], dtype=float32)
    """
    location = Path(path)
    indices = sorted(location.glob(f"*{SUFFIX}")) if location.is_dir() else [location]
    if indices and indices[0].name.endswith(SUFFIX):
        return IndexReader(indices[0], verify=verify)
    return SafetensorsReader(location, verify=verify)
