"""What every format looks like from outside: names, shapes, dtypes, and one array at a time.

A `Reader` is TensorFlow's `CheckpointReader`: opening it reads the table of contents and no array, `get_tensor` reads
one array. What loads, compares, converts or lists checkpoints is written against this protocol, so that it works for
every format, and for what `tf.train.load_checkpoint` returns, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Reader(Protocol):
    """An open checkpoint.

    >>> import tempfile
    >>> from jscope import checkpoint
    >>> path = tempfile.mkdtemp() + "/a.safetensors"
    >>> checkpoint.safetensors.save(path, {"enc": {"w": np.ones((2, 3), np.float32)}})
    >>> reader = checkpoint.load_checkpoint(path)
    >>> isinstance(reader, checkpoint.Reader), reader.get_variable_to_shape_map()
    (True, {'enc/w': [2, 3]})
    """

    @property
    def path(self) -> str:
        """Where it was opened, as messages show it."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What was stored beside the arrays; empty where the format has nothing of the kind."""
        ...

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Returns the shape of each array, by name."""
        ...

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype]:
        """Returns the dtype of each array, by name: the one that `get_tensor` gives."""
        ...

    def has_tensor(self, name: str, /) -> bool:
        """Whether there is an array of this name."""
        ...

    def get_tensor(self, name: str, /) -> np.ndarray:
        """Returns one array, a read-only view of the file where the format allows.

        Raises:
          MissingVariableError: There is no such array.
          CorruptCheckpointError: Its bytes are not those that were saved.
        """
        ...

    def close(self) -> None:
        """Lets go of the files. Arrays that were read stay valid."""
        ...
