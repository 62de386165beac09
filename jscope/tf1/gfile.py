"""`tf.gfile`: files of this machine."""

from __future__ import annotations

import glob
import os
import shutil
from typing import Any

exists = Exists = os.path.exists
IsDirectory = isdir = os.path.isdir
ListDirectory = listdir = os.listdir
Glob = glob.glob
Copy = copy = shutil.copyfile
Rename = rename = os.replace
Stat = stat = os.stat
Walk = walk = os.walk
Remove = remove = os.remove
DeleteRecursively = rmtree = shutil.rmtree


def GFile(name: Any, mode: str = "r") -> Any:  # noqa: N802 - TensorFlow's name.
    """Opens a file."""
    return open(name, mode)


Open = FastGFile = OpenFast = FileIO = GFile


def MakeDirs(path: Any) -> None:  # noqa: N802 - TensorFlow's name.
    """Makes a folder, and those above it."""
    os.makedirs(path, exist_ok=True)


makedirs = MkDir = MakeDirs
