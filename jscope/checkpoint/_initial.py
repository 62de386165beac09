"""Initial values go straight into a file: one variable at a time is in memory.

Under other names and in other layouts, it is those of which the array is made that is being written: query, key and
value, say, which are of all layers where these are stacked, and are kept until each layer is written. Only what becomes
a stack is drawn one after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jscope import tree
from jscope._check import check_key
from jscope._materialize import materialize
from jscope._spec import DataDependent, VariableSpec
from jscope._specs import Specs
from jscope._types import Key, StrPath
from jscope.checkpoint import safetensors
from jscope.checkpoint._blocks import Blocks
from jscope.checkpoint._conversions._axes import Range, flat
from jscope.checkpoint._conversions._beside import MadeConstant
from jscope.checkpoint._conversions._conversion import Conversion, as_blocks, chained, fitting
from jscope.checkpoint._conversions._made import Made
from jscope.checkpoint._conversions._plan import Plan
from jscope.checkpoint._conversions._source import Type, index_of, type_of
from jscope.checkpoint._files import replacing
from jscope.checkpoint._safetensors._shards import write_shards
from jscope.checkpoint._safetensors._writer import write_file
from jscope.errors import InvalidArgumentError

SUFFIX = ".safetensors"
"""What the name of one file ends in."""

SHARD_BYTES = 5 * 10**9
"""The size of Hugging Face's files."""


def written(
    specs: Specs,
    key: Key,
    sharding: Any,
    to: StrPath | None,
    shard_bytes: int | None,
    conversion: Conversion | None = None,
) -> dict[str, Any]:
    """Writes the initial values of all specs, and returns them as they lie in the files."""
    path = _checked_path(to, shard_bytes, sharding, conversion)
    check_key(key)
    if isinstance(jax.random.key_data(key), Tracer):
        raise InvalidArgumentError(f"Nothing was written to `{path}`: `key` is being traced. Call it outside of `jit`.")
    if conversion is None:
        arrays = {name: _block(spec, key) for name, spec in specs.flat().items()}
    else:
        arrays = _converted(specs, key, conversion)
    tree.unflatten(arrays)  # Refuses what the dict to be returned cannot hold.
    for spec in specs.flat().values():
        if isinstance(spec.initializer, str | DataDependent):
            _value(spec, key)  # Which says why there is no such value, before hours go into the others.
    if path.name.endswith(SUFFIX):
        with replacing(path) as scratch:
            write_file(scratch, arrays, {})
    else:
        write_shards(path, arrays, {}, {}, SHARD_BYTES if shard_bytes is None else shard_bytes)
    # Whoever has just written them need not read them all again to compare digests.
    return safetensors.load(path, verify=False)


def _checked_path(to: StrPath | None, shard_bytes: int | None, sharding: Any, conversion: Conversion | None) -> Path:
    if to is None and conversion is not None:
        raise InvalidArgumentError(
            "`conversion=` is about files: say where, `to=`. In memory, use `jscope.tree.convert(values, conversion)`."
        )
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


class _Drawn:
    """Initial values as a source, each drawn when it is read, and kept as long as it is of use."""

    def __init__(self, specs: Specs, key: Key) -> None:
        self.types: Mapping[str, Type] = {name: type_of(spec) for name, spec in specs.flat().items()}
        self._specs, self._key = specs.flat(), key
        self._values: dict[str, np.ndarray] = {}
        self._read: set[str] = set()

    def read(self, name: str, ranges: Sequence[Range]) -> np.ndarray:
        """Returns a region."""
        self._read.add(name)
        if name not in self._values:
            self._values[name] = _value(self._specs[name], self._key)
        return self._values[name][index_of(ranges)]

    def making(
        self, needed: Set[str], read: Callable[[Sequence[Range]], np.ndarray], ranges: Sequence[Range]
    ) -> np.ndarray:
        """Returns a region of what is made of these; of all others, keeps only what was read since the last call."""
        kept = needed | self._read
        self._values = {name: each for name, each in self._values.items() if name in kept}
        self._read = set()
        return read(ranges)


def _converted(specs: Specs, key: Key, conversion: Conversion) -> dict[str, Blocks]:
    """Returns what a conversion makes of initial values: next to each other what is made of the same ones."""
    drawn = _Drawn(specs, key)
    plans = fitting(conversion, drawn.types)
    source = chained(drawn, plans)
    groups: dict[frozenset[str], list[str]] = {}
    for name in source.types:
        groups.setdefault(_made_of(name, plans), []).append(name)

    blocks = {}
    for needed, group in groups.items():
        for name in group:
            each = as_blocks(source, name)
            kept = frozenset() if len(group) == 1 and _is_in_order(plans[-1].made[name]) else needed
            blocks[name] = replace(each, read=functools.partial(drawn.making, kept, each.read))
    return blocks


def _is_in_order(made: Made | MadeConstant) -> bool:
    """Whether an array is written one after the other of those of which it is made, as a stack of layers is."""
    if isinstance(made, MadeConstant) or made.bound.sides is None:
        return False
    axes = flat(made.bound.sides[1])
    return {*axes[: len(made.bound.stacked)]} == {*made.bound.stacked}


def _made_of(name: str, plans: Sequence[Plan]) -> frozenset[str]:
    """Returns the variables of which an array is made."""
    names = {name}
    for plan in reversed(plans):
        made = [plan.made[each] for each in names]
        names = {
            piece.name for each in made if isinstance(each, Made) for one in (each, *each.ties) for piece in one.pieces
        }
    return frozenset(names)
