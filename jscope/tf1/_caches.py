"""Why JAX's caches never replay a TF1-style function with another call's variables.

The ambient scope is no argument. So where JAX has a function in a cache (traced under `jit`, `checkpoint`, `cond` or
`scan`), it would not run it again, and what it then uses are the first call's variables. Three things prevent this:

- While a call collects, or runs under a trace of its own, a `jax.make_user_context` value is a part of the keys of
  JAX's caches. Once a body inside a transform has used the ambient state, the value changes for good, so that whatever
  has that body in a cache misses. What uses none, as JAX's own functions, hits from one call to the next.
- In an eager `apply` a cached body would be the rule, so there using the ambient state inside a transform is an error.
- JAX itself may run one body twice in one call of a transform (`scan` does, where a carry changes its type). Then the
  memory is taken back to where it was before the first run. Which runs belong together is told by a mark on the Python
  frames of the call and of the body; both vanish with those frames.
"""

from __future__ import annotations

import itertools
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import jax
from jax.core import Tracer

from jscope._util._lazy import trace_state
from jscope._util._stack import lift_for_here
from jscope.errors import NativeTransformError

_context = jax.make_user_context()
_serials = itertools.count(1)
_MARK = "__jscope_tf1__"
_NO_TRANSFORM = ("tree_util", "tree")
"""Modules of JAX that call functions without tracing them."""

with jax.ensure_compile_time_eval():
    _EAGER = trace_state()


class _Thread(threading.local):
    """What the next call of a thread enters: no cached body used the ambient state under it. None while it is lent."""

    value: int | None = 0


_thread = _Thread()


class Watch:
    """Knows in which trace a call runs, and makes JAX's caches miss."""

    def __init__(self, *, collecting: bool) -> None:
        self.eager = not collecting and trace_state() == _EAGER
        self._traces = [(trace_state(), 0)]
        self._serial = 0
        self._arrived = 0
        self._noted: Any = None
        self._value = 0
        self._borrows = False
        self._context: Any = None

    def start(self) -> None:
        """Enters a value under which no function in JAX's caches used the ambient state."""
        if self.eager:
            return
        # A call inside a call gets a value of its own: what it caches may use the state of both.
        lent, _thread.value = _thread.value, None
        self._borrows, self._value = lent is not None, lent or next(_serials)
        self._context = _context(self._value)
        self._context.__enter__()

    def stop(self) -> None:
        """Goes back to the value around the call."""
        if self._context is not None:
            self._context.__exit__(None, None, None)
            if self._borrows:
                _thread.value = self._value

    @property
    def outside(self) -> bool:
        """Whether no JAX transform was entered since the call began."""
        return self._traces[0][0] == trace_state()

    def arrive(self, ambient: Any, action: str, subject: Any) -> Any:
        """Does what is to be done where code uses the ambient state; returns the memory to go back to, if any."""
        here = trace_state()
        serial, new = (self._traces[-1][1], False) if self._traces[-1][0] == here else self._entered(here)
        if not serial:
            self._arrived = 0
            return None
        if self.eager:
            self._refuse_compiled(action.format(subject))
        if serial == self._arrived:
            return None
        self._arrived = serial
        self.note()
        return _first_run(ambient) if new else None

    def note(self) -> None:
        """Says that code uses the ambient state: where JAX may keep it in a cache, it is not found there again."""
        here = trace_state()
        if self.eager or here == self._traces[0][0] or here == self._noted:
            return
        self._noted, self._value = here, next(_serials)
        _context(self._value).__enter__()

    def _entered(self, here: Any) -> tuple[int, bool]:
        """Returns the serial number of the trace, and whether it is a new one. Traces nest."""
        while self._traces[-1][0] != here:
            if any(known == here for known, _ in self._traces):
                self._traces.pop()
            else:
                self._serial += 1
                self._traces.append((here, self._serial))
                return self._serial, True
        return self._traces[-1][1], False

    def _refuse_compiled(self, action: str) -> None:
        # `grad` and `vmap` run their function each time and keep nothing; what becomes a program is kept.
        if isinstance(jax.lax.add(1, 1), Tracer):
            raise NativeTransformError(
                f"{action} inside a JAX transform, in an `apply` that is not itself under `jax.jit`: JAX would keep "
                "the function in its cache, and use these variables with other params, too.\n"
                "Call `jax.jit(model.apply)`. Or pass the variables in: write the function as `f(scope, ...)` (which "
                "`tf1.scoped` makes of a TF1-style one) and call "
                f"`{lift_for_here()}(f)(tf1.current_scope(), ...)`."
            )


def _first_run(ambient: Any) -> Any:
    """Returns the memory at the first run of this body within one call of a transform, or None if this is the first."""
    for call, body in reversed(list(_boundaries())):
        runs = call.f_locals.setdefault(_MARK, {}) if _MARK not in call.f_locals else call.f_locals[_MARK]
        mine = body.f_locals.get(_MARK)
        if mine is None:
            mine = body.f_locals[_MARK] = {}
        known = runs.get(body.f_code)
        if known is None:
            runs[body.f_code] = (mine, ambient, ambient.memory.copied())
        elif known[0] is not mine and known[1] is ambient:
            runs[body.f_code] = (mine, ambient, known[2])
            return known[2]
    return None


def _boundaries() -> Iterator[tuple[types.FrameType, types.FrameType]]:
    """Yields, innermost first, the frame of each call into JAX and that of the user's function which it runs."""
    frame, body, call = sys._getframe(3), None, None
    while frame is not None and frame.f_code.co_name != "run_under_ambient":
        kind = frame.f_globals.get("__name__", "")
        package = kind.partition(".")[0]
        if package in ("jax", "jscope"):
            ours = kind.startswith("jscope.tf1") or kind.rpartition(".")[2] in _NO_TRANSFORM
            call = frame if body is not None and not ours else call
        elif package not in ("contextlib", "functools"):
            if call is not None and body is not None:
                yield call, body
            body, call = frame, None
        frame = frame.f_back
    if call is not None and body is not None:
        yield call, body
