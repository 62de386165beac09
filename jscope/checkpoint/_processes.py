"""Processes: one writer to a directory, all of a program or none, and saves that end before their process does.

- `Lock`: the lock is the operating system's, held by an open file: it ends with the process, however that ends. Where
  the system has no such locks (Windows, some network file systems), two writers are only told apart when they save the
  same step.
- `disown_after_fork`: a child has copies of everything that its parent has, but neither its threads nor the right to
  write.
- `together`: where one process of a program cannot go on, none does. Otherwise the others would wait for it, for as
  long as JAX lets them.
- `awaited`: a save that goes on in threads needs the executors of `concurrent.futures`, and these shut down before the
  functions of `atexit` run: waiting there is too late, and the save is lost without a word. The hook that runs earlier
  is the one by which these executors themselves learn of the end. It is not documented; where it is gone, or comes too
  late, `awaited` says so, and saving does not go on in threads.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from jscope.checkpoint._errors import CheckpointError, CheckpointLockedError
from jscope.checkpoint._files import fcntl, make_directory, refusals

NAME = ".lock"

# CPython gh-113964: these refuse new threads as soon as the main one has ended, before any hook could run.
_REFUSES_THREADS = (3, 12) <= sys.version_info[:3] < (3, 12, 3)

_waits: list[Callable[[], None]] = []
_disowns: list[weakref.WeakMethod[Callable[[], None]]] = []


class Lock:
    """The right to write to a directory, from when this is made until `release`, or the end of the process."""

    def __init__(self, directory: Path) -> None:
        path = directory / NAME
        with refusals(directory):
            make_directory(directory)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        # Closing the file ends the lock; a finalizer, so that a forgotten writer does not stand in the way.
        self.release = weakref.finalize(self, os.close, descriptor)
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace") or "another program"
            holder = "another `Checkpointer` of this process" if holder == _me() else holder
            self.release()
            raise CheckpointLockedError(
                f"`{directory}` is being written to by {holder}.\nClose that one (`with Checkpointer(...)` does it), "
                "or save to another directory."
            ) from None
        except OSError:  # A file system without locks.
            return
        # Only after the lock is had: until then, the text is that of the holder.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _me().encode(), 0)


def _me() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def disown_after_fork(disown: Callable[[], None]) -> None:
    """Has a method called in every process that is forked from this one, as long as its object lives."""
    _disowns[:] = [each for each in _disowns if each() is not None]
    _disowns.append(weakref.WeakMethod(disown))


def _after_fork() -> None:
    _waits.clear()
    for each in _disowns:
        if disown := each():
            disown()


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def together(what: str, *, shared: bool) -> Iterator[None]:
    """Runs a block in all processes; where one raises an error, the others raise one that names it.

    If it is not `shared`, by all processes, this does nothing.

    Raises:
      CheckpointError: `what` failed in another process.
    """
    problem = None
    try:
        yield
    except Exception as error:
        problem = error
    if shared and jax.process_count() > 1:
        troubled = np.flatnonzero(multihost_utils.process_allgather(np.array(problem is not None)))
        if problem is None and troubled.size:
            problem = CheckpointError(
                f"{what}: process {troubled[0]} of {jax.process_count()} cannot, and has raised an error that says why."
            )
    if problem is not None:
        raise problem


def awaited(wait: Callable[[], None]) -> bool:
    """Has `wait` called before the interpreter shuts down its executors. Returns whether that can be had."""
    if _REFUSES_THREADS or not _registered():
        return False
    _waits.append(wait)
    return True


def forget(wait: Callable[[], None]) -> None:
    """Takes back what `awaited` was told."""
    if wait in _waits:
        _waits.remove(wait)


@cache
def _registered() -> bool:
    try:
        # The last that registers is called first: before the executors, which have done so when they were imported.
        threading._register_atexit(_wait_for_all)  # pyright: ignore[reportAttributeAccessIssue]
    except (AttributeError, RuntimeError):  # There is none in this Python, or the interpreter is shutting down already.
        return False
    return True


def _wait_for_all() -> None:
    while _waits:
        try:
            _waits.pop()()
        except Exception:  # The others must end, too.
            traceback.print_exc()
