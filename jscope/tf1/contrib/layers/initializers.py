"""Initializers of `tf.contrib`: Xavier's, and a variance scaling with a normal distribution of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jscope._types import Shape
from jscope.tf1 import _dtypes
from jscope.tf1._errors import ArgumentTypeError
from jscope.tf1.initializers import Initializer, _Random

_MODES = "FAN_IN", "FAN_OUT", "FAN_AVG"


@dataclass(frozen=True, repr=False)
class variance_scaling_initializer(_Random, Initializer):  # noqa: N801 - called like a function.
    """Real numbers with a variance of `factor / n`, for n inputs, outputs, or the mean of both.

    >>> value = variance_scaling_initializer(seed=0)([400, 100])
    >>> value.shape, abs(float(value.std()) * 200**0.5 - 1) < 0.05
    ((400, 100), True)

    Args:
      factor: What the variance is a multiple of.
      mode: `"FAN_IN"`, `"FAN_OUT"` or `"FAN_AVG"`.
      uniform: Whether they are uniform, rather than normal and cut off at two standard deviations.
      seed: Fixes the values, whatever the key is.
      dtype: The dtype, where none is asked for.
    """

    factor: float = 2.0
    mode: str = "FAN_IN"
    uniform: bool = False
    seed: int | None = None
    dtype: Any = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in _MODES:
            raise ArgumentTypeError(f"Unknown mode {self.mode} [{', '.join(_MODES)}]")
        self.check((), _dtypes.as_dtype(self.dtype))

    def check(self, shape: Shape, dtype: Any) -> None:
        """Raises unless the dtype is one of real numbers."""
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ArgumentTypeError("Cannot create initializer for non-floating point type.")

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        """Returns the values."""
        # Of a vector, both are its size; of a scalar, 1.
        sizes = (1, 1) if not shape else (*shape, *shape) if len(shape) == 1 else shape
        fan_in, fan_out = (float(size * math.prod(sizes[:-2])) for size in sizes[-2:])
        n = {"FAN_IN": fan_in, "FAN_OUT": fan_out, "FAN_AVG": (fan_in + fan_out) / 2}[self.mode]
        if self.uniform:
            limit = math.sqrt(3.0 * self.factor / n)
            return jax.random.uniform(key, shape, dtype, -limit, limit)
        # What the cutting takes away of the variance, by TensorFlow's count.
        stddev = jnp.asarray(math.sqrt(1.3 * self.factor / n), dtype)
        return jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype) * stddev


def xavier_initializer(uniform: bool = True, seed: int | None = None, dtype: Any = "float32") -> Initializer:
    """Returns an initializer with a variance of 2 by the number of inputs and outputs together.

    >>> value = xavier_initializer(seed=0)([30, 20])
    >>> float(abs(value).max()) <= (6 / 50) ** 0.5
    True

    (Glorot and Bengio, 2010, https://proceedings.mlr.press/v9/glorot10a.html)
    """
    return variance_scaling_initializer(1.0, "FAN_AVG", uniform, seed, dtype)


xavier_initializer_conv2d = xavier_initializer

XAVIER = xavier_initializer()
"""How the weights of layers start."""
