"""Writing so that a reader sees all of it or nothing, whenever the power fails.

What is written goes under a temporary name first, then to the disk (`fsync`), and only then to its place, by a rename,
which the operating system does at once or not at all. What the operating system refuses is a `CheckpointWriteError`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from jscope.checkpoint._errors import CheckpointExistsError, CheckpointWriteError

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None

BUFFER = 1 << 20
"""Bytes to collect before they are given to the operating system."""

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
def replacing(path: Path, *, mode_of: Path | None = None) -> Iterator[Path]:
    """Yields a temporary file to write to, which then replaces `path`; on error nothing changes.

    It has the permissions of what it replaces, or of `mode_of`; and it is locked while it is written, so that what a
    killed process left can be told from what another process is writing.
    """
    with refusals(path):
        _clear_left(path)
        scratch, descriptor = _locked_scratch(path, mode_of or path)
        try:
            yield scratch
            os.replace(scratch, path)
            # The rename is in the directory, not in the file: without this, a loss of power may undo it.
            sync(path.parent)
        finally:
            scratch.unlink(missing_ok=True)
            if descriptor is not None:
                os.close(descriptor)


def _locked_scratch(path: Path, mode_of: Path) -> tuple[Path, int | None]:
    """Makes a temporary file for `path`; returns it and the descriptor that holds its lock, where there are locks."""
    scratch = temporary(path)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with contextlib.suppress(OSError):
        os.chmod(scratch, mode_of.stat().st_mode & 0o777)
    if fcntl is None:  # Windows would not rename an open file.
        os.close(descriptor)
        return scratch, None
    with contextlib.suppress(OSError):  # A file system without locks: nothing is cleared there, either.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    if not scratch.exists():  # It was taken for a left one between the last two steps.
        os.close(descriptor)
        return _locked_scratch(path, mode_of)
    return scratch, descriptor


def _clear_left(path: Path) -> None:
    """Deletes temporary files of `path` that processes have left which were killed while they wrote them."""
    if fcntl is None or not path.parent.is_dir():
        return
    left = re.compile(re.escape(f".{path.name}.tmp-") + "[0-9a-f]{16}")
    for entry in path.parent.iterdir():
        if not left.fullmatch(entry.name):
            continue
        with contextlib.suppress(OSError), entry.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            entry.unlink()


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
            check_free(path)
            os.rename(scratch, path)
            sync(path.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turns what the operating system says into an error that says what to do."""
    try:
        yield
    except (CheckpointExistsError, CheckpointWriteError):  # It was told with the name of a file already.
        raise
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise CheckpointExistsError(f"`{path}` is there already, written by another program meanwhile.") from error
        refused = CheckpointWriteError(
            f"Nothing was saved to `{path}`: {error.strerror or error}.{_advice(error, path)}"
        )
        refused.errno = error.errno
        raise refused from error


def reserve(descriptor: int, size: int) -> None:
    """Has the room on the disk set apart: writing is twice as fast then, and a full disk is known before."""
    if hasattr(os, "posix_fallocate") and size:
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            # Some file systems cannot; then the disk may turn out to be full later on.
            if error.errno not in (errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP, errno.ENOSYS):
                raise


def sync(path: Path) -> None:
    """Has the operating system write a file or directory to the disk. Windows has no such thing for directories."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(path: Path) -> None:
    """Has the operating system write a directory to the disk, all that is in it, and its name."""
    for folder, _, files in os.walk(path, topdown=False):
        for each in (*files, "."):
            sync(Path(folder, each))
    sync(path.parent)


def make_directory(path: Path) -> None:
    """Makes a directory and those above it that are not there, and has their names written to the disk."""
    if not path.exists():
        make_directory(path.absolute().parent)
        path.mkdir(exist_ok=True)
        sync(path.absolute().parent)


def write_text(path: Path, text: str) -> None:
    """Writes a small file to the disk."""
    with path.open("w", encoding="utf8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def check_free(path: Path) -> None:
    """Raises if there is something at `path` already."""
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
