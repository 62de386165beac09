"""One writer to a directory.

The lock is the operating system's, held by an open file: it ends with the process, however that ends. Where the system
has no such locks (Windows, some network file systems), two writers are only told apart when they save the same step.
"""

from __future__ import annotations

import contextlib
import os
import platform
import weakref
from pathlib import Path

from jscope.checkpoint._errors import CheckpointLockedError
from jscope.checkpoint._files import refusals

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None

NAME = ".lock"


class Lock:
    """The right to write to a directory, from when this is made until `release`, or the end of the process."""

    def __init__(self, directory: Path) -> None:
        path = directory / NAME
        with refusals(directory):
            directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
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
        except OSError:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _me().encode(), 0)


def _me() -> str:
    return f"process {os.getpid()} on {platform.node()}"
