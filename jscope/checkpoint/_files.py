"""Writing so that a reader sees all of it or nothing, whenever the power fails.

What is written goes under a temporary name first, then to the disk (`fsync`), and only then to its place, by a rename,
which the operating system does at once or not at all. What the operating system refuses is a `CheckpointWriteError`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from jscope.checkpoint._errors import CheckpointExistsError, CheckpointWriteError

# Quotas, and the limit of a process or file system on one file, call for the same advice.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def temporary(path: Path) -> Path:
    """Returns a free name beside `path`, which sorts as hidden and is never taken for a checkpoint.

    >>> temporary(Path("run/100")).name.startswith(".100.tmp-")
    True
    """
    return path.with_name(f".{path.name}.tmp-{secrets.token_hex(8)}")


def is_temporary(name: str) -> bool:
    """Whether a file of this name was left by a write that never ended.

    >>> is_temporary(".100.tmp-00ff"), is_temporary("100")
    (True, False)
    """
    return (name.startswith(".") and ".tmp-" in name) or ".orbax-checkpoint-tmp" in name


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write a file to, which then replaces `path`; on error nothing changes."""
    scratch = temporary(path)
    try:
        with refusals(path):
            yield scratch
            os.replace(scratch, path)
            # The rename is in the directory, not in the file: without this, a loss of power may undo it.
            sync(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def creating(path: Path) -> Iterator[Path]:
    """Yields a temporary directory to write to, which then becomes the new directory `path`; on error nothing changes.

    Raises:
      CheckpointExistsError: `path` is there already.
    """
    scratch = temporary(path)
    try:
        with refusals(path):
            scratch.mkdir(parents=True)
            yield scratch
            # The names of the files in it, before it is seen; whoever writes the files syncs their bytes.
            sync(scratch)
            _check_free(path)
            os.rename(scratch, path)
            sync(path.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turns what the operating system says into an error that says what to do."""
    try:
        yield
    except CheckpointExistsError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise CheckpointExistsError(f"`{path}` is there already, written by another program meanwhile.") from error
        refused = CheckpointWriteError(
            f"Nothing was saved to `{path}`: {error.strerror or error}.{_advice(error, path)}"
        )
        refused.errno = error.errno
        raise refused from error


def sync(path: Path) -> None:
    """Has the operating system write a file or directory to the disk. Windows has no such thing for directories."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes a small file to the disk."""
    with path.open("w", encoding="utf8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _check_free(path: Path) -> None:
    # POSIX would let an empty directory be replaced.
    if path.exists():
        raise CheckpointExistsError(f"`{path}` is there already. Delete it first, or save under another name.")


def _advice(error: OSError, path: Path) -> str:
    if error.errno in _FULL:
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(_existing(path)).free
            return f" There are {free:,} bytes free. Make room, or lower `keep=`; what was saved before is still there."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f" Make `{_existing(path)}` writable, or save elsewhere."
    if error.errno == errno.ENOENT:
        return " Make the directory first."
    return ""


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.absolute().parents) if each.exists())
