"""Noise for training. Without `training`, these return their input; with it, they need a random key."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope._scope import Scope
from jscope._types import Key
from jscope.nn._layer import check_rank, check_training, checked_axis, checked_number, named, one_operation, refuse


@named
def dropout(
    scope: Scope, x: jax.Array, rate: float, *, training: bool, broadcast_axes: Sequence[int] = ()
) -> jax.Array:
    """Sets elements to zero with probability `rate`, and divides the others by `1 - rate`. Shapes stay.

    >>> model = jscope.transform(jscope.nn.dropout).with_rng(jax.random.key(0))
    >>> y = model.apply({}, jnp.ones(1000), 0.5, training=True)
    >>> sorted(set(y.tolist())), 400 < int((y == 0).sum()) < 600
    ([0.0, 2.0], True)

    Along `broadcast_axes`, elements are dropped together: `(1, 2)` drops whole channels of an image. (Keras's `Dropout`
    and `SpatialDropout`; Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html)
    """
    check_rank(scope, "dropout", x, "of any number", least=0)
    if not isinstance(broadcast_axes, Iterable):
        advice = "Give a tuple of axes, such as (1, 2)."
        refuse(scope, "dropout", f"`broadcast_axes` is {broadcast_axes!r}", advice)
    shared = {checked_axis(scope, "dropout", axis, x.ndim) for axis in broadcast_axes}
    shape = tuple(1 if i in shared else size for i, size in enumerate(x.shape))
    return dropped(scope, "dropout", x, rate, training, shape)


@named
def drop_path(scope: Scope, x: jax.Array, rate: float, *, training: bool) -> jax.Array:
    """Sets whole examples to zero with probability `rate`, and divides the others by `1 - rate`. Shapes stay.

    For the branches of residual networks, which are skipped at random that way.

    >>> model = jscope.transform(jscope.nn.drop_path).with_rng(jax.random.key(0))
    >>> y = model.apply({}, jnp.ones((100, 2)), 0.5, training=True)
    >>> bool((y[:, 0] == y[:, 1]).all()), 30 < int((y[:, 0] == 0).sum()) < 70
    (True, True)

    (Stochastic depth: Huang et al., 2016, https://arxiv.org/abs/1603.09382)
    """
    check_rank(scope, "drop_path", x, "(batch, ...)", least=1)
    return dropped(scope, "drop_path", x, rate, training, (x.shape[0], *(1,) * (x.ndim - 1)))


@named
def gaussian_noise(scope: Scope, x: jax.Array, stddev: float, *, training: bool) -> jax.Array:
    """Adds normal noise of standard deviation `stddev`. Shapes stay.

    >>> model = jscope.transform(jscope.nn.gaussian_noise).with_rng(jax.random.key(0))
    >>> y = model.apply({}, jnp.ones(1000), 0.5, training=True)
    >>> 0.4 < float(y.std()) < 0.6
    True

    (Keras's `GaussianNoise`.)
    """
    check_rank(scope, "gaussian_noise", x, "of any number", least=0)
    check_training(scope, "gaussian_noise", training)
    known = checked_number(scope, "gaussian_noise", "stddev", stddev)
    if not training or known == 0:
        return x
    return _noisy(x, scope.rng(), _plain(stddev, x))


@one_operation
def _noisy(x: jax.Array, key: Key, stddev: Any) -> jax.Array:
    return x + stddev * jax.random.normal(key, x.shape, x.dtype)


def dropped(
    scope: Scope,
    layer: str,
    x: jax.Array,
    rate: float,
    training: Any,
    shape: tuple[int, ...],
    stream: str = "default",
) -> jax.Array:
    """Returns the input, in training with a mask of this shape. The stream of its key is called as the rate is."""
    check_training(scope, layer, training)
    known = checked_number(scope, layer, "rate" if stream == "default" else stream, rate, 0, 1)
    if not training or known == 0:
        return x
    key = scope.rng(stream)
    if known == 1:
        # What is kept would be divided by zero, and the gradient would be NaN.
        return jnp.zeros_like(x)
    # A Python number would be drawn for in float64 where JAX has 64-bit types switched on.
    kept = jnp.asarray(1 - rate, jnp.float32) if known is None else np.float32(1 - known)
    return _thinned(x, key, kept, _plain(1 - rate, x), shape)


@functools.partial(one_operation, static_argnums=4)
def _thinned(x: jax.Array, key: Key, kept: Any, divisor: Any, shape: tuple[int, ...]) -> jax.Array:
    return jnp.where(jax.random.bernoulli(key, kept, shape), x / divisor, jnp.zeros((), x.dtype))


def _plain(number: Any, x: jax.Array) -> Any:
    """Returns a number that leaves `x` in its dtype, as one of Python does."""
    # A schedule's is a float32, which would make float32 of a bfloat16 network, or an error under strict promotion.
    return jnp.asarray(number, x.dtype) if hasattr(number, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact) else number
