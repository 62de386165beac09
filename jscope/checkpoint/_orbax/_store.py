"""Orbax: for arrays that are sharded over processes, and for saving while training goes on.

All that jscope knows of Orbax is here; its interface still moves. What Orbax does not keep is put beside, in the
metadata that it stores: arrays of no elements, dtypes that it lacks, and a digest of each array, since it has none.
Names are escaped, since Orbax takes `a.b` and `a/b` for one. Arrays are not compressed: floats hardly get smaller, and
saving takes three times as long.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path, tree
from jscope._types import Shape
from jscope._util import _text
from jscope.checkpoint._errors import (
    CheckpointError,
    CheckpointWriteError,
    CorruptCheckpointError,
    MissingCheckpointError,
    UnsupportedCheckpointError,
)
from jscope.checkpoint._files import refusals, sync_all
from jscope.checkpoint._orbax._layout import DIGEST, Item, digest_of, items_at, read_metadata
from jscope.checkpoint._orbax._sum import KIND, element_sum
from jscope.checkpoint._processes import together
from jscope.checkpoint._put import HOST, Target, put
from jscope.checkpoint._safetensors._dtypes import code_of
from jscope.errors import MissingVariableError

try:
    import orbax.checkpoint.experimental.v1 as ocp
except ImportError as error:
    raise ImportError('`store="orbax"` needs `pip install jscope[orbax]`.') from error

TABLE = "jscope.arrays"
"""The entry of the metadata with the shape, dtype and digest of each array."""

_VIEWS = ("uint4", "uint2", "int2", "float8_e4m3")
"""The dtypes that are stored as `uint8`, since Orbax lacks them."""

_PASSING = re.compile("PERMISSION_DENIED|RESOURCE_EXHAUSTED|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED")
"""The errors of TensorStore that do not come from the bytes it reads."""

_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)

_EMPTY = {"empty": np.zeros((), np.int8)}
"""What is stored in place of nothing, which Orbax refuses to store."""


class Pending(Protocol):
    """A save that goes on."""

    def result(self) -> None:
        """Waits for the end, and raises what went wrong."""
        ...


def save(path: Path, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> Pending:
    """Begins to write a new directory. Called by all processes; returns when arrays may be donated or overwritten."""
    for name, array in arrays.items():
        if code_of(np.dtype(array.dtype)) is None:
            raise UnsupportedCheckpointError(
                f"`{name}` is {array.dtype}{list(array.shape)}, a dtype that JAX does not have. Convert it first."
            )
    stored = {name: _storable(array) for name, array in arrays.items()}
    table = {name: [str(array.dtype), list(array.shape), element_sum(stored[name])] for name, array in arrays.items()}
    entries = {**metadata, TABLE: json.dumps(table)}
    kept = {_escaped(name): array for name, array in stored.items() if array.size}
    context = ocp.Context()
    context.array.saving.use_compression = False
    with _writing(path), context:
        saving = ocp.save_async(
            str(path.absolute()),
            tree.unflatten(kept) or _EMPTY,
            custom_metadata={**entries, DIGEST: digest_of(entries)},
        )
    return _Saving(path, saving)


def open(path: str | os.PathLike[str]) -> OrbaxReader:
    """Returns a reader of a directory that Orbax wrote, for jscope or for others."""
    return OrbaxReader(Path(path))


class OrbaxReader:
    """A directory that Orbax wrote, as a `Reader`."""

    def __init__(self, path: Path) -> None:
        path = path.absolute()
        self.path = str(path)
        with _reading(self.path):
            self._entries = read_metadata(path)
            self._items = items_at(path)
            if TABLE in self._entries:
                self._table = _rows(self._entries[TABLE])
                names = {_escaped(name): name for name, row in self._table.items() if row.size}
                self._trees: list[Any] = [tree.unflatten(names)]
            else:
                found = [_contents(item) for item in self._items]
                self._table = {name: row for rows in found for name, row in _flat(rows)}
                self._trees = [jax.tree.map(lambda leaf: leaf[0], rows, is_leaf=_is_entry) for rows in found]

    @property
    def metadata(self) -> Mapping[str, str]:
        """What `save` was given as metadata."""
        return {key: value for key, value in self._entries.items() if key not in (TABLE, DIGEST)}

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Returns the shape of each array, by name."""
        return {name: list(row.shape) for name, row in self._table.items()}

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype]:
        """Returns the dtype of each array, by name."""
        return {name: row.dtype for name, row in self._table.items()}

    def has_tensor(self, name: str) -> bool:
        """Whether there is an array of this name."""
        return name in self._table

    def get_tensor(self, name: str) -> np.ndarray:
        """Returns one array."""
        if name not in self._table:
            hint = _text.did_you_mean(name, self._table)
            raise MissingVariableError(f"There is no array `{name}` in `{self.path}`.{hint}")
        return self.load({name: HOST})[name]

    def load(self, targets: Mapping[str, Target]) -> dict[str, Any]:
        """Returns arrays in their targets; each process reads the parts that it holds."""
        text = next((name for name in targets if self._table[name].dtype.hasobject), None)
        if text is not None:
            raise UnsupportedCheckpointError(f"`{text}` in `{self.path}` is text, which no array holds. Leave it out.")
        # For one device, Orbax is faster on the host.
        apart = {name: target if _is_spread(target) else HOST for name, target in targets.items()}

        def wanted(name: str) -> Any:
            return self._table[name].abstract(apart[name]) if name in apart else ocp.PLACEHOLDER

        loaded: dict[str, Any] = {}
        with together(f"`{self.path}` is not read", shared=any(map(_is_shared, targets.values()))):
            if any(self._table[name].size for name in targets):
                for item, names in zip(self._items, self._trees, strict=True):
                    with _reading(self.path):
                        found = _load(item, jax.tree.map(wanted, names))
                    loaded |= zip(jax.tree.leaves(names), jax.tree.leaves(found), strict=True)
            # Within `together`: a digest is wrong in all processes or in none, an error of Orbax perhaps only in one.
            self._verify({name: array for name, array in loaded.items() if name in targets})
        arrays = {name: self._in_its_dtype(name, loaded.get(name)) for name in targets}
        rest = {name: target for name, target in targets.items() if target is not apart[name]}
        return arrays | put({name: arrays[name] for name in rest}, rest)

    def close(self) -> None:
        """Does nothing: no file is kept open."""

    def _in_its_dtype(self, name: str, array: Any) -> Any:
        row = self._table[name]
        return _viewed(row.dtype, array) if row.size else np.zeros(row.shape, row.dtype)

    def _verify(self, loaded: Mapping[str, Any]) -> None:
        """Compares the digests: of all arrays, before any difference is an error, since processes sum together."""
        expected = {name: row.digest for name, row in self._table.items() if row.digest is not None}
        unknown = next((each for each in expected.values() if not each.startswith(KIND)), None)
        if unknown is not None:
            raise UnsupportedCheckpointError(
                f"The arrays in `{self.path}` have digests such as {unknown!r}, which this version of jscope does not "
                "know. Restore them with the version that saved them."
            )
        found = {name: element_sum(array) for name, array in loaded.items() if name in expected}
        for name, each in found.items():
            if each != expected[name]:
                raise CorruptCheckpointError(
                    f"`{name}` in `{self.path}` is corrupt: its elements have the digest {each}, not {expected[name]} "
                    "of the saved.\nRestore another step, or the directory from a copy."
                )


