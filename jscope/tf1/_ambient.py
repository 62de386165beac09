"""The ambient state of one call: all that TensorFlow keeps in a graph and that no argument carries.

`tf1.transform` installs an `Ambient` for as long as the function runs. It holds the core's scope, through which
every variable is created and read, and a `Memory`: the current variable scope, the counts of names, the store of
handles, the collections. A `ContextVar` finds it, so each thread and task has its own. The `Watch` knows in which JAX
trace the code runs; what that is good for, `_caches.py` tells.
"""

from __future__ import annotations

import copy
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from jscope._scope import Scope
from jscope.tf1 import _bridge
from jscope.tf1._caches import Watch
from jscope.tf1._counts import Counts
from jscope.tf1._errors import NoGraphError

_current: ContextVar[Ambient | None] = ContextVar("jscope_tf1_ambient", default=None)


@dataclass(slots=True)
class Memory:
    """What code changes as it runs, and what is taken back where JAX runs a body a second time.

    Attributes:
      current: The current `VariableScope`.
      counts: How often each variable scope was opened.
      name_stack: The open name scope.
      names_in_use: The names that name scopes have taken, in lower case.
      store: What `get_variable` found or created, by full name.
      collections: The collections, by key.
      templates: What each template knows of its first call.
    """

    current: Any
    counts: Counts = field(default_factory=Counts)
    name_stack: str = ""
    names_in_use: dict[str, int] = field(default_factory=dict)
    store: dict[Any, Any] = field(default_factory=dict)
    collections: dict[Any, list[Any]] = field(default_factory=dict)
    templates: dict[Any, Any] = field(default_factory=dict)

    def copied(self) -> Memory:
        """Returns a copy that later changes leave alone."""
        collections = {key: list(items) for key, items in self.collections.items()}
        flat = {name: copy.copy(getattr(self, name)) for name in ("names_in_use", "store", "templates")}
        return Memory(self.current, self.counts.copied(), self.name_stack, collections=collections, **flat)


class Ambient:
    """The state of one call of a TF1-style function.

    Attributes:
      scope: The core's scope that the function runs under.
      collecting: Whether variables are being created (in `init` and `specs`) rather than looked up (in `apply`).
      memory: What changes as it runs.
      made: Everything `get_variable` ever created in this call, by full name.
      params: The values of the params that were asked for in `apply`, by full name; nothing changes them.
      creators: The open `variable_creator_scope`s, outermost first.
      watch: In which trace the code runs.
    """

    __slots__ = ("__weakref__", "_token", "collecting", "creators", "made", "memory", "params", "scope", "watch")

    def __init__(self, scope: Scope, current: Any) -> None:
        self.scope = scope
        self.memory = Memory(current)
        self.made: dict[Any, Any] = {}
        self.params: dict[str, Any] = {}
        self.creators: list[Any] = []
        self.watch = Watch(collecting=scope.collecting)
        self.collecting = scope.collecting

    def arrive(self, action: str, subject: Any = None) -> None:
        """Says that code gets here: finds out whether it runs inside a JAX transform, and does what that asks for.

        Errors say what was done: `action`, with the `subject` in the place of `{}`.
        """
        back = self.watch.arrive(self, action, subject)
        if back is not None:
            self.memory = back.copied()

    def __enter__(self) -> Ambient:
        self.watch.start()
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        self.watch.stop()


def current(asker: str) -> Ambient:
    """Returns the state of the running call, or raises an error that names the function `asker`."""
    ambient = _current.get()
    if ambient is None or (ambient.collecting and not _bridge.is_call_running()):
        raise NoGraphError(
            f"`tf1.{asker}` was called outside a function that `tf1.transform` runs (in this thread and task).\n"
            "Give the function that calls it to `model = tf1.transform(f)`, and call `model.init` and `model.apply`; "
            "or, under "
            "a scope of jscope's, call `tf1.scoped(f)(scope, ...)`."
        )
    return ambient


def running() -> Ambient | None:
    """Returns the state of the running call, if there is one."""
    return _current.get()
