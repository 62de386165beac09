"""Lifts that are called where nothing is traced: each is one compiled function.

There JAX's loops and branches go through all of their Python in each call: they take their arguments apart, look up
what they traced, and check that it fits, before they call what they compiled. A function under `jax.jit` is found by
its arguments alone, in a third of the time. It needs the body to be the same object each time: a `Body` is.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

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
        return functools.partial(_run, _compiled(transform, bodies, tuple(options.items())))
    return functools.partial(transform, *bodies, **options)


@jax.tree_util.register_static
@dataclass(frozen=True, slots=True)
class Around:
    """The containers around some leaves; of a result also which leaves are operands, by their numbers."""

    structure: Any
    passed: tuple[int | None, ...] = ()


def _run(function: Callable[..., Any], *operands: Any) -> Any:
    """Calls a compiled function, and puts the operands that it passes on into their places."""
    # Only once, since a scope that is taken apart gives up its part of the keys.
    given, structure = jax.tree.flatten(operands)
    computed, result = function(given, Around(structure))
    rest = iter(computed)
    return jax.tree.unflatten(result.structure, [next(rest) if i is None else _array(given[i]) for i in result.passed])


def _array(leaf: Any) -> jax.Array:
    # Of a number a program would have made an array. To ask JAX for one takes longer than to see that it is there.
    return leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)


# The limit is that of bodies; these keep no functions of users.
@functools.lru_cache(maxsize=512)
def _compiled(transform: Callable[..., Any], bodies: tuple[Body, ...], options: tuple[tuple[str, Any], ...]) -> Any:
    @functools.wraps(transform)
    def run(given: list[Any], around: Around) -> tuple[list[Any], Around]:
        operands = jax.tree.unflatten(around.structure, given)
        leaves, structure = jax.tree.flatten(transform(*bodies, *operands, **dict(options)))
        # A program would copy what comes out as it went in: the variables that a loop shares, state that nobody wrote.
        numbers = {id(leaf): i for i, leaf in enumerate(given)}
        passed = tuple(numbers.get(id(leaf)) for leaf in leaves)
        return [leaf for leaf, i in zip(leaves, passed, strict=True) if i is None], Around(structure, passed)

    return jax.jit(run)