@dataclass(frozen=True, slots=True)
class _Row:
    """What the table tells of one array."""

    dtype: np.dtype
    shape: Shape
    digest: str | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def abstract(self, target: Target) -> Any:
        """Returns what tells Orbax where to put the array."""
        dtype = np.dtype(np.uint8 if self.dtype.name in _VIEWS else self.dtype)
        if target is HOST:
            return np.broadcast_to(np.zeros((), dtype), self.shape)
        return jax.ShapeDtypeStruct(self.shape, dtype, sharding=target)


def _contents(item: Item) -> Any:
    """Returns the tree of an item that others wrote, with `(name, row)` for each leaf."""
    found = _open_item(ocp.metadata, item).metadata
    if found is None:
        raise CorruptCheckpointError(f"Orbax finds no array in `{item.root}`: files of it are gone. Copy it again.")

    def entry(where: Any, leaf: Any) -> tuple[str, _Row]:
        name = _path.join(item.prefix, jax.tree_util.keystr(where, simple=True, separator=_path.SEPARATOR))
        if isinstance(leaf, str | bytes):  # Orbax keeps text as a leaf, too.
            return name, _Row(np.dtype(object), ())
        array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        return name, _Row(np.dtype(array.dtype), tuple(array.shape))

    return jax.tree_util.tree_map_with_path(entry, found, is_leaf=lambda leaf: hasattr(leaf, "shape"))


def _flat(rows: Any) -> list[tuple[str, _Row]]:
    return jax.tree.leaves(rows, is_leaf=_is_entry)


