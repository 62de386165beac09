"""Why JAX's caches never replay a TF1-style function with another call's variables.

The ambient scope is not an argument, so JAX's caches cannot see it. If JAX has a function in a cache (traced under
`jit`, `checkpoint`, `cond` or `scan`), it does not run it again, and the cached program uses the variables of the call
that it was traced in. Three things prevent this:

- While a call collects, or runs under a trace of its own, a `jax.make_user_context` value is a part of the keys of
  JAX's caches. Once a body inside a transform has used the ambient state, the value changes for good, so that every
  later look-up of that body misses. A body that uses none, such as JAX's own functions, hits from one call to the next.
- In an eager `apply` users expect a cached body to be used again, so there using the ambient state inside a transform
  is an error.
- JAX itself may run one body twice in one call of a transform (`scan` does, if a carry changes its type). Then the
  memory is taken back to where it was before the first run. Marks on the Python frames of the call and of the body say
  which runs belong together; they vanish with those frames.
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
from jax.extend.core import find_top_trace as current_trace
from jax.extend.core import get_opaque_trace_state as trace_state

from jscope._util._stack import lift_for_here
from jscope.errors import NativeTransformError
from jscope.lift._eager import is_eager

# JAX keys its caches by the function, the types of its arguments, and its own settings. A user context is one more
# setting, of which only we know the meaning: with two values a function has two entries, as if it were two functions.
_cache_key = jax.make_user_context()
_serials = itertools.count(1)
_MARK = "__jscope_tf1__"
_NO_TRANSFORM = ("tree_util", "tree")
"""Modules of JAX that call functions without tracing them."""


class _ThreadState(threading.local):
    """The value that the thread's next call enters: nothing cached under it used the state. None during a call."""

    clean_value: int | None = 0


_thread = _ThreadState()


class TraceWatch:
    """Knows in which trace a call runs, and makes JAX's caches miss.

    Attributes:
      eager: Whether the call is an `apply` that runs under no trace at all.
      noted: The trace in which `note_use` did its work last; in the call's own there is nothing to do.
      noted_untraced: What `current_trace` returns there, if nothing is traced; else None.
    """

    def __init__(self, *, collecting: bool) -> None:
        self.eager = not collecting and is_eager()
        # The traces that are open, outermost first, each with its serial number: 0 is the call's own.
        self._traces = [(trace_state(), 0)]
        self._last_serial = 0
        self.noted = self._traces[0][0]
        # A trace must not be kept alive, so it is known by JAX's name for it. Where nothing is traced, it is always one
        # object: to look whether that is the current one takes a third of the time.
        self._untraced = self.noted_untraced = current_trace(()) if self.eager else None
        self._kept_out: Any = None  # The trace for which `keep_out_of_caches` did its work last.
        self._value = 0
        self._borrowed = False
        self._context: Any = None

    def start(self) -> None:
        """Enters a value under which no function in JAX's caches used the ambient state."""
        if self.eager:
            return
        # Each call begins with the value that the thread's last one ended with, not with a new one: what uses no
        # ambient state was cached under it, and is found again. A call inside a call gets a value of its own: what it
        # caches may use the state of both.
        lent, _thread.clean_value = _thread.clean_value, None
        self._borrowed, self._value = lent is not None, lent or next(_serials)
        self._context = _cache_key(self._value)
        self._context.__enter__()

    def stop(self) -> None:
        """Goes back to the value around the call. From now on there is no trace in which nothing is to be done."""
        self.noted = self.noted_untraced = None
        if self._context is not None:
            self._context.__exit__(None, None, None)
            if self._borrowed:
                _thread.clean_value = self._value

    @property
    def outside(self) -> bool:
        """Whether no JAX transform was entered since the call began."""
        return self._traces[0][0] == trace_state()

    @property
    def untraced(self) -> bool:
        """Whether nothing is traced where the code runs, neither around the call nor in it."""
        return self._untraced is not None and current_trace(()) is self._untraced

    def note_use(self, ambient: Any, action: str, subject: Any) -> Any:
        """Does what is to be done where code uses the ambient state; returns the memory to go back to, if any."""
        here = trace_state()
        serial, new = self._find_trace(here)
        # In the call's own trace nothing is cached but the call itself, and that has the variables as arguments.
        if serial and self.eager:
            self._refuse_compiled(action.format(subject))
        self.noted, self.noted_untraced = here, None if serial else self._untraced
        if not serial:
            return None
        self.keep_out_of_caches()
        return _memory_before_first_run(ambient) if new else None

    def keep_out_of_caches(self) -> None:
        """Makes JAX miss from now on what it is tracing now, because that uses the ambient state."""
        here = trace_state()
        if self.eager or here == self._traces[0][0] or here == self._kept_out:
            return
        # JAX looked up the bodies that it is tracing now under earlier values, and will store them under those. No
        # look-up comes back to them: the value only ever grows, until `stop` leaves all of them at once.
        self._kept_out, self._value = here, next(_serials)
        _cache_key(self._value).__enter__()

    def _find_trace(self, here: Any) -> tuple[int, bool]:
        """Returns the serial number of the trace, and whether it is a new one."""
        # Traces nest. So what lies above a trace that is on the stack has ended, and one that is not on it is new.
        while self._traces[-1][0] != here:
            if any(known == here for known, _ in self._traces):
                self._traces.pop()
            else:
                self._last_serial += 1
                self._traces.append((here, self._last_serial))
                return self._last_serial, True
        return self._traces[-1][1], False

    def _refuse_compiled(self, action: str) -> None:
        # The params are arrays here, so they would be constants of the program. To be right, every call would have to
        # miss and compile the program again, which is not what anybody means by `jit`: so it is an error. `grad` and
        # `vmap` run their function each time and keep nothing. The sum of two constants shows which it is: only where a
        # program is being made is it a tracer.
        if isinstance(jax.lax.add(1, 1), Tracer):
            raise NativeTransformError(
                f"{action} inside a JAX transform, in an `apply` that is not itself under `jax.jit`: JAX would keep "
                "the function in its cache, and use these same variables with other params.\n"
                "Call `jax.jit(model.apply)`. Or pass the variables in: write the function as `f(scope, ...)` (which "
                "`tf1.scoped` makes of a TF1-style one) and call "
                f"`{lift_for_here()}(f)(tf1.current_scope(), ...)`."
            )


