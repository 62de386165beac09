"""Kernels that reduce axes: sums, means, norms, and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1 import _dtypes
from jscope.tf1._arrays import absolute
from jscope.tf1._tensors import as_array


def axes_of(axis: Any) -> Any:
    """Returns an axis, or axes, as JAX takes them."""
    if axis is None:
        return None
    found = np.asarray(axis)
    return tuple(int(each) for each in found) if found.ndim else int(found)


def reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the kernel of a function `(x, axis, keepdims=)` that keeps the dtype."""

    def kernel(x: Any, axis: Any, keepdims: Any) -> Any:
        x = as_array(x)
        # `jax.numpy` sums small integers in larger ones.
        return function(x, axes_of(axis), keepdims=bool(keepdims)).astype(x.dtype)

    return kernel


def mean(x: Any, axis: Any, keepdims: Any) -> Any:
    """The mean; of integers an integer, as in TensorFlow."""
    x, axes = as_array(x), axes_of(axis)
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.mean(x, axes, keepdims=bool(keepdims))
    total = jnp.sum(x, axes, keepdims=bool(keepdims), dtype=x.dtype)
    # Rounded towards zero: TensorFlow divides as C does.
    return jax.lax.div(total, jnp.full_like(total, max(x.size // max(total.size, 1), 1)))


def logsumexp(x: Any, axis: Any, keepdims: Any) -> Any:
    """The logarithm of the sum of exponentials."""
    return jax.scipy.special.logsumexp(as_array(x), axes_of(axis), keepdims=bool(keepdims))


def euclidean(x: Any, axis: Any, keepdims: Any) -> Any:
    """The root of the sum of squares."""
    return jnp.sqrt(jnp.sum(jnp.square(as_array(x)), axes_of(axis), keepdims=bool(keepdims)))


def norm(tensor: Any, ord: Any, axis: Any, keepdims: Any) -> Any:
    """The norm of vectors, or of matrices for a pair of axes; of all numbers if `axis` is None."""
    tensor, axes = as_array(tensor), axes_of(axis)
    if ord in ("euclidean", "fro") or (ord == 2 and not isinstance(axes, tuple)):
        return euclidean(tensor, axis, keepdims)
    # The largest singular value, and their sum, are not of magnitudes.
    tensor = tensor if ord in (2, "nuc") else absolute(tensor)
    if axes is None:
        found = jnp.linalg.norm(tensor.reshape(-1), ord)
        return found.reshape((1,) * tensor.ndim) if keepdims else found
    return jnp.linalg.norm(tensor, ord, axes, bool(keepdims))


def count_nonzero(x: Any, axis: Any, keepdims: Any, dtype: Any) -> Any:
    """How many numbers are not 0."""
    counted = jnp.count_nonzero(as_array(x), axes_of(axis), keepdims=bool(keepdims))
    return counted.astype(_dtypes.canonical(_dtypes.as_dtype(dtype)))


def zero_fraction(value: Any) -> Any:
    """The share of numbers that are 0."""
    return jnp.mean((as_array(value) == 0).astype(jnp.float32))


def arg(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the kernel of `jnp.argmax` or `jnp.argmin`; along the first axis if none is given."""

    def kernel(x: Any, axis: Any, output_type: Any) -> Any:
        found = function(as_array(x), 0 if axis is None else int(axis))
        return found.astype(_dtypes.canonical(_dtypes.as_dtype(output_type)))

    return kernel


def cumulative(function: Callable[..., Any], start: int) -> Callable[..., Any]:
    """Returns the kernel of `jnp.cumsum` or `jnp.cumprod`, which begins with `start` where it is exclusive."""

    def kernel(x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
        x, axis = as_array(x), int(axis)
        x = jnp.flip(x, axis) if reverse else x
        found = function(x, axis, dtype=x.dtype)
        if exclusive:
            # Shifted by one, rather than less its own number: that would round, and of a product it would divide by 0.
            first = jnp.full_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis), start)
            kept = jax.lax.slice_in_dim(found, 0, x.shape[axis] - 1, axis=axis)
            found = jnp.concatenate([first, kept], axis)[tuple(slice(size) for size in x.shape)]
        return jnp.flip(found, axis) if reverse else found

    return kernel


def moments(x: Any, axes: Any, keepdims: Any) -> tuple[Any, Any]:
    """Mean and variance; of float16 computed in float32."""
    x = as_array(x)
    wide = x.astype(jnp.float32) if x.dtype == jnp.float16 else x
    middle = jnp.mean(wide, axes_of(axes), keepdims=True)
    # The derivative by the mean is a sum of deviations, which is 0: so TensorFlow leaves it out, and with it its
    # rounding errors.
    variance = jnp.mean(jnp.square(wide - jax.lax.stop_gradient(middle)), axes_of(axes), keepdims=True)
    found = middle.astype(x.dtype), variance.astype(x.dtype)
    return found if keepdims else _squeezed(found, axes)


def weighted_moments(x: Any, axes: Any, weights: Any, keepdims: Any) -> tuple[Any, Any]:
    """Mean and variance where each number counts as often as its weight says."""
    x = as_array(x)
    weights = jnp.broadcast_to(jnp.asarray(weights, x.dtype), x.shape)
    total = jnp.sum(weights, axes_of(axes), keepdims=True)
    middle = jnp.sum(weights * x, axes_of(axes), keepdims=True) / total
    variance = jnp.sum(weights * jnp.square(x), axes_of(axes), keepdims=True) / total - jnp.square(middle)
    return (middle, variance) if keepdims else _squeezed((middle, variance), axes)


def sufficient_statistics(x: Any, axes: Any, shift: Any, keepdims: Any) -> tuple[Any, Any, Any, Any]:
    """How many numbers there are, their sum and that of their squares, less the shift."""
    x, over = as_array(x), axes_of(axes)
    each = (over,) if isinstance(over, int) else over
    count = np.asarray(math.prod(x.shape[axis] for axis in each), x.dtype)
    moved = x if shift is None else x - shift
    total, squares = (jnp.sum(part, over, keepdims=bool(keepdims)) for part in (moved, jnp.square(moved)))
    return count, total, squares, shift


def normalize_moments(count: Any, total: Any, squares: Any, shift: Any) -> tuple[Any, Any]:
    """Mean and variance from what `sufficient_statistics` returns."""
    middle = total / count
    variance = squares / count - jnp.square(middle)
    return (middle if shift is None else middle + shift), variance


def l2_loss(t: Any) -> Any:
    """Half the sum of squares."""
    t = as_array(t)
    return jnp.sum(jnp.square(t)) * jnp.asarray(0.5, t.dtype)


def l2_normalize(x: Any, axis: Any, epsilon: Any) -> Any:
    """The numbers divided by their norm along an axis."""
    x = as_array(x)
    squares = jnp.sum(jnp.square(x), axes_of(axis), keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(squares, jnp.asarray(epsilon, x.dtype)))


def global_norm(t_list: Any) -> Any:
    """The norm of all numbers of all arrays; entries that are None count nothing."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(as_array(t))) for t in t_list if t is not None))


def clip_by_norm(t: Any, clip_norm: Any, axes: Any) -> Any:
    """The numbers, scaled down if their norm is larger."""
    t = as_array(t)
    squares = jnp.sum(jnp.square(t), axes_of(axes), keepdims=True)
    positive = squares > 0
    # So that the gradient at 0 is 0, and not NaN.
    length = jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, jnp.ones_like(squares))), squares)
    limit = jnp.asarray(clip_norm, t.dtype)
    return t * limit / jnp.maximum(length, limit)


def clip_by_average_norm(t: Any, clip_norm: Any) -> Any:
    """The numbers, scaled down if their norm, divided by their count, is larger."""
    t = as_array(t)
    limit = jnp.asarray(clip_norm, t.dtype)
    # The inverse of no length is infinite, and the minimum leaves it out: by the length itself, 0 / 0 would come of it.
    inverse = t.size * jax.lax.rsqrt(jnp.sum(jnp.square(t)))
    return t * limit * jnp.minimum(inverse, 1 / limit)


def clip_by_global_norm(t_list: Any, clip_norm: Any, use_norm: Any) -> tuple[Any, Any]:
    """The arrays, scaled down if the norm of all of them is larger; and that norm."""
    length = global_norm(t_list) if use_norm is None else use_norm
    # Of a norm that is not finite nothing can be told: the difference makes NaN of everything, as in TensorFlow.
    scale = clip_norm * jnp.minimum(1.0 / length, 1.0 / clip_norm) + (length - length)
    return [None if t is None else t * scale for t in t_list], length


def in_top_k(predictions: Any, targets: Any, k: Any) -> Any:
    """Whether the target is among the `k` largest predictions; ties count."""
    predictions, targets = as_array(predictions), as_array(targets)
    chosen = jnp.take_along_axis(predictions, targets[:, None], 1)
    return jnp.sum(predictions > chosen, 1) < k


def _squeezed(found: tuple[Any, Any], axes: Any) -> tuple[Any, Any]:
    return jnp.squeeze(found[0], axes_of(axes)), jnp.squeeze(found[1], axes_of(axes))
