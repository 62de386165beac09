"""Saves that must end before the interpreter does.

A save that goes on in threads needs the executors of `concurrent.futures`, and these shut down before the functions of
`atexit` run: waiting there is too late, and the save is lost without a word. The hook that runs earlier is the one by
which these executors themselves learn of the end. It is not documented; where it is gone, `awaited` says so, and saving
does not go on in threads.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from functools import cache

_waits: list[Callable[[], None]] = []


def awaited(wait: Callable[[], None]) -> bool:
    """Has `wait` called before the interpreter shuts down its executors; false where that cannot be had."""
    if not _registered():
        return False
    _waits.append(wait)
    return True


def forget(wait: Callable[[], None]) -> None:
    """Takes back what `awaited` was told."""
    if wait in _waits:
        _waits.remove(wait)


@cache
def _registered() -> bool:
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        register(_wait_for_all)
    return register is not None


def _wait_for_all() -> None:
    while _waits:
        try:
            _waits.pop()()
        except Exception:  # The others must end, too.
            traceback.print_exc()
