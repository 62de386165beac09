"""Batch normalization: the one common layer that keeps state.

The moving statistics are state variables, in float32. Where the batch is split over devices by hand (`shard_map`, or
`vmap` with a name), `axis_name` says over which; under `jit` with sharded arrays there is nothing to say.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jscope import initializers
from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._layer import (
    along,
    cast,
    check_rank,
    check_training,
    checked_axis,
    checked_number,
    described,
    named,
    one_operation,
    refuse,
    vector,
)
from jscope.nn._norm import affine, output_dtype, statistics_dtype


@named
def batch_norm(
    scope: Scope,
    x: jax.Array,
    *,
    training: bool,
    axis: int = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    axis_name: Any = None,
    mask: jax.Array | None = None,
    unbiased: bool = False,
    gamma_initializer: Initializer | Off | None = None,
    beta_initializer: Initializer | Off | None = None,
    moving_mean_initializer: Initializer | Off | None = None,
    moving_variance_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
) -> jax.Array:
    """Normalizes each channel over all other axes: `(..., c) -> (..., c)`.

    >>> model = jscope.transform_with_state(jscope.nn.batch_norm)
    >>> x_bc = jnp.array([[1.0], [3.0]])
    >>> params, state = model.init(jax.random.key(0), x_bc, training=True)
    >>> y_bc, state = model.apply(params, state, x_bc, training=True)
    >>> jnp.round(y_bc, 2).tolist(), round(float(state["moving_mean"][0]), 4)
    ([[-1.0], [1.0]], 0.02)

    In training, mean and variance are those of the batch, and the moving ones go towards them: `moving = momentum *
    moving + (1 - momentum) * batch`. Otherwise the moving ones are used. A batch without examples changes nothing.

    Variables (c,): `gamma`, ones, with `scale`; `beta`, zeros, with `center`; state `moving_mean`, zeros, and
    `moving_variance`, ones. (Keras's `BatchNormalization`; Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167)

    Args:
      scope: Where its variables are.
      x: The input, of rank 2 or more.
      training: Whether to use the statistics of this batch, and to update the moving ones.
      axis: The axis of the channels.
      momentum: How much of the moving statistics stays.
      epsilon: Added to the variance.
      center: Whether there is a `beta`.
      scale: Whether there is a `gamma`.
      axis_name: The name, or names, of mapped axes over which the batch is split.
      mask: What counts, of the shape of `x` without `axis`: examples or steps of 0 or False do not.
      unbiased: Whether the moving variance is that with n - 1, as in TensorFlow's fused kernel for images.
      gamma_initializer: How `gamma` starts.
      beta_initializer: How `beta` starts.
      moving_mean_initializer: How `moving_mean` starts.
      moving_variance_initializer: How `moving_variance` starts.
      axes: The logical name of the channels, in a tuple.
    """
    check_rank(scope, "batch_norm", x, "(batch, ..., channels)", least=2)
    check_training(scope, "batch_norm", training)
    axis = checked_axis(scope, "batch_norm", axis, x.ndim)
    checked_number(scope, "batch_norm", "epsilon", epsilon)
    checked_number(scope, "batch_norm", "momentum", momentum, 0, 1)
    wide = cast(x, statistics_dtype(x))
    # Wide, however narrow the params are: with a momentum of 0.99, a bfloat16 mean stands still long before it has
    # arrived, since a hundredth of what it lacks is below its last bit.
    shape, kind = (x.shape[axis],), {"dtype": wide.dtype, "trainable": False}
    moving_mean = vector(scope, "moving_mean", shape, moving_mean_initializer, initializers.zeros, axes, **kind)
    moving_variance = vector(
        scope, "moving_variance", shape, moving_variance_initializer, initializers.ones, axes, **kind
    )
    # Asked for in training, too, where only `assign` needs them: `init` may run with either.
    mean, variance = cast(moving_mean, wide.dtype), cast(moving_variance, wide.dtype)
    if training:
        mean, variance, count = _moments(scope, wide, axis, mask, axis_name)
        # For one example, there is no unbiased variance; TensorFlow keeps the biased one.
        kept = variance * (count / _at_least_one(count - 1)) if unbiased else variance
        _move(scope, "moving_mean", moving_mean, mean, momentum, count)
        _move(scope, "moving_variance", moving_variance, kept, momentum, count)
    y = affine(
        scope,
        _standardized(wide, mean, variance, epsilon, axis),
        (axis,),
        scale,
        center,
        gamma_initializer,
        beta_initializer,
        axes,
    )
    return cast(y, output_dtype(x))


@functools.partial(one_operation, static_argnames="axis")
def _standardized(x: jax.Array, mean: jax.Array, variance: jax.Array, epsilon: float, axis: int) -> jax.Array:
    centered = jax.lax.sub(x, along(mean, x.ndim, axis))
    return jax.lax.mul(centered, along(jax.lax.rsqrt(variance + epsilon), x.ndim, axis))


def _move(scope: Scope, name: str, old: jax.Array, new: jax.Array, momentum: float, count: Any) -> None:
    """Moves a statistic towards that of the batch, unless the batch has nothing in it."""
    moved = cast(momentum * cast(old, new.dtype) + (1 - momentum) * new, old.dtype)
    if not isinstance(count, int):
        scope.assign(name, jnp.where(count > 0, moved, old))
    # Known while tracing, so that an empty batch has no write in its program, and a full one no `where`.
    elif count > 0:
        scope.assign(name, moved)


def _moments(
    scope: Scope, x: jax.Array, axis: int, mask: jax.Array | None, axis_name: Any
) -> tuple[jax.Array, jax.Array, Any]:
    """Returns the mean and the variance of each channel, and how many elements they were taken over.

    The number is an int, known while tracing, unless there is a mask.
    """
    over = tuple(i for i in range(x.ndim) if i != axis)
    count: Any = math.prod(x.shape[i] for i in over)
    weights = None
    if mask is not None:
        if getattr(mask, "shape", None) != tuple(x.shape[i] for i in over):
            problem = f"the mask is {described(mask)}, the input {x.shape} with the channels on axis {axis}"
            refuse(scope, "batch_norm", problem, "The mask should have the shape of the input without the channels.")
        weights = jnp.expand_dims(mask.astype(x.dtype), axis)
        count = jnp.sum(weights)
    if axis_name is not None:
        # Of a Python int, this is a Python int: the size of a mapped axis is known while tracing.
        count = jax.lax.psum(count, axis_name)

    def average(values: jax.Array) -> jax.Array:
        if weights is not None:
            # Not a product alone: what is masked may be NaN.
            values = jnp.where(weights > 0, values * weights, 0)
        total = jnp.sum(values, over)
        return (total if axis_name is None else jax.lax.psum(total, axis_name)) / _at_least_one(count)

    # Two passes. Flax takes the mean of squares less the square of the mean, which is one, but where the mean is large
    # beside the deviation that has no digits left.
    mean = average(x)
    return mean, average(_squared(x, mean, axis)), count


@functools.partial(one_operation, static_argnums=2)
def _squared(x: jax.Array, mean: jax.Array, axis: int) -> jax.Array:
    centered = jax.lax.sub(x, along(mean, x.ndim, axis))
    return jax.lax.mul(centered, centered)


def _at_least_one(count: Any) -> Any:
    return max(count, 1) if isinstance(count, int) else jnp.maximum(count, 1)
