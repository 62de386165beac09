"""What a scope has beside its path and its variables.

A scope hands a `Context` on to its children unchanged: the defaults, the key, and the call they all belong to. The call
is a number, not an object, so that a scope keeps nothing alive; `Frame.running` finds the frame by it.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jscope import _path
from jscope._defaults import LIBRARY_DEFAULTS, Defaults
from jscope._rng import Anchor
from jscope._spec import StackAxis
from jscope._types import Getter, Key
from jscope._uses import Carried, Entry, Uses
from jscope._util._lazy import trace_state
from jscope._util._stack import depth


@dataclass(slots=True)
class Crossing:
    """What was counted since a scope last entered a JAX transform (or since the call began).

    JAX does not run a cached body a second time, so counters that went on through it would depend on the
    state of the cache. Starting afresh at each crossing makes eager, jitted and repeated calls equal.

    Attributes:
      path: The path of the scope that crossed.
      params: The params below it.
      state: The state below it; in a frame's own crossing, with the writes so far.
      uses: Which scopes drew random keys.
      counts: How often each path was entered.
      handed: The names that `Scope.unique` handed out where reuse is on, in order.
      began: In which trace, and how deep in the Python stack; None where there is no random key.
    """

    path: str
    params: Mapping[str, Any]
    state: Mapping[str, Any]
    uses: Uses = field(default_factory=Uses)
    counts: dict[Hashable, int] = field(default_factory=dict)
    began: tuple[Any, int] | None = None
    handed: dict[Hashable, list[str]] = field(default_factory=dict)

    def count(self, what: Hashable) -> int:
        """Counts one more entry of a scope; returns how many there were before."""
        before = self.counts.get(what, 0)
        self.counts[what] = before + 1
        return before

    def reserve(self, drawn: Iterable[tuple[str, Entry]]) -> None:
        """Takes the numbers of entries that drew on the other side of a boundary: later ones must get others."""
        start = len(self.uses.root)
        # An entry has a number for the root of the crossing, then one for each part of the path.
        for path, entry in drawn:
            names = (*_path.prefixes(path), path) if path else ()
            for level, name in enumerate(names[: len(entry) - start], start):
                what = _path.join(self.path, name), entry[:level]
                # Negative is the number of an entry that was given up, which was taken before.
                number = entry[level] if entry[level] >= 0 else -1 - entry[level]
                self.counts[what] = max(self.counts.get(what, 0), number + 1)


def crossing(
    path: str, params: Mapping[str, Any], state: Mapping[str, Any], carried: Carried, *, keyed: bool
) -> Crossing:
    """Returns the crossing that begins where a scope enters a JAX transform with what it carries."""
    begun = Crossing(path, params, state, Uses.of(carried), began=(trace_state(), depth()) if keyed else None)
    begun.reserve(begun.uses.entries())
    return begun


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


class Writes(NamedTuple):
    """What the call does with what is written. Lifts ask this where no frame is running: in a cached backward pass."""

    stateful: bool
    """Whether there is state to write to."""

    capturing: bool
    """Whether sown values are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a scope and its children have in common.

    Attributes:
      collecting: Whether variables are being created rather than looked up.
      crossing: Where these scopes last entered a JAX transform.
      call: The number of the frame they belong to, or None where there was none.
      key: The random key of the call, if it has one.
      writes: What the call does with what is written.
      getters: The custom getters, outermost first.
      anchor: The place that paths are hashed from, where that is not the root.
      defaults: What `get_variable` uses where its arguments say nothing; only while collecting.
      lifted: What the lift around says; only while collecting.
      sharer: The call that switched reuse on, where that is known.
    """

    collecting: bool
    crossing: Crossing
    call: int | None
    key: Key | None
    writes: Writes
    getters: tuple[Getter, ...] = ()
    anchor: Anchor | None = None
    defaults: Defaults = LIBRARY_DEFAULTS
    lifted: Lifted | None = None
    sharer: object = None

    def stack_of(self, path: str) -> tuple[StackAxis, ...]:
        """Returns the leading axes that the lifts around give to the variable `path`."""
        return () if self.lifted is None else self.lifted.stack_of(path)
