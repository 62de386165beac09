"""Lifts that are called where nothing is traced: each is one compiled function.

There JAX's loops and branches go through all of their Python in each call: they take their arguments apart, look up
what they traced, and check that it fits, before they call what they compiled. A function under `jax.jit` is found by
its arguments alone, in a third of the time. It needs the body to be the same object each time: a `Body` is.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import jax

from jscope._scope import Scope
from jscope._util._lazy import trace_state
from jscope.lift._kept import Body


def is_eager() -> bool:
    """Whether this thread runs under no trace of JAX."""
    return trace_state() == _outside_of_traces()


# This may be asked first inside a trace. A new thread is in none.
@functools.cache
def _outside_of_traces() -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(trace_state()))
    thread.start()
    thread.join()
    return found[0]


def compiled(scope: Scope, transform: Callable[..., Any], *bodies: Callable[..., Any], **options: Any) -> Any:
    """Returns what runs `transform(*bodies, *operands, **options)` on the operands."""
    # Under a trace it would be one more function in the program.
    if all(isinstance(body, Body) for body in bodies) and not scope.collecting and is_eager():
        return _compiled(transform, bodies, tuple(options.items()))
    return functools.partial(transform, *bodies, **options)


# As many as there are bodies: these end with them.
@functools.lru_cache(maxsize=512)
def _compiled(transform: Callable[..., Any], bodies: tuple[Body, ...], options: tuple[tuple[str, Any], ...]) -> Any:
    return jax.jit(functools.wraps(transform)(functools.partial(transform, *bodies, **dict(options))))
