"""The memory of one call.

A `Scope` is a value; what has to be remembered while `init` or `apply` runs lives in a `Frame`: which
variables exist and where they were created, what was written and what was sown. There is one frame per call, in a
ContextVar, owned by the thread and the asyncio task that made it. It is the only mutable object of
jscope, together with the `Crossing`, whose counters and uses start afresh wherever a scope enters a JAX transform.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Hashable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jax

from jscope import _path
from jscope._context import Crossing
from jscope._defaults import Defaults
from jscope._spec import VariableSpec
from jscope._types import Key, Shape
from jscope._uses import Entry
from jscope._util._lazy import trace_state
from jscope._util._stack import Standing, standing_here
from jscope.errors import DuplicateVariableError, NameConflictError

_current: ContextVar[Frame | None] = ContextVar("jscope_frame", default=None)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Creation:
    """Where in the call a variable was created.

    Attributes:
      entry: At which entry of its scope.
      trace: In which trace.
      standing: Where the request stands, if a trace inside of the frame's own made it: JAX may trace that again.
      branches: The branches that it stands in, as `Frame.branches` has them.
    """

    entry: Entry
    trace: int
    standing: Standing | None
    branches: tuple[tuple[object, int], ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """The second collecting pass, which computes the initial values that depend on data.

    Attributes:
      key: The key of `init`.
      specs: All specs of the model, by path, as the first pass found them.
      values: The initial values known so far, by path, with what was assigned since.
      computed: Those among them that this pass computed.
    """

    key: Key
    specs: Mapping[str, VariableSpec]
    values: dict[str, Any]
    computed: dict[str, Any] = field(default_factory=dict)

    def below(self, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the values below a path: the params and the state, nested."""
        trees = []
        for trainable in (True, False):
            values = {name: value for name, value in self.values.items() if self.specs[name].trainable is trainable}
            trees.append(_path.below(values, path))
        return trees[0], trees[1]


