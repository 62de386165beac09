"""Layers that multiply by a matrix: everything else in a network is small beside them."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jscope import initializers
from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._layer import along, check_rank, check_size, in_one_dtype, named, vector, weight


@named
def dense(
    scope: Scope,
    x: jax.Array,
    units: int,
    *,
    activation: Callable[[jax.Array], jax.Array] | None = None,
    use_bias: bool = True,
    kernel_initializer: Initializer | Off | None = None,
    bias_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
    precision: jax.lax.PrecisionLike = None,
) -> jax.Array:
    """Multiplies the last axis by a matrix and adds a bias: `(..., d) -> (..., u)`.

    >>> def f(scope, x_bd):
    ...     return jscope.nn.dense(scope / "hidden", x_bd, 8, activation=jax.nn.relu)
    >>> x_bd = jnp.ones((2, 3))
    >>> params = jscope.init(f, jax.random.key(0), x_bd)
    >>> jscope.tree.names(params), jscope.apply(f, params, x_bd).shape
    (['hidden/kernel', 'hidden/bias'], (2, 8))

    Variables: `kernel` (d, u), Glorot uniform; `bias` (u,), zeros. (Keras's `Dense`.)

    Args:
      scope: Where its variables are.
      x: The input, of any rank from 1 on.
      units: The size u of the last axis of the output.
      activation: What is applied to the result, such as `jax.nn.relu`.
      use_bias: Whether there is a bias.
      kernel_initializer: How `kernel` starts; None for the scope's default, else Keras's.
      bias_initializer: How `bias` starts; None for zeros.
      axes: Logical names of the kernel's axes, such as `("embed", "mlp")`; the bias takes the last. None leaves it to
        the scope's partitioner.
      precision: As in `jnp.matmul`.
    """
    check_rank(scope, "dense", x, "(..., features)", least=1)
    units = check_size(scope, "dense", "units", units)
    kernel = weight(scope, "kernel", (x.shape[-1], units), kernel_initializer, initializers.glorot_uniform(), axes)
    x, kernel = in_one_dtype(x, kernel)
    y = jnp.matmul(x, kernel, precision=precision)
    if use_bias:
        b = vector(scope, "bias", (units,), bias_initializer, initializers.zeros, None if axes is None else axes[-1:])
        y = y + along(b.astype(y.dtype), y.ndim)
    return y if activation is None else activation(y)
