"""Which checkpoint a path means.

A path is a prefix, one of its files, or a directory: then its text file `checkpoint` names the latest prefix, as
`tf.train.latest_checkpoint` would find it, or it is a SavedModel, which has its variables in a folder of that name.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from jscope._util import _text
from jscope.checkpoint._bundle._table import MAGIC
from jscope.checkpoint._errors import CorruptCheckpointError, MissingCheckpointError, UnsupportedCheckpointError

STATE = "checkpoint"
INDEX = ".index"
_FILE = re.compile(r"(\.index|\.data-\d{5}-of-\d{5})$")
# The text form of protocol buffers, as much of it as the one message of this file has.
_FIELD = rb'^\s*%s\s*:\s*"((?:[^"\\\n]|\\.)*)"\s*$'
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))")
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}
_MOST = 1 << 24  # Bytes of a state file: more is something else.


def data_file(prefix: str, shard: int, shards: int) -> str:
    """Returns the path of one data file.

    >>> data_file("model.ckpt-1", 0, 2)
    'model.ckpt-1.data-00000-of-00002'
    """
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def prefix_of(path: str | os.PathLike[str]) -> str:
    """Returns the prefix that a path means, after looking for its index.

    Raises:
      MissingCheckpointError: There is none.
      CorruptCheckpointError: The state file of a directory cannot be read.
      UnsupportedCheckpointError: It is of the format that TensorFlow had before this one.
    """
    text = os.fspath(path)
    prefix = _in_directory(Path(text)) if os.path.isdir(text) else _FILE.sub("", text)
    # A path with a NUL cannot be a file, and asking for it would raise a bare ValueError.
    if "\0" not in prefix and os.path.isfile(prefix + INDEX):
        return prefix
    if "\0" not in prefix and os.path.isfile(prefix) and _is_table(Path(prefix)):
        raise UnsupportedCheckpointError(
            f"`{prefix}` is in the format that TensorFlow wrote before version 0.12, which is not read here.\nSave it "
            "anew, once, by `tf.compat.v1.train.Saver`."
        )
    raise MissingCheckpointError(_missing(text, prefix))


def latest(state_file: Path) -> list[str]:
    """Returns the prefixes that a state file names: the latest, then all others."""
    try:
        with state_file.open("rb") as file:
            text = file.read(_MOST)
    except OSError as error:
        raise MissingCheckpointError(f"`{state_file}` cannot be read: {error.strerror}.") from error
    found = [
        _unquoted(match)
        for field in (b"model_checkpoint_path", b"all_model_checkpoint_paths")
        for match in re.findall(_FIELD % field, text, re.MULTILINE)
    ]
    return list(dict.fromkeys(found))


def state_text(prefixes: list[str]) -> str:
    """Returns the content of a state file: the latest prefix first in `prefixes`, as `latest` gives them."""
    newest, *older = map(_quoted, prefixes)
    lines = [f'model_checkpoint_path: "{newest}"']
    lines += [f'all_model_checkpoint_paths: "{each}"' for each in (*older, newest)]
    return "\n".join(lines) + "\n"


def _is_table(path: Path) -> bool:
    """Whether a file ends as an index does."""
    with path.open("rb") as file:
        file.seek(-min(len(MAGIC), path.stat().st_size), os.SEEK_END)
        return file.read() == MAGIC


def _in_directory(directory: Path) -> str:
    """Returns the prefix that a directory means."""
    state_file = directory / STATE
    if state_file.is_file():
        named = latest(state_file)
        if not named:
            raise CorruptCheckpointError(
                f"`{state_file}` names no checkpoint: it has no line `model_checkpoint_path: ...`.\nGive the prefix "
                f"of a checkpoint in place of the directory.{_listed(directory)}"
            )
        # A directory that was moved may be named by where it was.
        found = directory / named[0]
        return str(found if os.path.isfile(f"{found}{INDEX}") else directory / found.name)
    saved_model = directory / "variables" / "variables"
    if os.path.isfile(f"{saved_model}{INDEX}"):
        return str(saved_model)
    prefixes = _prefixes(directory)
    if len(prefixes) != 1:
        raise MissingCheckpointError(
            f"`{directory}` has no file `{STATE}` that says which checkpoint is the latest, and holds {len(prefixes)} "
            f"of TensorFlow's.{' Give the prefix of one.' if prefixes else ''}{_listed(directory)}"
        )
    return str(directory / prefixes[0])


def _prefixes(directory: Path) -> list[str]:
    """Returns the names of the checkpoints in a directory."""
    with contextlib.suppress(OSError):
        return sorted(name.removesuffix(INDEX) for name in os.listdir(directory) if name.endswith(INDEX))
    return []


def _listed(directory: Path) -> str:
    names = _prefixes(directory)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f" It holds {', '.join(f'`{name}`' for name in names[:8])}{more}." if names else ""


def _missing(path: str, prefix: str) -> str:
    directory, name = os.path.split(prefix)
    near = _text.did_you_mean(name, _prefixes(Path(directory or ".")) if "\0" not in prefix else [])
    return (
        f"There is no TensorFlow checkpoint at {path!r}: no file {prefix + INDEX!r}.{near}\n"
        "Give what TensorFlow calls the prefix, such as `model.ckpt-1000`, or the directory with the file "
        f"`{STATE}`."
    )


def _unquoted(text: bytes) -> str:
    def meant(match: re.Match[bytes]) -> bytes:
        hexadecimal, octal, other = match.groups()
        if other is not None:
            return _LETTERS.get(other, other)
        return bytes([int(octal, 8) & 0xFF if octal else int(hexadecimal, 16)])

    return os.fsdecode(_ESCAPE.sub(meant, text))


def _quoted(text: str) -> str:
    plain = {ord('"'): '\\"', ord("\\"): "\\\\"}
    return "".join(plain.get(byte, chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in os.fsencode(text))
