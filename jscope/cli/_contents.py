"""What is in a checkpoint, as all commands see it."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jscope._util import _text
from jscope.checkpoint import Conversion, ConversionError, Reader, load_checkpoint, tables, tensorbundle
from jscope.cli import _output

PIECE = 1 << 22
"""Elements looked at at a time, so that a large array takes no more memory than a small one."""


@dataclass(frozen=True, slots=True)
class Item:
    """One array in a checkpoint: all but its values.

    Attributes:
      name: As commands show it.
      key: What `get_tensor` calls it.
      shape: Its shape.
      dtype: Its dtype.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return self.size * self.dtype.itemsize

    @property
    def dtype_name(self) -> str:
        """Its dtype, as TensorFlow calls it where it is not one of NumPy's."""
        return self.dtype.names[0] if self.dtype.names else "string" if self.dtype.hasobject else self.dtype.name

    def __str__(self) -> str:
        return f"{self.dtype_name}[{','.join(map(str, self.shape))}]"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that choose what a command sees."""
    parser.add_argument("--select", default="", metavar="REGEX", help="only names in which this is found")
    parser.add_argument(
        "--raw", action="store_true", help="from TensorFlow: all there is, under the names it has there"
    )


def table(path: str) -> Conversion:
    """Returns the table of names and layouts in a TOML file."""
    with open(path, encoding="utf8") as file:
        text = file.read()
    try:
        # Of functions a table has the names only, and those of the tables that ship are known.
        return Conversion.from_toml(text, functions=tables.FUNCTIONS)
    except ConversionError as error:
        raise ConversionError(f"`{path}`: {error}") from None


@contextlib.contextmanager
def opened(path: str) -> Iterator[Reader]:
    """Opens a checkpoint of any format for a while."""
    with contextlib.closing(load_checkpoint(path)) as reader:
        yield reader


def items(reader: Reader, arguments: argparse.Namespace) -> dict[str, Item]:
    """Returns what is in a checkpoint, by name, as `--select` and `--raw` have it."""
    pattern = _text.pattern(arguments.select, "--select ")
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    return {
        name: Item(name, key, tuple(shapes[key]), np.dtype(dtypes[key]))
        for name, key in keys(reader, arguments).items()
        if pattern.search(name)
    }


def keys(reader: Reader, arguments: argparse.Namespace) -> dict[str, str]:
    """Returns the names that commands show, each with that in the checkpoint."""
    names = {name: name for name in reader.get_variable_to_shape_map()}
    # Other formats hold what was put into them by name; a training's own names are TensorFlow's.
    if not isinstance(reader, tensorbundle.BundleReader) or arguments.raw:
        return names
    # TensorFlow 2's names are paths of attributes with a long suffix; shown are those that a model would use.
    found = tensorbundle.variables(reader)
    if left := len(names) - len(found):
        _output.note(f"{reader.path}: left out {left} that are not variables, such as slots of optimizers (see --raw)")
    return found
