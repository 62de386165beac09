"""`tf.keras.initializers`, which old files give to `tf.layers`: TensorFlow's own under Keras's names and defaults."""

from __future__ import annotations

from typing import Any

from jscope.tf1 import initializers
from jscope.tf1.initializers import constant as constant
from jscope.tf1.initializers import glorot_normal as glorot_normal
from jscope.tf1.initializers import glorot_uniform as glorot_uniform
from jscope.tf1.initializers import he_normal as he_normal
from jscope.tf1.initializers import he_uniform as he_uniform
from jscope.tf1.initializers import identity as identity
from jscope.tf1.initializers import lecun_normal as lecun_normal
from jscope.tf1.initializers import lecun_uniform as lecun_uniform
from jscope.tf1.initializers import ones as ones
from jscope.tf1.initializers import orthogonal as orthogonal
from jscope.tf1.initializers import zeros as zeros


def random_normal(mean: float = 0.0, stddev: float = 0.05, seed: int | None = None, dtype: Any = "float32") -> Any:
    """Draws from a normal distribution: a narrower one than that of `tf.random_normal_initializer`."""
    return initializers.random_normal(mean, stddev, seed, dtype)


def truncated_normal(mean: float = 0.0, stddev: float = 0.05, seed: int | None = None, dtype: Any = "float32") -> Any:
    """Draws from a normal distribution, cut off at two standard deviations from the mean."""
    return initializers.truncated_normal(mean, stddev, seed, dtype)


def random_uniform(minval: Any = -0.05, maxval: Any = 0.05, seed: int | None = None, dtype: Any = "float32") -> Any:
    """Draws from `[minval, maxval)`."""
    return initializers.random_uniform(minval, maxval, seed, dtype)


normal = RandomNormal = random_normal
uniform = RandomUniform = random_uniform
TruncatedNormal = truncated_normal
VarianceScaling = initializers.variance_scaling
Constant, Identity, Ones, Orthogonal, Zeros = constant, identity, ones, orthogonal, zeros
