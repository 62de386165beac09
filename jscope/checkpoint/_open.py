"""Opening a checkpoint of any format: what a path holds is told by what lies there, not by its name."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jscope._util import _text
from jscope.checkpoint import tensorbundle
from jscope.checkpoint._errors import MissingCheckpointError
from jscope.checkpoint._other_formats import is_hdf5
from jscope.checkpoint._reader import Reader
from jscope.checkpoint._safetensors._index import SUFFIX, IndexReader
from jscope.checkpoint._safetensors._reader import SafetensorsReader
from jscope.checkpoint._step import is_step, open_step, steps

_ORBAX = ("_METADATA", "_sharding", "manifest.ocdbt")
_FILE_OF_BUNDLE = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")
_TENSORFLOW = ("checkpoint", "saved_model.pb")


def load_checkpoint(path: str | os.PathLike[str]) -> Reader:
    """Returns a reader of the checkpoint at `path`, as `tf.train.load_checkpoint` does; no array is read yet.

    >>> import tempfile
    >>> from jscope import checkpoint
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> checkpoint.safetensors.save(path, {"enc": {"w": np.ones((2, 3), np.float32)}})
    >>> checkpoint.load_checkpoint(path).get_tensor("enc/w").sum()
    np.float32(6.0)

    Args:
      path: A safetensors file; a folder of Hugging Face, with one such file or with an index of several; the directory
        of a `Checkpointer` (then its last step), or one step of it; a directory that Orbax wrote; a checkpoint of
        TensorFlow, by its prefix, any of its files or its directory; weights of Keras, `.weights.h5` or `.keras`, where
        h5py is installed. A variable of Keras's is named by its layers and its position: `encoder/hidden/0`.

    Raises:
      MissingCheckpointError: There is none of these.
      UnsupportedCheckpointError: It is of another kind, such as a pickle.
    """
    location = Path(path)
    if location.is_dir():
        return _open_directory(location)
    if location.name.endswith(SUFFIX) and location.is_file():
        return IndexReader(location)
    if location.is_file() and (location.suffix == ".keras" or is_hdf5(location)):
        return importlib.import_module("jscope.checkpoint._keras").open(location)
    if _FILE_OF_BUNDLE.search(location.name) or location.with_name(location.name + ".index").is_file():
        return _tensorflow(location)
    if location.name == _TENSORFLOW[0] and location.is_file():  # It says which is the latest, as does its directory.
        return _tensorflow(location.parent)
    if location.is_file():
        return SafetensorsReader(location)
    near = [entry.name for entry in location.parent.iterdir()] if location.parent.is_dir() else []
    raise MissingCheckpointError(f"There is no checkpoint `{location}`.{_text.did_you_mean(location.name, near)}")


def read_checkpoint(path: str | os.PathLike[str], read: Callable[[Reader], Any]) -> Any:
    """Returns what `read` makes of the checkpoint at `path`; where that is deleted meanwhile, of the step before it."""
    while True:
        reader = load_checkpoint(path)
        try:
            return read(reader)
        except MissingCheckpointError:
            # Only a directory of steps has another; a bundle without its data file stays as it is.
            if os.path.lexists(reader.path) or not steps(Path(path)):
                raise


def list_variables(path: str | os.PathLike[str]) -> list[tuple[str, list[int]]]:
    """Returns name and shape of every array in a checkpoint, by name, as `tf.train.list_variables` does.

    >>> import tempfile
    >>> from jscope import checkpoint
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> checkpoint.safetensors.save(path, {"w": np.ones((2, 3)), "b": np.ones(3)})
    >>> checkpoint.list_variables(path)
    [('b', [3]), ('w', [2, 3])]
    """
    return sorted(load_checkpoint(path).get_variable_to_shape_map().items())


def load_variable(path: str | os.PathLike[str], name: str) -> np.ndarray:
    """Returns one array of a checkpoint, as `tf.train.load_variable` does.

    >>> import tempfile
    >>> from jscope import checkpoint
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> checkpoint.safetensors.save(path, {"w": np.ones((2, 3)), "b": np.ones(3)})
    >>> checkpoint.load_variable(path, "b")
    array([1., 1., 1.])
    """
    return read_checkpoint(path, lambda reader: reader.get_tensor(name))


def _open_directory(location: Path) -> Reader:
    names = sorted(entry.name for entry in location.iterdir())
    files = [name for name in names if name.endswith((SUFFIX, ".safetensors"))]
    # The order matters: a step has a safetensors file in it, and a directory of steps may have any other file.
    if is_step(location):
        return open_step(location)
    for step in reversed(steps(location)):
        with contextlib.suppress(MissingCheckpointError):  # Deleted by its writer, after it was listed.
            return open_step(location / str(step))
    if any(name in _TENSORFLOW or name.endswith(".index") for name in names):
        return _tensorflow(location)
    if indices := [name for name in files if name.endswith(SUFFIX)]:
        return IndexReader(location / indices[0])
    if len(files) == 1:
        return SafetensorsReader(location / files[0])
    if any(name in _ORBAX for name in names):
        return importlib.import_module("jscope.checkpoint._orbax._store").open(location)
    there = f"there are {', '.join(f'`{name}`' for name in names[:8])}" if names else "it is empty"
    which = " Say which file." if files else ""
    raise MissingCheckpointError(
        f"In `{location}` there is no checkpoint of a format that jscope knows; {there}.{which}"
    )


def _tensorflow(location: Path) -> Reader:
    return tensorbundle.open(location)
