"""How things are timed.

A machine drifts by more than what is measured here. So each process runs its library in turns with JAX by hand, and
what counts is the ratio of two neighbours. JAX by hand goes through the same, against itself: how far that ratio
strays from 1 is the noise. Tracing is the work of one thread, and timed in the seconds that this thread computes.
"""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager

import jax

COMPILE = "/jax/core/compile/backend_compile_duration"


def seconds(function, clock=time.perf_counter):
    """Returns the seconds that `function()` takes, until what it returns is computed."""
    start = clock()
    jax.block_until_ready(function())
    return clock() - start


def paired(function, raw, *, budget, least, most=200, clock=time.perf_counter):
    """Returns two lists of seconds, `function` and `raw` in turns for `budget` seconds, after two calls of each."""
    # The first calls compile, and would say nothing of how many there is time for.
    _, both = (seconds(function) + seconds(raw) for _ in range(2))
    times = [], []
    with no_collection():
        for i in range(min(most, max(least, int(budget / both)))):
            # Neither always goes first: the one that does finds other data in the caches.
            for which in (0, 1) if i % 2 else (1, 0):
                times[which].append(seconds((function, raw)[which], clock))
                gc.collect(0)
    return times


@contextmanager
def no_collection():
    """Keeps the garbage collector out of what is timed."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


@contextmanager
def compiles():
    """Yields a list that gets the seconds of each program that XLA compiles meanwhile.

    >>> with compiles() as durations:
    ...     _ = jax.jit(lambda x: x + 1).lower(1.0).compile()
    >>> len(durations)
    1
    """
    durations, listening = [], [True]

    def listen(event, duration, **_):
        if event == COMPILE and listening[0]:
            durations.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield durations
    listening[0] = False
