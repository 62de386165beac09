"""Python need not look for garbage while many objects are made that stay.

It looks for cycles whenever enough new objects have been made. Restoring thousands of small arrays makes that many, and
so does tracing a deep model to find its variables. Almost none of them are garbage, and the search takes a good part of
the time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Turns the garbage collector off inside a `with` block or, as a decorator, inside a function.

    >>> with gc_paused():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:  # A user may have turned it off for good.
            gc.enable()
