"""Norms that need only their input. They take their statistics in float32, and give back the dtype of the input."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jscope import initializers
from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, DType, Initializer
from jscope.nn._layer import (
    cast,
    check_rank,
    checked_axis,
    checked_number,
    named,
    one_operation,
    plus,
    refuse,
    spread,
    vector,
)


@named
def layer_norm(
    scope: Scope,
    x: jax.Array,
    *,
    axis: int | Sequence[int] = -1,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    gamma_initializer: Initializer | Off | None = None,
    beta_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
) -> jax.Array:
    """Subtracts the mean and divides by the standard deviation over `axis`, for each example: `(..., d) -> (..., d)`.

    >>> x_bd = jnp.array([[1.0, 3.0], [-2.0, 2.0]])
    >>> params = jscope.init(jscope.nn.layer_norm, jax.random.key(0), x_bd)
    >>> jnp.round(jscope.apply(jscope.nn.layer_norm, params, x_bd), 2).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]

    Variables, of the shape of the normalized axes: `gamma`, ones, with `scale`; `beta`, zeros, with `center`.
    (Keras's `LayerNormalization`; Ba et al., 2016, https://arxiv.org/abs/1607.06450)
    """
    over = _over(scope, "layer_norm", x, axis)
    checked_number(scope, "layer_norm", "epsilon", epsilon)
    y = standardized(cast(x, statistics_dtype(x)), over, epsilon)
    y = affine(scope, y, over, scale, center, gamma_initializer, beta_initializer, axes)
    return cast(y, output_dtype(x))


@named
def rms_norm(
    scope: Scope,
    x: jax.Array,
    *,
    axis: int | Sequence[int] = -1,
    epsilon: float = 1e-6,
    scale_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
) -> jax.Array:
    """Divides by the root of the mean square over `axis`, for each example: `(..., d) -> (..., d)`.

    >>> x_bd = jnp.array([[3.0, 3.0], [-2.0, 2.0]])
    >>> params = jscope.init(jscope.nn.rms_norm, jax.random.key(0), x_bd)
    >>> jnp.round(jscope.apply(jscope.nn.rms_norm, params, x_bd), 2).tolist()
    [[1.0, 1.0], [-1.0, 1.0]]

    Variables: `scale`, of the shape of the normalized axes, ones. (Keras's `RMSNormalization`; Zhang and Sennrich,
    2019, https://arxiv.org/abs/1910.07467)
    """
    over = _over(scope, "rms_norm", x, axis)
    checked_number(scope, "rms_norm", "epsilon", epsilon)
    y = _of_unit_size(cast(x, statistics_dtype(x)), over, epsilon)
    # In float32 to the end. (Llama's own code rounds first, and then multiplies by the scale.)
    factor = _vector_over(scope, "scale", y, over, scale_initializer, initializers.ones, axes)
    return cast(_times(y, factor, over), output_dtype(x))


def l2_normalize(x: jax.Array, axis: int | Sequence[int] = -1, *, epsilon: float = 1e-12) -> jax.Array:
    """Divides by the length of the vector along `axis`: `(..., d) -> (..., d)`. Zeros stay zeros.

    >>> jnp.round(jscope.nn.l2_normalize(jnp.array([0.0, -4.0])), 4).tolist()
    [0.0, -1.0]

    `epsilon` is the least squared length that is divided by. (TensorFlow's `l2_normalize`; Keras's
    `UnitNormalization`.)
    """
    over = _over(None, "l2_normalize", x, axis)
    checked_number(None, "l2_normalize", "epsilon", epsilon)
    wide = cast(x, statistics_dtype(x))
    squares = jnp.sum(wide * wide, over, keepdims=True)
    # The maximum, not a sum: a vector that is long enough is divided by its very length.
    return (wide * jax.lax.rsqrt(jnp.maximum(squares, epsilon))).astype(output_dtype(x))


def statistics_dtype(x: jax.Array) -> DType:
    """Returns the dtype of an input's statistics: float32, or float64 where the input has it."""
    return x.dtype if x.dtype == np.float32 else np.promote_types(output_dtype(x), np.float32)


def output_dtype(x: jax.Array) -> DType:
    """Returns the dtype of a norm's output: the input's, where that is floating."""
    return x.dtype if x.dtype.kind == "f" or jnp.issubdtype(x.dtype, jnp.floating) else jnp.dtype(jnp.float32)


def affine(
    scope: Scope,
    y: jax.Array,
    over: tuple[int, ...],
    scale: bool,
    center: bool,
    gamma_initializer: Initializer | Off | None,
    beta_initializer: Initializer | Off | None,
    axes: Axes | None,
) -> jax.Array:
    """Multiplies by `gamma` and adds `beta`, which lie along the axes `over`."""
    if scale:
        y = _times(y, _vector_over(scope, "gamma", y, over, gamma_initializer, initializers.ones, axes), over)
    if center:
        y = plus(y, _vector_over(scope, "beta", y, over, beta_initializer, initializers.zeros, axes), over)
    return y


def _vector_over(
    scope: Scope,
    name: str,
    y: jax.Array,
    over: tuple[int, ...],
    given: Initializer | Off | None,
    keras: Initializer,
    axes: Axes | None,
) -> jax.Array:
    """Returns a param of the shape of the axes `over`."""
    return vector(scope, name, tuple([y.shape[i] for i in over]), given, keras, axes)


@functools.partial(one_operation, static_argnames="over")
def standardized(x: jax.Array, over: tuple[int, ...], epsilon: float) -> jax.Array:
    """Subtracts the mean over some axes, and divides by the standard deviation."""
    # Two passes, as in `batch_norm`, and for the same reason.
    mean = jnp.mean(x, over, keepdims=True)
    centered = jax.lax.sub(x, mean)
    return _of_unit_size(centered, over, epsilon)


@functools.partial(one_operation, static_argnames="over")
def _of_unit_size(x: jax.Array, over: tuple[int, ...], epsilon: float) -> jax.Array:
    return jax.lax.mul(x, jax.lax.rsqrt(jnp.mean(jax.lax.mul(x, x), over, keepdims=True) + epsilon))


@functools.partial(one_operation, static_argnames="over")
def _times(y: jax.Array, factor: jax.Array, over: tuple[int, ...]) -> jax.Array:
    return jax.lax.mul(y, spread(cast(factor, y.dtype), y.ndim, over))


def _over(scope: Scope | None, layer: str, x: jax.Array, axis: int | Sequence[int]) -> tuple[int, ...]:
    """Returns the axes to normalize over, counted from the front, in order."""
    check_rank(scope, layer, x, "(..., features)", least=1)
    if axis.__class__ is int and axis == -1:
        return (x.ndim - 1,)
    given = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    over = {checked_axis(scope, layer, each, x.ndim) for each in given}
    if len(over) < len(given) or not over:
        refuse(scope, layer, f"`axis` is {axis!r}", "Name one axis or several different ones.")
    # In the order of the input, in which `gamma` has its axes: axis=(-1, 1) names the same as axis=(1, -1).
    return tuple(sorted(over))
