"""The ambient state of one call: all that TensorFlow keeps in a graph and that no argument carries.

`tf1.transform` installs an `Ambient` for as long as the function runs. It holds the core's scope, through which
every variable is created and read, and a `Memory`: the current variable scope, the counts of names, the store of
handles, the collections. A `ContextVar` finds it, so each thread and task has its own. The `TraceWatch` knows in which
JAX trace the code runs; `_caches.py` says why that matters.
"""

from __future__ import annotations

import copy
import re
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from jscope._scope import Scope
from jscope.errors import ScopeEndedError
from jscope.tf1 import _bridge
from jscope.tf1._caches import TraceWatch, current_trace, trace_state
from jscope.tf1._counts import Counts
from jscope.tf1._errors import NoGraphError

_current: ContextVar[Ambient | None] = ContextVar("jscope_tf1_ambient", default=None)


@dataclass(slots=True)
class Memory:
    """What code changes as it runs, and what is taken back where JAX runs a body a second time.

    Attributes:
      variable_scope: The current `VariableScope`.
      counts: How often each variable scope was opened.
      name_stack: The open name scope.
      names_in_use: The names that name scopes and variables have taken, in lower case.
      store: What `get_variable` found or created, by full name.
      collections: The collections, by key.
      templates: What each template knows of its first call.
    """

    variable_scope: Any
    counts: Counts = field(default_factory=Counts)
    name_stack: str = ""
    names_in_use: dict[str, int] = field(default_factory=dict)
    store: dict[Any, Any] = field(default_factory=dict)
    collections: dict[Any, list[Any]] = field(default_factory=dict)
    templates: dict[Any, Any] = field(default_factory=dict)

    def copied(self) -> Memory:
        """Returns a copy that later changes leave alone."""
        # So are the lists: `get_collection_ref` gives them to the user, who may append to them.
        collections = {key: list(items) for key, items in self.collections.items()}
        flat = {name: copy.copy(getattr(self, name)) for name in ("names_in_use", "store", "templates")}
        return Memory(self.variable_scope, self.counts.copied(), self.name_stack, collections=collections, **flat)


class Ambient:
    """The state of one call of a TF1-style function.

    Attributes:
      itself: A weak reference to this object, for what may outlive the call.
      core_scope: The core's scope that the function runs under.
      collecting: Whether variables are being created (in `init` and `specs`) rather than looked up (in `apply`).
      memory: What changes as it runs.
      handles: Every handle that `get_variable` ever made in this call, by full name; never taken back.
      params: The values of the params that were asked for in `apply`, by full name; nothing changes them.
      params_below: What there is of the params below each variable scope that was asked, in `apply`.
      creators: The open `variable_creator_scope`s, outermost first.
      make_variable: Makes what `tf1.Variable(...)` asks for.
      written: The names of variables that are state whatever TensorFlow says of them; None for none.
      watch: In which trace the code runs.
      in_branch: In how many branches, of which perhaps only the other one counts, the code runs.
      in_idle_branch: In how many branches that are known not to count, where only creating has an effect.
      ended: Whether the call is over, though something (a traceback, a task) may keep this object.
    """

    __slots__ = (
        *("__weakref__", "_token", "collecting", "core_scope"),
        *("creators", "ended", "handles", "in_branch", "in_idle_branch", "itself", "make_variable", "memory"),
        *("params", "params_below", "watch", "written"),
    )

    def __init__(
        self,
        core_scope: Scope,
        variable_scope: Any,
        make_variable: Callable[..., Any],
        written: re.Pattern[str] | None = None,
    ) -> None:
        self.itself = weakref.ref(self)
        self.core_scope = core_scope
        self.memory = Memory(variable_scope)
        self.handles: dict[Any, Any] = {}
        self.params: dict[str, Any] = {}
        self.params_below: dict[str, Any] = {}
        self.creators: list[Any] = []
        self.in_branch = self.in_idle_branch = 0
        self.ended = False
        self.watch = TraceWatch(collecting=core_scope.collecting)
        self.collecting = core_scope.collecting
        self.make_variable = make_variable
        self.written = written

    def note_use(self, action: str, subject: Any = None) -> None:
        """Notes that code uses the state here: refuses it, or goes back to an earlier memory; `_caches.py` says why.

        Errors say what was done: `action`, with the `subject` in the place of `{}`.
        """
        # A body reads many variables; only its first use, or the first after another trace, has something to do.
        watch = self.watch
        if current_trace(()) is watch.noted_untraced or trace_state() == watch.noted:
            return
        if self.ended:
            raise ended_error(action.format(subject))
        # The subject is put in only where there is an error, since this runs on every read.
        earlier = watch.note_use(self, action, subject)
        if earlier is not None:
            # A copy, because JAX may run the body once more.
            self.memory = earlier.copied()

    def is_param(self, path: str, *, trainable: bool) -> bool:
        """Whether a variable that TensorFlow trains, or does not, is a param here rather than state."""
        return trainable and (self.written is None or self.written.search(path) is None)

    def __enter__(self) -> Ambient:
        self.watch.start()
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        self.ended = True
        self.watch.stop()


def ended_error(action: str) -> ScopeEndedError:
    """Makes the error for what was done with a call that is over."""
    return ScopeEndedError(
        f"{action} after the `init` or `apply` call it belongs to.\nReturn its value from the function instead."
    )


def current(asker: str) -> Ambient:
    """Returns the state of the running call, or raises an error that names the function `asker`."""
    ambient = _current.get()
    # A new task inherits the context variables of the one that started it, so this may be the state of another task's
    # call, which the core knows, or of one that is over. In `apply` a read needs no call of the core.
    if ambient is None or ambient.ended or (ambient.collecting and not _bridge.is_call_running()):
        raise NoGraphError(
            f"`tf1.{asker}` was called outside a function that `tf1.transform` runs (in this thread and task).\n"
            "Give the function that calls it to `model = tf1.transform(f)`, and call `model.init` and `model.apply`; "
            "or, under a scope of jscope's, call `tf1.scoped(f)(scope, ...)`."
        )
    return ambient


def current_or_none() -> Ambient | None:
    """Returns the state of the running call, or None."""
    return _current.get()


def is_idle() -> bool:
    """Whether the code runs in a branch that is known not to count."""
    ambient = _current.get()
    return ambient is not None and ambient.in_idle_branch > 0