@dataclass(eq=False, kw_only=True)
class Frame:
    """The memory of one `init`, `apply` or `specs` call. Use as a context manager, once.

    Attributes:
      collecting: Whether variables are being created (true) or looked up.
      stateful: Whether there is state to write to.
      capturing: Whether what is sown is kept.
      parent: For a lift's inner frame, the frame it commits to.
      replay: What is known in the second collecting pass; None in the first, and in `apply`.
      crossing: Where the scope that the call hands out begins: its path, params, and state with the writes so far.
      specs: Specs of the variables created so far, by path.
      asked: The paths that were asked for while collecting.
      branches: The branches of `jscope.cond` and `switch` that are being collected, outermost first: each as its call
        and its number in it.
      creations: Where they were created.
      looked: Whether anybody looked at the path of a scope since this was set to False.
      blocks: What blocks did that need not run again: see `lift/_once`.
      consulted: Getters that must be of use, without their arrays, and the paths that each was asked for.
      sown: Values that were sown, by path.
      reduce: How to combine them with others of the same path, where that was said.
    """

    # What kind of call this is.
    collecting: bool = False
    stateful: bool = False
    capturing: bool = False
    parent: Frame | None = None
    replay: Replay | None = None

    # What its scopes read and write.
    crossing: Crossing = field(default_factory=lambda: Crossing("", {}, {}))
    sown: dict[str, Any] = field(default_factory=dict)
    reduce: dict[str, Any] = field(default_factory=dict)

    # What collecting found out.
    specs: dict[str, VariableSpec] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    branches: tuple[tuple[object, int], ...] = ()
    consulted: dict[Hashable, tuple[Any, set[str]]] = field(default_factory=dict)
    creations: dict[str, Creation] = field(default_factory=dict)
    looked: bool = False
    blocks: dict[Hashable, Any] = field(default_factory=dict)
    _first_below: dict[tuple[bool, str], str] = field(default_factory=dict)  # For each prefix, one variable below it.

    # Where the call runs: its number, its owner, and the traces it is in, innermost last.
    number: int = field(default_factory=lambda: next(_numbers))
    _owner: Hashable = field(default_factory=lambda: _running_owner())
    _traces: list[tuple[Any, int]] = field(default_factory=lambda: [(trace_state(), 0)])
    _serial: int = 0

    # What is kept so that it need not be made, or asked, again.
    data_free: dict[int, Any] = field(default_factory=dict)  # Initializers that depend on no data, by id.
    _defaults: list[Defaults] = field(default_factory=list)
    _placeholders: dict[Hashable, jax.Array] = field(default_factory=dict)
    _names: list[tuple[str, contextlib.AbstractContextManager[Any]]] = field(default_factory=list)

    def __enter__(self) -> Frame:
        self._reset = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._reset)

    @staticmethod
    def current() -> Frame | None:
        """Returns the frame of the running call, if it is this thread's and this task's own."""
        frame = _current.get()
        # A context is inherited by tasks (and by threads, where one is copied): the call is still its maker's.
        return frame if frame is not None and frame._owner == _running_owner() else None

    @staticmethod
    def running(number: int | None) -> Frame | None:
        """Returns the frame with this number if its call runs: the current frame, or one that it commits to."""
        frame = Frame.current()
        while frame is not None and frame.number != number:
            frame = frame.parent
        return frame

    def trace(self) -> int:
        """Returns the serial number of the running trace: 0 for the frame's own, another one for each tracing."""
        here = trace_state()
        # Traces nest, so a trace that is not on the stack is new, and what lies above it has ended.
        while self._traces and self._traces[-1][0] != here:
            if any(known == here for known, _ in self._traces):
                self._traces.pop()
            else:
                self._serial += 1
                self._traces.append((here, self._serial))
        return self._traces[-1][1]

    def create(self, spec: VariableSpec, entry: Entry) -> None:
        """Records a new variable, which is created here."""
        trace = self.trace()
        self.record(spec, Creation(entry, trace, standing_here() if trace else None, self.branches))

    def record(self, spec: VariableSpec, creation: Creation) -> None:
        """Records a new variable."""
        # Params and state are two trees: `w` may be a param, and `w/average` state.
        kind = spec.trainable
        if (kind, spec.path) in self._first_below:
            raise _conflict(spec, self.specs[self._first_below[kind, spec.path]])
        for prefix in _path.prefixes(spec.path):
            if prefix in self.specs and self.specs[prefix].trainable is kind:
                raise _conflict(self.specs[prefix], spec)
        # Nothing may be left behind by a request that was refused, so all checks come first.
        for prefix in _path.prefixes(spec.path):
            self._first_below.setdefault((kind, prefix), spec.path)
        self.specs[spec.path], self.creations[spec.path] = spec, creation

    def has_below(self, path: str) -> bool:
        """Whether there is a variable below a path (other than the root)."""
        return any((kind, path) in self._first_below for kind in (True, False))

    def share(self, path: str, entry: Entry, site: str, *, alike: bool = True) -> None:
        """Checks that asking for an existing variable without reuse is a re-trace, not a second creation.

        JAX may trace one body several times, and what it traces again is not created again; nor is what another branch
        creates, since only one of them runs. `alike` says whether the request asks for the same initial value.
        """
        first, trace = self.creations[path], self.trace()
        # Trace 0 is the frame's own, which nothing runs twice.
        other = trace not in (0, first.trace) and entry == first.entry
        repeated = other and first.standing is not None and standing_here().repeats(first.standing)
        if not (alike and (repeated or _are_alternatives(first.branches, self.branches))):
            raise DuplicateVariableError(
                f"Variable `{path}` is created a second time at {site}; it was first created at "
                f"{self.specs[path].site}.\nIf two layers are meant to share it, ask for it again under "
                "`scope.with_defaults(reuse=True)` or `reuse=jscope.AUTO_REUSE`; otherwise give one of them a scope "
                'of its own, such as `scope / "name"` or `scope / scope.unique("name")`.'
            )

    def placeholder(self, spec: VariableSpec, shape: Shape) -> jax.Array:
        """Returns what stands for a variable while collecting: its initial value if known, else abstract zeros."""
        if self.replay is not None and spec.path in self.replay.values:
            return self.replay.values[spec.path]
        kind = (shape, spec.dtype)
        if self.trace() or kind not in self._placeholders:
            zeros = jax.lax.full(shape, 0, spec.dtype)
            # Only what the frame's own trace made may be kept: anything else would outlive its trace.
            return zeros if self.trace() else self._placeholders.setdefault(kind, zeros)
        return self._placeholders[kind]

    def number_of_defaults(self, defaults: Defaults) -> int:
        """Returns a number that stands for `defaults` in a treedef: JAX's caches must not keep the object alive."""
        for number, kept in enumerate(self._defaults):
            if kept is defaults:
                return number
        self._defaults.append(defaults)
        return len(self._defaults) - 1

    def numbered_defaults(self, number: int) -> Defaults:
        """Returns the defaults that this number stands for."""
        return self._defaults[number]

    def enter_name(self, path: str) -> None:
        """Enters `jax.named_scope` for what `path` adds to the innermost name."""
        outer = self._innermost_name()
        inner = _path.relative(path, outer) if outer else path
        name = path if inner is None else inner
        scope = jax.named_scope(name) if name else contextlib.nullcontext()
        scope.__enter__()
        self._names.append((path, scope))

    def _innermost_name(self) -> str:
        """Returns the path whose name was entered last: the body of a lift goes on where the lift was called."""
        if self._names or self.parent is None:
            return self._names[-1][0] if self._names else ""
        # A body whose paths start at its boundary is shared by many places, so its names must not depend on one.
        outer = self.parent._innermost_name()
        return outer if _path.relative(self.crossing.path, outer) is not None else ""

    def exit_name(self) -> None:
        """Leaves the innermost name."""
        self._names.pop()[1].__exit__(None, None, None)


def _are_alternatives(one: tuple[tuple[object, int], ...], other: tuple[tuple[object, int], ...]) -> bool:
    """Whether only one of two requests will run, since they stand in different branches of one call."""
    # Where they first part: inside of different branches, there may be others around each.
    parted = next(((a, b) for a, b in zip(one, other, strict=False) if a != b), None)
    return parted is not None and parted[0][0] is parted[1][0]


def _conflict(variable: VariableSpec, inner: VariableSpec) -> NameConflictError:
    return NameConflictError(
        f"`{variable.path}` is a variable (created at {variable.site}) and also a prefix of "
        f"`{inner.path}` (created at {inner.site}).\nAmong the {'params' if inner.trainable else 'state'} a path is "
        "either a variable or a scope: rename one of them."
    )


def _running_owner() -> tuple[int, object]:
    """Returns the thread and the asyncio task that run here."""
    asyncio = sys.modules.get("asyncio")
    # `current_task` raises where no loop runs, and this is asked at every look-up of a frame.
    if asyncio is None or asyncio._get_running_loop() is None:
        return threading.get_ident(), None
    return threading.get_ident(), asyncio.current_task()
