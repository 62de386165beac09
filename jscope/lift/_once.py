"""Collecting a block once: what it created at one path, its other calls create at theirs.

`jit` runs the Python of equal blocks once, and so does collecting, which needs to know no more of a block than what it
creates and returns. That is the same at every path for a block that is made of the same parts (compared in each call),
is given the same kinds of arguments under the same defaults, and looked at no path. What exists does not count, since
only blocks are asked below whose paths nothing exists yet: they find what they made themselves.

A block of which this is not known runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jscope import _path
from jscope._frame import Creation, Frame
from jscope._scope import Scope
from jscope._spec import DataDependent, VariableSpec
from jscope._util._same import same


@dataclass(frozen=True, slots=True)
class Block:
    """What the first run of a block did.

    Attributes:
      path: Where it ran.
      entry: At which entry of that path.
      created: Its variables.
      leaves: What it returned: arrays of the frame's own trace, which stand for those that other calls would return.
      structure: And the containers of these.
    """

    path: str
    entry: tuple[int, ...]
    created: list[tuple[VariableSpec, Creation]]
    leaves: list[Any]
    structure: Any

    def is_same_elsewhere(self) -> bool:
        """Whether it made nothing that belongs to its own place: a value that its data gave it, or a scope."""
        special = any(isinstance(spec.initializer, DataDependent) for spec, _ in self.created)
        return not special and all(isinstance(leaf, jax.Array) for leaf in self.leaves)


def once(function: Any, how: Hashable, run: Callable[..., Any], *, traced: bool) -> Callable[..., Any]:
    """Returns `run`, which runs `function(scope, *args)`; while collecting, only where the outcome is not known.

    `how` is what the outcome depends on besides, and `traced` says whether `run` hides the values of all arrays.
    """

    def first_or_again(scope: Scope, /, *args: Any, **kwargs: Any) -> Any:
        frame = scope._frame() if scope._context.collecting else None
        if frame is None or not _may_share(frame, scope):
            return run(scope, *args, **kwargs)
        key = _key(frame, scope, (function, how), (args, kwargs), traced)
        if key in frame.blocks:
            return _elsewhere(frame, scope, frame.blocks[key])
        return _first(frame, scope, key, lambda: run(scope, *args, **kwargs))

    return first_or_again


def _may_share(frame: Frame, scope: Scope) -> bool:
    """Whether what a block does here is done by others in the same way, as far as its surroundings go."""
    context, path = scope._context, scope._path
    # JAX may trace an inner trace again, so there each variable must know where it was created; a replay computes
    # values; and a getter is given whole paths.
    alike = not (frame.trace() or frame.replay or context.getters)
    # Below the root there is whatever was made before.
    return alike and bool(path) and not frame.has_below(path)


def _key(frame: Frame, scope: Scope, block: Any, args: Any, traced: bool) -> Hashable | None:
    """Returns what equals that of another call if a block does the same there; None if that cannot be told."""
    leaves, structure = _leaves_and_structure(args)
    unknown = (jax.Array, np.ndarray, np.generic) if traced else Tracer
    types = tuple(jax.typeof(leaf) if isinstance(leaf, unknown) else None for leaf in leaves)
    defaults = scope._context.defaults
    # A partitioner is asked while a block runs; of the others, the specs keep what they are.
    known = same((block, defaults.partitioner, [leaf for leaf in leaves if not isinstance(leaf, unknown)]))
    if not known.by_value:
        return None
    # Other defaults are compared by identity, which is how JAX's caches tell them apart, too.
    number = frame.number_of_defaults(defaults)
    return known.parts, types, structure, number, scope.has_rng, jax.eval_shape(_surroundings)


@jax.tree_util.register_static
class _Surroundings:
    """Stands for all that JAX has besides arguments when it traces, such as its configuration and a mesh."""


@jax.jit
def _surroundings() -> _Surroundings:
    # JAX knows when it has to trace this anew, and answers otherwise with what this returned before.
    return _Surroundings()


def _first(frame: Frame, scope: Scope, key: Hashable | None, run: Callable[[], Any]) -> Any:
    """Runs a block, and keeps what it did if that is the same elsewhere."""
    before, looked = len(frame.specs), frame.looked
    frame.looked = False
    try:
        out = run()
        if key is not None and not frame.looked:
            created = [(spec, frame.creations[spec.path]) for spec in list(frame.specs.values())[before:]]
            block = Block(scope._path, scope._entry, created, *_leaves_and_structure(out))
            if block.is_same_elsewhere():
                frame.blocks[key] = block
    finally:
        # A block around this one has looked, too.
        frame.looked |= looked
    return out


def _elsewhere(frame: Frame, scope: Scope, block: Block) -> Any:
    """Creates below a scope what the block created where it ran; returns what it returned."""
    deeper = len(_path.parts(scope._path)) - len(_path.parts(block.path))
    for spec, creation in block.created:
        path = _path.join(scope._path, _path.relative(spec.path, block.path) or "")
        entry = (*scope._entry, *creation.entry[len(block.entry) :])
        # By position, since `replace` takes as long as all else that is done here.
        moved = VariableSpec(path, *_ALL_BUT_PATH(spec))
        if spec.stack:
            # All stacked axes are from inside: a lift around would have made a trace.
            moved = replace(moved, stack=tuple(replace(axis, depth=axis.depth + deeper) for axis in spec.stack))
        frame.record(moved, Creation(entry, creation.trace, creation.standing, creation.branches))
    # Containers of its own, which the caller may change.
    return jax.tree.unflatten(block.structure, block.leaves)


_ALL_BUT_PATH = attrgetter(*(field.name for field in fields(VariableSpec)[1:]))


def _leaves_and_structure(tree: Any) -> tuple[list[Any], Any]:
    """Flattens arguments or results, in which a scope is a leaf: its structure would have its path in it."""
    return jax.tree.flatten(tree, is_leaf=lambda leaf: isinstance(leaf, Scope))
