"""Keys from names.

A variable's initial value depends on the key of the call and on the variable's own path, on nothing else:
no counter, no order. So the path is hashed, part by part, into two 32-bit lanes that are folded into
the key one after the other. (One lane is too few: among 100,000 paths two would collide with 69%.)

The hash is public and versioned; `docs/initial_values.md` has it with examples. Its mixing function works on
Python ints and on traced integers alike, so that the index of a `scan` can be one part of a path: a stacked
variable at index 3 starts with the value of an unrolled variable whose path has the part `3`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._types import Key
from jscope._util import _threefry

Lane: TypeAlias = Any
"""An unsigned 32-bit number: a Python int, or a (traced) uint32 array."""

Lanes: TypeAlias = tuple[Lane, Lane]

VERSION = 1
SEED: Lanes = (0x6A73636F + VERSION, 0x70652D68 + VERSION)
STREAM = "\0rng"
"""The part that sets the keys of `Scope.rng` apart from those of variables. No name can contain it."""

SHARED_STREAM = "\0shared rng"
"""The same for a stream that the copies of a loop share, which draws at the path of the loop itself."""

_MASK = 0xFFFFFFFF


def mix(lane: Lane, part: Lane) -> Lane:
    """Mixes one more part into a lane: MurmurHash3's block step and finalizer (public domain).

    Works on Python ints and on uint32 arrays, with the same result.

    >>> mix(1, 2) == int(mix(np.uint32(1), jax.numpy.uint32(2)))
    True
    """
    # Scalars of NumPy warn where they wrap around; ints and arrays do not.
    lane, part = (int(x) if isinstance(x, np.generic) else x for x in (lane, part))
    part = _wrap(_rotate(_wrap(part * _like(part, 0xCC9E2D51)), 15) * _like(part, 0x1B873593))
    if isinstance(lane, int) != isinstance(part, int):
        lane, part = (np.uint32(x) if isinstance(x, int) else x for x in (lane, part))
    lane = _wrap(_rotate(lane ^ part, 13) * _like(lane, 5) + _like(lane, 0xE6546B64))
    lane = _wrap((lane ^ (lane >> _like(lane, 16))) * _like(lane, 0x85EBCA6B))
    lane = _wrap((lane ^ (lane >> _like(lane, 13))) * _like(lane, 0xC2B2AE35))
    return lane ^ (lane >> _like(lane, 16))


@lru_cache(maxsize=65536)
def lanes_of(name: str) -> Lanes:
    """Hashes one name: a decimal number stands for itself, so that it can be a loop index.

    >>> lanes_of("3")
    (3, 3)
    """
    if name.isdecimal() and name.isascii() and str(int(name)) == name and int(name) <= _MASK:
        return int(name), int(name)
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def extend(lanes: Lanes, parts: Iterable[str | Lane]) -> Lanes:
    """Mixes names, or numbers, into the lanes of a path."""
    a, b = lanes
    for part in parts:
        part_a, part_b = lanes_of(part) if isinstance(part, str) else (part, part)
        a, b = mix(a, part_a), mix(b, part_b)
    return a, b


@lru_cache(maxsize=65536)
def lanes_of_path(path: str) -> Lanes:
    """Hashes a whole path."""
    parts = _path.parts(path)
    return extend(_lanes_of_scope(parts[:-1]), parts[-1:])


@lru_cache(maxsize=65536)
def _lanes_of_scope(parts: tuple[str, ...]) -> Lanes:
    # Variables share it with their neighbours.
    return extend(SEED, parts)


def lanes_of_all(paths: Sequence[Sequence[str | int]]) -> np.ndarray:
    """Hashes many paths at once, each given by its parts; returns their lanes, uint32 `[n, 2]`.

    >>> lanes_of_all([["dense", "w"], ["b"]]).tolist() == [[*lanes_of_path("dense/w")], [*lanes_of_path("b")]]
    True
    """
    lanes = np.array([SEED] * len(paths), np.uint32).reshape(-1, 2)
    for depth in range(max(map(len, paths), default=0)):
        deep = [i for i, path in enumerate(paths) if len(path) > depth]
        parts = (paths[i][depth] for i in deep)
        names = [lanes_of(part) if isinstance(part, str) else (part, part) for part in parts]
        lanes[deep] = mix(lanes[deep], np.array(names, np.uint32))
    return lanes


@jax.tree_util.register_dataclass
@dataclass(frozen=True, slots=True)
class Anchor:
    """A path whose hash is known otherwise than from its names: the body of a loop, a compiled block.

    Attributes:
      path: The path; below it, names are mixed into the lanes.
      lanes: Its hash.
      shared: The anchors of random streams that do not tell the copies of a loop apart, by the name of the stream.
    """

    path: str = field(metadata={"static": True})
    lanes: Any
    shared: dict[str, Anchor] = field(default_factory=dict)

    def lanes_of_path(self, path: str, stream: str | None = None) -> Lanes:
        """Hashes a path at or below the anchor, for keys of a stream if one is given."""
        if stream in self.shared:
            return self.shared[stream].lanes_of_path(path)
        below = _path.relative(path, self.path)
        assert below is not None
        return extend((self.lanes[0], self.lanes[1]), _path.parts(below))


def anchor(path: str, lanes: Lanes, shared: dict[str, Anchor] | None = None) -> Anchor:
    """Returns an anchor whose lanes are one array, so that they may be traced, as one argument."""
    # An array of NumPy is a constant of no trace, so an anchor that is known costs no operation.
    known = all(isinstance(lane, int | np.generic) for lane in lanes)
    array = np.array(lanes, np.uint32) if known else jnp.stack([jnp.uint32(lane) for lane in lanes])
    return Anchor(path, array, shared or {})


def fold(key: Key, lanes: Lanes) -> Key:
    """Returns the key of a path: both lanes folded into `key`."""
    a, b = (np.uint32(lane) if isinstance(lane, int) else lane for lane in lanes)
    return _threefry.fold_pair(key, a, b)


def _like(lane: Lane, constant: int) -> Lane:
    return constant if isinstance(lane, int) else np.uint32(constant)


def _wrap(lane: Lane) -> Lane:
    return lane & _MASK if isinstance(lane, int) else lane


def _rotate(lane: Lane, bits: int) -> Lane:
    return _wrap(lane << _like(lane, bits)) | (lane >> _like(lane, 32 - bits))
