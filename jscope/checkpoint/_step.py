"""What a `Checkpointer` leaves on the disk: a directory with one directory per step, named by its number.

A step has everything in one safetensors file, beside it the specs as JSON for people to read; or it is a directory of
Orbax. It gets its name when it is complete, so whatever has the name of a step is one.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jscope._specs import Specs
from jscope.checkpoint._digest import hexdigest
from jscope.checkpoint._errors import CorruptCheckpointError, MissingCheckpointError, UnsupportedCheckpointError
from jscope.checkpoint._files import creating, write_text
from jscope.checkpoint._reader import Reader
from jscope.checkpoint._safetensors._reader import SafetensorsReader
from jscope.checkpoint._safetensors._writer import write_file

VERSION, STEP, SPECS = "jscope.version", "jscope.step", "jscope.specs"
"""Entries of a step's metadata: the version of this layout, the number of the step, the specs or their digest."""

CURRENT = "1"
ARRAYS, SPECS_FILE = "arrays.safetensors", "specs.json"
ORBAX = "_CHECKPOINT_METADATA"
"""The file by which one knows a directory that Orbax finished."""


def steps(directory: Path) -> list[int]:
    """Returns the steps that were finished, in order."""
    if not directory.is_dir():
        return []
    names = [entry.name for entry in directory.iterdir() if entry.name.isdecimal()]
    # `007` and digits of other scripts are not names that `save` gives.
    return sorted(int(name) for name in names if name == str(int(name)) and is_step(directory / name))


def is_step(path: Path) -> bool:
    """Whether a directory is a finished step."""
    return (path / ARRAYS).is_file() or (path / ORBAX).is_file()


def write_step(path: Path, arrays: Mapping[str, Any], metadata: Mapping[str, str], specs: Specs | None) -> None:
    """Writes a step as safetensors; it gets its name when it is on the disk."""
    with creating(path) as scratch:
        entries = dict(metadata)
        if specs is not None:
            text = specs.to_json()
            write_text(scratch / SPECS_FILE, text)
            # The digest lies in the header of the arrays, whose own digest covers it.
            entries[SPECS] = hexdigest(text.encode())
        write_file(scratch / ARRAYS, arrays, entries)


def open_step(path: Path) -> Reader:
    """Returns a reader of one step."""
    if (path / ARRAYS).is_file():
        reader: Reader = SafetensorsReader(path / ARRAYS)
    else:
        reader = importlib.import_module("jscope.checkpoint._orbax._store").open(path)
    version, found = reader.metadata.get(VERSION, CURRENT), reader.metadata.get(STEP, path.name)
    if version != CURRENT:
        raise UnsupportedCheckpointError(
            f"`{path}` is in version {version} of the layout, and this jscope knows only {CURRENT}. Update jscope."
        )
    # A copy under a name that is not a number, such as `best`, is welcome.
    if path.name.isdecimal() and found != path.name:
        raise CorruptCheckpointError(f"`{path}` holds step {found}, not {path.name}: files were swapped or renamed.")
    return reader


def read_specs(path: Path, reader: Reader) -> Specs:
    """Returns the specs that were saved with a step."""
    kept = reader.metadata.get(SPECS)
    if kept is None:
        raise MissingCheckpointError(f"`{path}` was saved without specs: `save(step, specs=specs, ...)` keeps them.")
    if not (path / ARRAYS).is_file():
        return Specs.from_json(kept)
    if not (path / SPECS_FILE).is_file():
        raise CorruptCheckpointError(f"`{path / SPECS_FILE}` is gone; it was saved with the step.")
    text = (path / SPECS_FILE).read_bytes().decode(errors="replace")
    if hexdigest(text.encode()) != kept:
        raise CorruptCheckpointError(f"`{path / SPECS_FILE}` is not what was saved with the step.")
    return Specs.from_json(text)


def missing_step(directory: Path, step: int | None) -> MissingCheckpointError:
    """Returns the error for a step that does not exist, with those that do."""
    if step is None:
        return MissingCheckpointError(f"`{directory}` has no checkpoint: `latest_step()` is None before the first one.")
    there = steps(directory)
    listing = f"there are the steps {', '.join(map(str, there))}" if there else "there is none"
    return MissingCheckpointError(f"`{directory}` has no step {step}; {listing}.")
