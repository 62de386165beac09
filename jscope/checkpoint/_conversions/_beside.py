"""What only one side has: arrays that are dropped, and constants that come back when the conversion is inverted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jscope._types import Shape
from jscope.checkpoint._conversions._axes import Range
from jscope.checkpoint._conversions._names import Template
from jscope.checkpoint._conversions._source import Source, Type, index_of
from jscope.checkpoint._errors import ConversionError

LARGEST = 1 << 28
"""The most elements of a constant: it is made in memory, and a table may come from anywhere."""


@dataclass(frozen=True)
class Constant:
    """An array that one side has, and whose values need no other array.

    >>> Constant("embeddings.position_ids", "range", "int64", (1, 512))
    Constant(name='embeddings.position_ids', value='range', dtype='int64', shape=(1, 512), beside='')

    Attributes:
      name: Its name, which may have the placeholders of `beside`.
      value: One number for all elements; or `"range"`: 0, 1, 2, ... in the order of the indices.
      dtype: Its dtype.
      shape: Its shape.
      beside: There is one for each array of this name: `{path...}.num_batches_tracked` beside `{path...}.running_mean`.

    Raises:
      ConversionError: A field is of the wrong kind, or its size is beyond reason.
    """

    name: str
    value: Any
    dtype: Any = "float32"
    shape: Shape = ()
    beside: str = ""

    def __post_init__(self) -> None:
        where = f"Constant `{self.name}`"
        if not isinstance(self.name, str) or not isinstance(self.beside, str):
            raise ConversionError(
                f"{where}: `name` and `beside` must be strings, not {self.name!r} and {self.beside!r}."
            )
        if self.value != "range" and (isinstance(self.value, str) or np.ndim(self.value)):
            raise ConversionError(f'{where}: `value` must be a number or "range", not {self.value!r}.')
        if not isinstance(self.shape, list | tuple) or not all(type(n) is int and n >= 0 for n in self.shape):
            raise ConversionError(f"{where}: `shape` must be a list of sizes, not {self.shape!r}.")
        # A size of 0 would hide the others from the product, and another table may split what this one makes.
        if math.prod(max(n, 1) for n in self.shape) > LARGEST:
            raise ConversionError(f"{where}: {list(self.shape)} has more than {LARGEST:,} elements.")
        try:
            # Its name, so that tables are equal and print alike, however the dtype was spelled.
            object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        except TypeError as error:
            raise ConversionError(f"{where}: {self.dtype!r} is not a dtype that NumPy and JAX know.") from error
        object.__setattr__(self, "shape", tuple(self.shape))

    def template(self, separators: tuple[str, str]) -> Template:
        """Returns its name as a template."""
        return Template(self.name, {}, *separators)

    def names(self, made: Mapping[str, Any], separators: tuple[str, str]) -> Iterator[str]:
        """Yields the names that it has beside what is made."""
        template = self.template(separators)
        if not self.beside:
            yield template.fill({})
            return
        beside = Template(self.beside, {}, *separators)
        # Of many layers only some have a `running_mean`: what is beside is told by what is there, never by a count.
        for name in made:
            if (values := beside.match(name)) is not None:
                yield template.fill(values)

    def check(self, separators: tuple[str, str]) -> None:
        """Raises where its name has a placeholder that nothing tells."""
        asked = self.template(separators).placeholders
        told = Template(self.beside, {}, *separators).placeholders if self.beside else {}
        if unknown := [name for name in asked if name not in told]:
            raise ConversionError(f"Constant `{self.name}` has {{{unknown[0]}}}, which its `beside` does not have.")


@dataclass(frozen=True, slots=True)
class MadeConstant:
    """A constant as an array of ours."""

    constant: Constant

    @property
    def type(self) -> Type:
        """Its shape and dtype."""
        return Type(self.constant.shape, np.dtype(self.constant.dtype))

    @property
    def is_as_it_was(self) -> bool:
        """Whether it is an array of theirs: it is not."""
        return False

    def read(self, source: Source, ranges: Sequence[Range]) -> np.ndarray:
        """Returns a region of it."""
        del source
        return self.whole()[index_of(ranges)]

    def whole(self) -> np.ndarray:
        """Returns all of it."""
        shape, dtype = self.type.shape, self.type.dtype
        if self.constant.value == "range":
            return np.arange(math.prod(shape)).astype(dtype).reshape(shape)
        return np.full(shape, self.constant.value, dtype)
