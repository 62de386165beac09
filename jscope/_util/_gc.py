"""No search for garbage while many objects are made that stay.

Python looks for cycles whenever enough new objects have come. Restoring thousands of small arrays makes so many, and so
does tracing a deep model to find out its variables. Next to none of them are garbage, and looking takes a good part of
the time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Turns the garbage collector off for a while; also a decorator.

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
        if enabled:
            gc.enable()
