"""Files of formats that are not read here: what they are, so that the error can say what to do.

Pickled content is never read: unpickling runs whatever code the file holds.
"""

from __future__ import annotations

import os
from pathlib import Path

from jscope.checkpoint._bundle._table import MAGIC
from jscope.checkpoint._errors import UnsupportedCheckpointError

_PICKLE = "which may hold pickled content: to load it is to run its code, so jscope does not"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_POINTER = b"version https://git-lfs.github.com/spec/"
# A pickle begins with its protocol; later ones with a frame after it, since two bytes alone may be of anything.
_MAGIC = {
    b"\x80\x02": f"a pickle, {_PICKLE}",
    b"\x80\x03": f"a pickle, {_PICKLE}",
    b"\x80\x04\x95": f"a pickle, {_PICKLE}",
    b"\x80\x05\x95": f"a pickle, {_PICKLE}",
    b"PK\x03\x04": f"a zip archive (of PyTorch or NumPy?), {_PICKLE}",
    b"\x93NUMPY": f"a NumPy file, {_PICKLE}",
}


def refuse_foreign(path: Path) -> None:
    """Raises where a file is of a well-known kind that is not read here."""
    refuse_pointer(path)
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(-min(len(MAGIC), os.fstat(file.fileno()).st_size), os.SEEK_END)
        end = file.read()
    # Without this, eight bytes of a key are taken for the length of a header: petabytes.
    if end == MAGIC:
        raise UnsupportedCheckpointError(
            f"`{path}` is in the format that TensorFlow wrote before version 0.12, which is not read here, or it is "
            "the index of a later checkpoint under another name.\nSave it anew, once, by `tf.compat.v1.train.Saver`, "
            "or give it its suffix `.index` again."
        )
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise UnsupportedCheckpointError(
                f"`{path}` is {what}.\nRead it with the library that wrote it, in a process that may be lost, and "
                "write its arrays with `jscope.checkpoint.safetensors.save(path, {name: array})`."
            )


def is_hdf5(path: Path) -> bool:
    """Whether a file is of the format of Keras's weights."""
    with path.open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def refuse_pointer(path: Path) -> None:
    """Raises where a file is what Git has in place of a large one, until that is fetched."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError:
        return
    if start == _POINTER:
        raise UnsupportedCheckpointError(
            f"`{path}` is a Git LFS pointer, not the file that it stands for.\nFetch that: `git lfs pull`."
        )
