"""Kernels that compute each element by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jscope.tf1 import _dtypes
from jscope.tf1._ops._call import takes_tensors
from jscope.tf1._tensors import as_array, operands


def of_two(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Returns a kernel of two arrays that broadcast, of which a constant takes the dtype of the other."""

    def kernel(x: Any, y: Any) -> Any:
        return function(*operands(x, y))

    return takes_tensors(kernel)


def of_one(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a kernel of one array of numbers, which may be given as a list."""
    return lambda x: function(as_array(x))


def add_n(inputs: Any) -> Any:
    """The sum of arrays of one shape."""
    inputs = inputs if isinstance(inputs, list) else [inputs]
    return sum(map(as_array, inputs[1:]), jnp.asarray(inputs[0]))


def cast(x: Any, dtype: Any) -> Any:
    """The same numbers in another dtype; fractions are cut off."""
    wanted, x = _dtypes.canonical(_dtypes.as_dtype(dtype)), as_array(x)
    # TensorFlow drops the imaginary part without a word; JAX would warn.
    if jnp.issubdtype(x.dtype, jnp.complexfloating) and not jnp.issubdtype(wanted, jnp.complexfloating):
        x = x.real
    return x.astype(wanted)


def saturate_cast(x: Any, dtype: Any) -> Any:
    """As `cast`, with what does not fit at the limits of the dtype."""
    wanted, x = _dtypes.canonical(_dtypes.as_dtype(dtype)), as_array(x)
    # What lies outside is cut first, since a cast of it would wrap around, or give what the hardware likes.
    limits: Any = jnp.iinfo(wanted) if jnp.issubdtype(wanted, jnp.integer) else jnp.finfo(wanted)
    return jnp.clip(x, jnp.asarray(limits.min).astype(x.dtype), jnp.asarray(limits.max).astype(x.dtype)).astype(wanted)


def bitcast(x: Any, dtype: Any) -> Any:
    """The same bits as another dtype."""
    return jax.lax.bitcast_convert_type(as_array(x), _dtypes.canonical(_dtypes.as_dtype(dtype)))


def div(x: Any, y: Any) -> Any:
    """Division as in Python 2: integers stay integers."""
    return jnp.floor_divide(x, y) if jnp.issubdtype(jnp.result_type(x, y), jnp.integer) else jnp.divide(x, y)


def div_no_nan(x: Any, y: Any) -> Any:
    """`x / y`, 0 where `y` is 0."""
    y = as_array(y)
    # Chosen before and after: the gradient of a branch that `where` does not take counts as well, and that of `x / 0`
    # would make NaN of it.
    safe = jnp.where(y == 0, jnp.ones_like(y), y)
    return jnp.where(y == 0, jnp.zeros((), jnp.result_type(x, y)), x / safe)


def multiply_no_nan(x: Any, y: Any) -> Any:
    """`x * y`, 0 where `y` is 0."""
    return jnp.where(y == 0, jnp.zeros((), jnp.result_type(x, y)), x * y)


def truncatediv(x: Any, y: Any) -> Any:
    """Division of integers, rounded towards 0."""
    # The division of C, which is that of `lax`; Python's and NumPy's round down.
    return jax.lax.div(*jnp.broadcast_arrays(as_array(x), as_array(y)))


def truncatemod(x: Any, y: Any) -> Any:
    """The remainder of `truncatediv`, with the sign of `x`."""
    return jax.lax.rem(*jnp.broadcast_arrays(as_array(x), as_array(y)))


def maximum(x: Any, y: Any) -> Any:
    """The larger of both; where they are equal, the gradient goes to `x`."""
    # Where both are equal, `jnp.maximum` gives half of the gradient to each. NaN stays NaN, on whichever side it is.
    return jnp.where((x >= y) | (x != x), x, y)


def minimum(x: Any, y: Any) -> Any:
    """The smaller of both; where they are equal, the gradient goes to `x`."""
    return jnp.where((x <= y) | (x != x), x, y)


def squared_difference(x: Any, y: Any) -> Any:
    """`(x - y) ** 2`."""
    return jnp.square(jnp.subtract(x, y))


def clip_by_value(t: Any, low: Any, high: Any) -> Any:
    """Each number of `t`, but not below `low` nor above `high`."""
    t = as_array(t)
    return minimum(maximum(t, jnp.asarray(low, t.dtype)), jnp.asarray(high, t.dtype))


def is_finite_or_raises(tensor: Any, message: str) -> Any:
    """The array as it is; JAX looks for NaNs itself, under `jax.debug_nans`."""
    return tensor


# What follows is the activations. Their names in TensorFlow are of `tf.nn`.


def leaky_relu(features: Any, alpha: Any) -> Any:
    """`features`, times `alpha` where they are negative."""
    features = as_array(features)
    return jnp.where(features > 0, features, features * jnp.asarray(alpha, features.dtype))


def selu(features: Any) -> Any:
    """The exponential linear unit that keeps mean and variance of what it is given."""
    scale, alpha = (jnp.asarray(number, features.dtype) for number in (1.0507009873554805, 1.6732632423543772))
    # At zero it has the slope of its right side, as in TensorFlow; that of JAX has the slope of its left side.
    return scale * jnp.where(features >= 0, features, alpha * jnp.expm1(jnp.minimum(features, 0)))


def crelu(features: Any, axis: int) -> Any:
    """ReLU of the features and of their negatives, side by side."""
    features = as_array(features)
    return jax.nn.relu(jnp.concatenate([features, -features], axis))


def swish(features: Any, beta: Any) -> Any:
    """`features * sigmoid(beta * features)`."""
    features = as_array(features)
    return features * jax.nn.sigmoid(jnp.asarray(beta, features.dtype) * features)


def softmax(logits: Any, axis: Any) -> Any:
    """The softmax along an axis, the last if None."""
    return jax.nn.softmax(as_array(logits), -1 if axis is None else int(axis))


def log_softmax(logits: Any, axis: Any) -> Any:
    """The logarithm of the softmax."""
    return jax.nn.log_softmax(as_array(logits), -1 if axis is None else int(axis))