def _memory_before_first_run(ambient: Any) -> Any:
    """Returns the memory at the first run of this body within one call of a transform, or None if this is the first."""
    # Outermost first: if an outer body runs again, all of it does, and the memory goes back to before all of it.
    for call, body in reversed(list(_boundaries())):
        runs = call.f_locals.get(_MARK)
        if runs is None:
            runs = call.f_locals[_MARK] = {}
        mine = body.f_locals.get(_MARK)
        if mine is None:
            mine = body.f_locals[_MARK] = {}
        # One call of JAX and one piece of code, but another frame: JAX runs the body again. Neither the function nor
        # its arguments could tell, since models make functions anew and JAX passes new tracers.
        known = runs.get(body.f_code)
        if known is None:
            runs[body.f_code] = (mine, ambient, ambient.memory.copied())
        elif known[0] is not mine and known[1] is ambient:
            runs[body.f_code] = (mine, ambient, known[2])
            return known[2]
    return None


def _boundaries() -> Iterator[tuple[types.FrameType, types.FrameType]]:
    """Yields, innermost first, the frame of each call into JAX and that of the user's function which it runs."""
    # The third frame is that of `Ambient.note_use`; those above it are this file's.
    frame, body, call = sys._getframe(3), None, None
    while frame is not None and frame.f_code.co_name != "run_under_ambient":
        module = frame.f_globals.get("__name__", "")
        package = module.partition(".")[0]
        if package in ("jax", "jscope"):
            # The outermost frame of JAX around a body is the call that the user made; jscope's lifts are such calls,
            # too, but neither the facade nor `jax.tree.map` is.
            passed = module.startswith("jscope.tf1") or module.rpartition(".")[2] in _NO_TRANSFORM
            call = frame if body is not None and not passed else call
        elif package not in ("contextlib", "functools"):
            # The last of the user's frames before those of JAX is the function that JAX runs.
            if call is not None and body is not None:
                yield call, body
            body, call = frame, None
        frame = frame.f_back
    if call is not None and body is not None:
        yield call, body
