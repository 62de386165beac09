"""What can go wrong with a checkpoint, one class per thing a user might want to catch.

    JscopeError
    └── CheckpointError                                     anything below
        ├── CorruptCheckpointError     (ValueError)         not the bytes that were saved
        ├── UnsupportedCheckpointError (ValueError)         of a kind that is not read or written here
        ├── MissingCheckpointError     (FileNotFoundError)  no such checkpoint, or no such step
        ├── CheckpointExistsError      (FileExistsError)    would replace what is there
        ├── CheckpointLockedError      (RuntimeError)       another writer is at work in this directory
        ├── CheckpointWriteError       (OSError)            the disk is full, the directory read-only
        └── ConversionError            (ValueError)         a rule of a conversion, or a table, that cannot be

What does not fit the *model* is not the checkpoint's fault: that is a `StructureMismatchError`, and a variable that is
asked for by a wrong name a `MissingVariableError`.
"""

from __future__ import annotations

from jscope.errors import JscopeError


class CheckpointError(JscopeError):
    """The base of every error about a checkpoint as such."""


class CorruptCheckpointError(CheckpointError, ValueError):
    """The bytes are not those that were saved: truncated, altered, swapped, or never a checkpoint."""


class UnsupportedCheckpointError(CheckpointError, ValueError):
    """The format, or a value to be saved, is of a kind that is not supported: pickled content, say."""


class MissingCheckpointError(CheckpointError, FileNotFoundError):
    """There is no checkpoint at this path, or none of this step."""


class CheckpointExistsError(CheckpointError, FileExistsError):
    """Saving would replace a checkpoint that is there."""


class CheckpointLockedError(CheckpointError, RuntimeError):
    """Another writer is at work in this directory."""


class CheckpointWriteError(CheckpointError, OSError):
    """The operating system refused to write: the disk is full, the directory read-only."""


class ConversionError(CheckpointError, ValueError):
    """A rule of a conversion contradicts itself, or a table is not one. The message begins with the rule."""
