"""What Orbax leaves on the disk: a directory with the arrays in it, or one with a directory for each of several items.

`CheckpointManager`, Flax and `save_checkpointables` name their items: `params`, `opt_state`. What is saved without a
name is one item called `state` or `default`, and earlier versions put its files into the directory itself. All of these
can be opened as a whole, and an item by its own directory.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jscope.checkpoint._digest import hexdigest
from jscope.checkpoint._errors import CorruptCheckpointError, UnsupportedCheckpointError

DIGEST = "jscope.digest"
"""The entry of the metadata with the digest of all others, where jscope saved them."""

_METADATA, _TREE, _MANIFEST = "_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"
_TABLES = ("custom_metadata", "item_handlers")
_UNNAMED = ("state", "default")
_OF_ARRAYS = re.compile("(PyTree|Standard)(Checkpoint)?Handler$")


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a checkpoint that holds arrays.

    Attributes:
      root: The directory that Orbax opens.
      name: What the item is called there, None where its files are in `root` itself.
      prefix: What the names of its arrays begin with here.
    """

    root: Path
    name: str | None
    prefix: str = ""


def items_at(path: Path) -> list[Item]:
    """Returns the items of a checkpoint, after a look at the files that each of them must have.

    Raises:
      CorruptCheckpointError: Files of an item are gone.
      UnsupportedCheckpointError: There is no item with arrays.
    """
    if _holds_arrays(path):
        _check_files(path)
        # Orbax opens an item only by the directory that it is in.
        inside = (path.parent / _METADATA).is_file() and not (path / _METADATA).is_file()
        return [Item(path.parent, path.name) if inside else Item(path, None)]
    folders = sorted(each for each in path.iterdir() if each.is_dir())
    handlers = _checkpoint_metadata(path).get("item_handlers") or {}
    named = {name for name, handler in handlers.items() if _OF_ARRAYS.search(str(handler))}
    trees = [each for each in folders if _holds_arrays(each) or each.name in named]
    for folder in trees:
        _check_files(folder)
    if lost := sorted(named - {each.name for each in trees}):
        raise CorruptCheckpointError(f"`{path}` lacks its item `{lost[0]}`: the directory is gone. Copy it again.")
    if not trees:
        raise UnsupportedCheckpointError(
            f"`{path}` has no item with arrays, only {', '.join(f'`{each.name}`' for each in folders) or 'files'}.\n"
            "What Orbax saved as JSON or in another form is read by Orbax."
        )
    if len(trees) == 1 and trees[0].name in _UNNAMED:
        return [Item(path, trees[0].name)]
    return [Item(path, each.name, each.name) for each in trees]


def read_metadata(path: Path) -> dict[str, str]:
    """Returns the metadata that are strings, after comparing those of jscope with their digest."""
    custom = _checkpoint_metadata(path).get("custom_metadata")
    entries = {key: value for key, value in (custom or {}).items() if isinstance(value, str)}
    own = any(key.startswith("jscope.") for key in entries)
    if own and entries.get(DIGEST) != digest_of({key: value for key, value in entries.items() if key != DIGEST}):
        raise CorruptCheckpointError(f"`{path / _METADATA}` does not have the digest that it was saved with.")
    return entries


def digest_of(entries: dict[str, str]) -> str:
    """Returns the digest of metadata."""
    return hexdigest(json.dumps(entries, sort_keys=True).encode())


def _checkpoint_metadata(path: Path) -> dict[str, Any]:
    file = path / _METADATA
    try:
        found = json.loads(file.read_bytes()) if file.exists() else {}
    except ValueError as error:
        raise CorruptCheckpointError(f"`{file}` is not JSON: {error}.") from error
    if not isinstance(found, dict) or not all(isinstance(found.get(key) or {}, dict) for key in _TABLES):
        raise CorruptCheckpointError(f"`{file}` is not what Orbax writes there: {str(found)[:100]}.")
    return found


def _holds_arrays(folder: Path) -> bool:
    return (folder / _TREE).is_file() or (folder / _MANIFEST).is_file()


def _check_files(folder: Path) -> None:
    """Raises where a table of contents is gone, which Orbax takes for an empty checkpoint."""
    tree = folder / _TREE
    try:
        # The form before OCDBT has a directory for each array, and no manifest.
        needed = [_TREE, _MANIFEST] if json.loads(tree.read_bytes()).get("use_ocdbt", True) else [_TREE]
    except FileNotFoundError:
        needed = [_TREE]
    except (ValueError, AttributeError) as error:
        raise CorruptCheckpointError(f"`{tree}` is not what Orbax writes there: {error}.") from error
    for name in needed:
        if not (folder / name).is_file():
            raise CorruptCheckpointError(
                f"`{folder}` lacks the file `{name}`, without which Orbax finds no array.\nCopy the directory again "
                "from where it was saved, all its files together."
            )
