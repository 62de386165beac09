"""What windows of TensorFlow see: padding, strides, dilation and sizes, as functions of `tf.nn` have them.

This file imports neither TensorFlow nor JAX, which live in different environments.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple


class Case(NamedTuple):
    """A function of `tf.nn` on an image of shape (1, height, width, 2)."""

    function: str
    size: tuple[int, int]
    space: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    options: dict[str, Any]

    @property
    def name(self):
        """What it is stored as."""
        return f"{self.function} {self.size} of {self.space}, strides {self.strides}, {self.padding}, {self.options}"


PADDINGS = ("same", "valid")
SIZES = ((3, 2), (1, 4), (2, 3))
STRIDES = ((1, 1), (2, 3), (3, 2))
CASES = [
    Case(function, size, space, strides, padding, {})
    for function, size, space, strides, padding in product(
        ("conv2d", "max_pool2d", "avg_pool2d"), SIZES, ((5, 6), (4, 7)), STRIDES, PADDINGS
    )
]
CASES += [Case("conv2d_transpose", *case, {}) for case in product(SIZES, ((3, 2),), STRIDES, PADDINGS)]
CASES += [
    Case("conv2d", size, (7, 8), (1, 1), padding, {"dilations": (2, 1)}) for size in SIZES for padding in PADDINGS
]
CASES += [
    Case("depthwise_conv2d", size, (7, 8), (2, 2), padding, {"multiplier": 3}) for size in SIZES for padding in PADDINGS
]