def _is_entry(leaf: Any) -> bool:
    return isinstance(leaf, tuple) and len(leaf) == 2 and isinstance(leaf[1], _Row)


def _load(item: Item, wanted: Any) -> Any:
    return _open_item(ocp.load, item, wanted)


def _open_item(function: Any, item: Item, *arguments: Any) -> Any:
    named = {} if item.name is None else {"checkpointable_name": item.name}
    return function(str(item.root), *arguments, **named)


class _Saving:
    """A save that goes on, with jscope's errors."""

    def __init__(self, path: Path, response: Any) -> None:
        self._path, self._response = path, response

    def result(self) -> None:
        with _writing(self._path):
            self._response.result()
            # Orbax gives the step its name without this: before it, no older step may be deleted.
            if jax.process_index() == 0:
                sync_all(self._path)


def _storable(array: Any) -> Any:
    """Returns an array as one that Orbax can store: on the host, unless it is sharded over processes."""
    if isinstance(array, jax.Array) and (not array.is_fully_addressable or jax.process_count() == 1):
        return _viewed(np.dtype(np.uint8), array) if array.dtype.name in _VIEWS else array
    host = np.array(array, order="C")  # A copy: the caller may overwrite its own while Orbax writes.
    return host.view(np.uint8) if host.dtype.name in _VIEWS else host


def _viewed(dtype: np.dtype, array: Any) -> Any:
    """Returns the same bytes as another dtype of one byte; the array itself, if it has that dtype."""
    if array.dtype == dtype:
        return array
    if isinstance(array, np.ndarray):
        return array.view(dtype)
    # An integer of less than a byte keeps its shape only as a value: a bitcast would pack several into one.
    wide = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.floating)
    return jax.lax.bitcast_convert_type(array, dtype) if wide else array.astype(dtype)


def _rows(text: str) -> dict[str, _Row]:
    return {
        name: _Row(np.dtype(dtype), tuple(shape), digest) for name, (dtype, shape, digest) in json.loads(text).items()
    }


def _name_at(where: Any) -> str:
    return jax.tree_util.keystr(where, simple=True, separator=_path.SEPARATOR)


def _is_spread(target: Target) -> bool:
    """Whether an array on this target is in parts, or on several devices."""
    return isinstance(target, jax.sharding.Sharding) and (len(target.device_set) > 1 or _is_shared(target))


def _is_shared(target: Target) -> bool:
    """Whether an array on this target is in several processes."""
    return isinstance(target, jax.sharding.Sharding) and not target.is_fully_addressable


def _escaped(name: str) -> str:
    """Returns a name of letters, digits and `_-%` in each part.

    >>> _escaped("a.b/w")
    'a%2Eb/w'
    """
    return quote(name, safe=_path.SEPARATOR, errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turns whatever Orbax raises while it reads into an error that says what is wrong."""
    try:
        yield
    except (CheckpointError, MemoryError, jax.errors.JaxRuntimeError):
        raise
    except Exception as error:
        if not os.path.lexists(path):
            raise MissingCheckpointError(f"`{path}` was deleted while it was read.") from error
        message = f"Orbax cannot read `{path}`: {_brief(error)}"
        if isinstance(error, OSError) or _PASSING.match(str(error)):
            raise CheckpointError(f"{message}\nThis says nothing against the checkpoint: try again.") from error
        if type(error).__name__ == "InvalidLayoutError":
            raise UnsupportedCheckpointError(
                f"{message}\nGive the directory that Orbax wrote, all its files."
            ) from error
        raise CorruptCheckpointError(f"{message}\nRestore another step, or the directory from a copy.") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns whatever Orbax raises while it writes into an error that says what to do."""
    with refusals(path):
        try:
            yield
        except (CheckpointError, MemoryError, OSError):
            raise
        except Exception as error:
            # TensorStore tells by words what the operating system told it by a number.
            number = next((each for each in _REFUSALS if os.strerror(each) in str(error)), None)
            if number is None:
                raise CheckpointWriteError(f"Orbax could not save `{path}`: {_brief(error)}") from error
            raise OSError(number, os.strerror(number)) from error


def _brief(error: Exception) -> str:
    """Returns the kind of an error and the first line of its message, without the pages that TensorStore appends.

    >>> _brief(ValueError("NOT_FOUND: no file [tensorstore_spec='{...}'] [source locations='...']"))
    'ValueError: NOT_FOUND: no file'
    """
    lines = str(error).partition(" [")[0].splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"
