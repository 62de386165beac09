"""The memory of one call.

A `Scope` is a value; what has to be remembered while `init` or `apply` runs lives in a `Frame`: which
variables exist and where they were created, what was written and what was sown. There is one frame per call, in a
ContextVar, owned by the thread and the asyncio task that made it. It is the only mutable object of
jscope, together with the `Crossing`, the counters that start afresh wherever a scope enters a JAX transform.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
import threading
from collections.abc import Hashable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jax

from jscope import _path
from jscope._rng import Entry
from jscope._spec import StackAxis, VariableSpec
from jscope._types import Key, Shape
from jscope._util import _text
from jscope._util._lazy import trace_state
from jscope.errors import DuplicateVariableError, MissingVariableError, NameConflictError

_current: ContextVar[Frame | None] = ContextVar("jscope_frame", default=None)
_tokens = itertools.count()


@dataclass(slots=True)
class Crossing:
    """What was counted since a scope last entered a JAX transform (or since the call began).

    JAX runs a cached body no second time, so counters that went on through it would depend on the
    state of the cache. Starting afresh at each crossing makes eager, jitted and repeated calls equal.
    """

    path: str
    params: Mapping[str, Any]
    state: Mapping[str, Any]
    counts: dict[Hashable, int] = field(default_factory=dict)

    def count(self, what: Hashable) -> int:
        """Counts one more entry of a scope, or key of a stream; returns how many there were before."""
        before = self.counts.get(what, 0)
        self.counts[what] = before + 1
        return before


@dataclass(frozen=True, slots=True)
class Creation:
    """Where in the call a variable was created: at which entry of its scope, in which trace."""

    entry: Entry
    trace: int


@dataclass(frozen=True, slots=True)
class Lifted:
    """What a lift says to the scopes of its body while collecting.

    Attributes:
      trace: The trace in which they may write.
      stack: The leading axes that variables created here get, outermost first, each with a regex (or None) for the
        paths that do not get it.
      refusal: Why no variable may be created here, if none may.
    """

    trace: int
    stack: tuple[tuple[StackAxis, str | None], ...] = ()
    refusal: str | None = None

    def stack_of(self, path: str) -> tuple[StackAxis, ...]:
        """Returns the leading axes of the variable `path`."""
        return tuple(axis for axis, shared in self.stack if shared is None or not re.search(shared, path))


@dataclass(eq=False, kw_only=True)
class Frame:
    """The memory of one `init`, `apply` or `specs` call. Use as a context manager, once.

    Attributes:
      collecting: Whether variables are being created (true) or looked up.
      crossing: Where the scope that the call hands out begins: its path, params, and state with the writes so far.
      stateful: Whether there is state to write to.
      capturing: Whether what is sown is kept.
      parent: For a lift's inner frame, the frame it commits to.
      values: While collecting, initial values that are known already, by path.
      key: While initial values that depend on data are computed, the key of `init`.
      known: Meanwhile, all specs of the model, by path.
      initial: The initial values that this very call computed, by path.
      specs: Specs of the variables created so far, by path.
      asked: While collecting, the paths that were asked for.
      sown: Values that were sown, by path.
      reduce: How to combine them with others of the same path, where that was said.
    """

    collecting: bool = False
    crossing: Crossing = field(default_factory=lambda: Crossing("", {}, {}))
    stateful: bool = False
    capturing: bool = False
    parent: Frame | None = None
    values: dict[str, Any] = field(default_factory=dict)
    key: Key | None = None
    known: Mapping[str, VariableSpec] = field(default_factory=dict)
    initial: dict[str, Any] = field(default_factory=dict)
    specs: dict[str, VariableSpec] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    sown: dict[str, Any] = field(default_factory=dict)
    reduce: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.token = next(_tokens) if self.collecting else None
        self._owner, self._traces, self._serial = _owner(), [(trace_state(), 0)], 0
        self._creations: dict[str, Creation] = {}
        self._prefixes: dict[str, str] = {}
        self._placeholders: dict[Hashable, jax.Array] = {}
        self.plain: dict[int, Any] = {}  # Initializers known to depend on no data, by id.
        self.defaults: list[Any] = []
        self._names: list[tuple[str, contextlib.AbstractContextManager[Any]]] = []

    def __enter__(self) -> Frame:
        self._reset = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._reset)

    @staticmethod
    def current() -> Frame | None:
        """Returns the frame of the running call, if it is this thread's and this task's own."""
        frame = _current.get()
        return frame if frame is not None and frame._owner == _owner() else None

    def with_token(self, token: int | None) -> Frame | None:
        """Returns this frame, or the one it commits to, that has this token."""
        frame: Frame | None = self
        while frame is not None and frame.token != token:
            frame = frame.parent
        return frame

    def is_running(self) -> bool:
        """Whether this is the current frame or one that the current one commits to."""
        frame = Frame.current()
        while frame is not None and frame is not self:
            frame = frame.parent
        return frame is self

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
        """Records a new variable."""
        if spec.path in self._prefixes:
            other = self.specs[self._prefixes[spec.path]]
            raise _conflict(spec, other)
        for prefix in _path.prefixes(spec.path):
            if prefix in self.specs:
                raise _conflict(self.specs[prefix], spec)
            self._prefixes.setdefault(prefix, spec.path)
        self.specs[spec.path] = spec
        self._creations[spec.path] = Creation(entry, self.trace())

    def share(self, path: str, entry: Entry, site: str) -> None:
        """Checks that asking for an existing variable without reuse is a re-trace, not a second creation.

        JAX may trace one body several times; what it traces again is not created again.
        """
        first, trace = self._creations[path], self.trace()
        if trace == first.trace or entry != first.entry or first.trace == 0:
            raise DuplicateVariableError(
                f"Variable `{path}` is created a second time at {site}; it was first created at "
                f"{self.specs[path].site}.\nIf two layers are meant to share it, ask for it again under "
                "`scope.with_defaults(reuse=True)` or `reuse=jscope.AUTO_REUSE`; otherwise give one of them a scope "
                'of its own, such as `scope / "name"` or `scope / scope.unique("name")`.'
            )

    def missing(self, path: str, site: str) -> MissingVariableError:
        """Makes the error for a variable that reuse expected to exist."""
        return MissingVariableError(
            f"Variable `{path}` does not exist, but was asked for with `reuse=True` at {site}."
            f"{_text.did_you_mean(path, self.specs)}\nCreate it first, or allow both with `reuse=jscope.AUTO_REUSE`."
        )

    def placeholder(self, spec: VariableSpec, shape: Shape) -> jax.Array:
        """Returns what stands for a variable while collecting: its initial value if known, else abstract zeros."""
        if spec.path in self.values:
            return self.values[spec.path]
        kind = (shape, spec.dtype)
        if self.trace() or kind not in self._placeholders:
            zeros = jax.lax.full(shape, 0, spec.dtype)
            # Only what the frame's own trace made may be kept: anything else would outlive its trace.
            return zeros if self.trace() else self._placeholders.setdefault(kind, zeros)
        return self._placeholders[kind]

    def keep_defaults(self, defaults: Any) -> int:
        """Returns a number that stands for `defaults` in a treedef: JAX's caches must not keep the object alive."""
        for number, kept in enumerate(self.defaults):
            if kept is defaults:
                return number
        self.defaults.append(defaults)
        return len(self.defaults) - 1

    def enter_name(self, path: str) -> None:
        """Enters `jax.named_scope` for what `path` adds to the innermost name."""
        inner = _path.relative(path, self._names[-1][0]) if self._names else path
        name = path if inner is None else inner
        scope = jax.named_scope(name) if name else contextlib.nullcontext()
        scope.__enter__()
        self._names.append((path, scope))

    def exit_name(self) -> None:
        """Leaves the innermost name."""
        self._names.pop()[1].__exit__(None, None, None)


def _conflict(variable: VariableSpec, inner: VariableSpec) -> NameConflictError:
    return NameConflictError(
        f"`{variable.path}` is a variable (created at {variable.site}) and also a prefix of "
        f"`{inner.path}` (created at {inner.site}).\nA path is either a variable or a scope: rename one of them."
    )


def _owner() -> tuple[int, object]:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return threading.get_ident(), None
    return threading.get_ident(), asyncio.current_task()
