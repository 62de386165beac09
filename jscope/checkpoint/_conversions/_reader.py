"""A checkpoint seen through a conversion is a checkpoint: whatever reads one reads what the table makes of it.

Arrays are read, converted and placed one at a time, and of an array on many devices each device's part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from jscope._util import _text
from jscope.checkpoint import _leaves
from jscope.checkpoint._conversions._conversion import Conversion, Converted, as_blocks, chained, kinds_after
from jscope.checkpoint._conversions._made import empty
from jscope.checkpoint._conversions._plan import Plan
from jscope.checkpoint._conversions._source import FromReader, whole
from jscope.checkpoint._put import HOST, Target, put
from jscope.checkpoint._reader import Reader
from jscope.errors import MissingVariableError


class ConvertedReader:
    """A `Reader` of what a conversion makes of another.

    Attributes:
      path: That of the other.
      problems: The lines of a report of what cannot be made.
      unmatched: Those of the arrays that no rule takes.
    """

    def __init__(self, reader: Reader, source: Converted, plans: list[Plan]) -> None:
        self.path = reader.path
        self._reader, self._source = reader, source
        self.problems, self.unmatched = plans[-1].problems, plans[-1].unmatched
        kinds = kinds_after(plans, _leaves.kinds_in(reader.metadata))
        self.metadata: Mapping[str, str] = _leaves.with_kinds(reader.metadata, kinds)

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Returns the shape of each array, by name."""
        return {name: list(each.shape) for name, each in self._source.types.items()}

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype]:
        """Returns the dtype of each array, by name."""
        return {name: each.dtype for name, each in self._source.types.items()}

    def has_tensor(self, name: str) -> bool:
        """Whether there is an array of this name."""
        return name in self._source.types

    def get_tensor(self, name: str) -> np.ndarray:
        """Returns one array."""
        if not self.has_tensor(name):
            near = _text.did_you_mean(name, self._source.types)
            raise MissingVariableError(f"The conversion of `{self.path}` does not make `{name}`.{near}")
        return self._source.read(name, whole(self._source.types[name].shape))

    def get_blocks(self, name: str) -> Any:
        """Returns one array that is read while it is written."""
        return as_blocks(self._source, name)

    def load(self, targets: Mapping[str, Target]) -> dict[str, Any]:
        """Returns arrays in their targets, made one after the other; each process reads what its devices have."""
        return {name: self._placed(name, target) for name, target in targets.items()}

    def close(self) -> None:
        """Lets go of the files."""
        self._reader.close()

    def _placed(self, name: str, target: Target) -> Any:
        shape = self._source.types[name].shape
        # In one place all of it is needed, and a callback for a single shard would only copy once more.
        if not isinstance(target, Sharding) or len(target.device_set) == 1:
            array = self.get_tensor(name)
            # On the host, `put` makes a copy anyway.
            return put({name: array if target is HOST else _aligned(array)}, {name: target})[name]

        # A function would be called again for each device.
        done = self.get_tensor(name) if self._source.is_whole(name) else None

        def part(index: Any) -> np.ndarray:
            if done is not None:
                return done[index]
            ranges = [each.indices(size)[:2] for each, size in zip(index, shape, strict=True)]
            return _aligned(self._source.read(name, ranges))

        return jax.make_array_from_callback(shape, target, part)


def converted(
    reader: Reader, conversion: Conversion, names: Mapping[str, str], wanted: Mapping[str, Any] | None = None
) -> ConvertedReader:
    """Returns a checkpoint as a conversion makes it.

    Args:
      reader: The checkpoint.
      conversion: The conversion.
      names: What the conversion is to take, and the names of it in the checkpoint.
      wanted: Shapes that the result should have, by name: where the table leaves sizes open, they tell them.
    """
    source = FromReader(reader, names)
    plans = conversion.plan(source.types, wanted)
    return ConvertedReader(reader, chained(source, plans), plans)


def _aligned(array: np.ndarray) -> np.ndarray:
    """Returns an array in the order of its indices, which JAX, on CPU, uses where it is."""
    if array.flags.c_contiguous:
        return array
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy
