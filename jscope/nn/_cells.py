"""A cell is one step of a recurrent network: `cell(scope, carry, x, ...) -> (carry, y)`.

What it remembers is an argument and a result, so a cell can be scanned, stepped by hand or vectorized like any other
function; `recurrent` runs one over time. Gates stand side by side in one kernel, in Keras's and TensorFlow's order. A
carry keeps its dtype, whatever that of the input: a carry in float32 sums up exactly in a network in bfloat16.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jscope import initializers
from jscope._scope import Scope
from jscope._types import Axes
from jscope.nn._gates import (
    Pair,
    Start,
    bias_of,
    checked_pair,
    checked_state,
    kernels_of,
    lstm_bias,
    masked,
    remember,
)
from jscope.nn._layer import Activation, cast, check_activations, in_one_dtype, named, one_operation, plus, times


@named
def rnn(
    scope: Scope,
    carry: jax.Array | None,
    x: jax.Array,
    units: int,
    *,
    activation: Activation = jnp.tanh,
    use_bias: bool = True,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    training: bool | None = None,
    kernel_initializer: Start = None,
    recurrent_initializer: Start = None,
    bias_initializer: Start = None,
    axes: Axes | None = None,
) -> tuple[jax.Array, jax.Array]:
    """One step of a simple recurrent network: `h = tanh(x @ kernel + h @ recurrent_kernel + bias)`.

    >>> step = jscope.transform(lambda scope, x_bd: jscope.nn.rnn(scope, None, x_bd, 5))
    >>> params = step.init(jax.random.key(0), jnp.ones((2, 3)))
    >>> carry_bu, y_bu = step.apply(params, jnp.ones((2, 3)))
    >>> y_bu.shape, jscope.tree.names(params)
    ((2, 5), ['kernel', 'recurrent_kernel', 'bias'])

    Variables: `kernel` (d, u), Glorot uniform; `recurrent_kernel` (u, u), orthogonal; `bias` (u,), zeros. (Keras's
    `SimpleRNN`; Elman, 1990.)

    Args:
      scope: Where its variables are.
      carry: The state `h` of shape (..., u); None for zeros.
      x: The input of shape (..., d).
      units: The size u of state and output.
      activation: What is applied to the sum.
      use_bias: Whether there is a bias.
      dropout: The part of the input that is dropped in training; the same in all steps of `recurrent`.
      recurrent_dropout: The part of `h` that the recurrent kernel does not see in training; the same in all steps.
      training: Whether this is training; must be said where something is dropped.
      kernel_initializer: How `kernel` starts; None for the scope's default, else Keras's.
      recurrent_initializer: How `recurrent_kernel` starts; None for the scope's default, else Keras's.
      bias_initializer: How `bias` starts; None for zeros.
      axes: Logical names of the axes of `kernel`; those of units in other variables follow.

    Returns:
      The next carry, and the output, which are the same but for their dtypes.
    """
    check_activations(scope, "rnn", activation=activation)
    kernels = kernels_of(scope, "rnn", x, units, 1, (kernel_initializer, recurrent_initializer), axes)
    carry = checked_state(scope, "rnn", carry, x, units)
    x, kernel, recurrent_kernel = in_one_dtype(x, *kernels)
    x = masked(scope, "rnn", x, dropout, training, "dropout")
    # The carry is narrowed only to be multiplied: what is summed up from step to step keeps its dtype.
    h = masked(scope, "rnn", cast(carry, x.dtype), recurrent_dropout, training, "recurrent_dropout")
    y = _products(x, kernel, h, recurrent_kernel)
    if use_bias:
        bias = bias_of(scope, (units,), bias_initializer, initializers.zeros, axes)
        y = plus(y, bias, (y.ndim - 1,))
    y = activation(y)
    return cast(y, carry.dtype), y


@named
def lstm(
    scope: Scope,
    carry: Pair | None,
    x: jax.Array,
    units: int,
    *,
    activation: Activation = jnp.tanh,
    recurrent_activation: Activation = jax.nn.sigmoid,
    use_bias: bool = True,
    unit_forget_bias: bool = True,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    training: bool | None = None,
    kernel_initializer: Start = None,
    recurrent_initializer: Start = None,
    bias_initializer: Start = None,
    axes: Axes | None = None,
) -> tuple[Pair, jax.Array]:
    """One step of a long short-term memory.

    >>> step = jscope.transform(lambda scope, x_bd: jscope.nn.lstm(scope, None, x_bd, 5))
    >>> params = step.init(jax.random.key(0), jnp.ones((2, 3)))
    >>> (h_bu, c_bu), y_bu = step.apply(params, jnp.ones((2, 3)))
    >>> params["kernel"].shape, params["recurrent_kernel"].shape, params["bias"].shape, y_bu.shape
    ((3, 20), (5, 20), (20,), (2, 5))

    Variables: `kernel` (d, 4u), Glorot uniform; `recurrent_kernel` (u, 4u), orthogonal; `bias` (4u,), zeros, but ones
    for the forget gate. The gates are input, forget, candidate, output. (Keras's `LSTM`; Hochreiter and Schmidhuber,
    1997; Gers et al., 1999, https://doi.org/10.1049/cp:19991218.)

    Args:
      scope: Where its variables are.
      carry: Output `h` and memory `c` of the step before, both (..., u); None for zeros.
      x: The input of shape (..., d).
      units: The size u of memory and output.
      activation: Of the candidate and the memory.
      recurrent_activation: Of the gates.
      use_bias: Whether there is a bias.
      unit_forget_bias: Whether the bias of the forget gate starts at 1.
      dropout: The part of the input that is dropped in training; the same in all steps of `recurrent`.
      recurrent_dropout: The part of `h` that the recurrent kernel does not see in training; the same in all steps.
      training: Whether this is training; must be said where something is dropped.
      kernel_initializer: How `kernel` starts; None for the scope's default, else Keras's.
      recurrent_initializer: How `recurrent_kernel` starts; None for the scope's default, else Keras's.
      bias_initializer: How `bias` starts (apart from the forget gate's); None for zeros.
      axes: Logical names of the axes of `kernel`; those of units in other variables follow.

    Returns:
      The next carry `(h, c)`, and the output, which is `h` in the dtype of `x`.
    """
    check_activations(scope, "lstm", activation=activation, recurrent_activation=recurrent_activation)
    kernels = kernels_of(scope, "lstm", x, units, 4, (kernel_initializer, recurrent_initializer), axes)
    carry = checked_pair(scope, "lstm", carry, x, units)
    x, kernel, recurrent_kernel = in_one_dtype(x, *kernels)
    x = masked(scope, "lstm", x, dropout, training, "dropout")
    h = masked(scope, "lstm", cast(carry[0], x.dtype), recurrent_dropout, training, "recurrent_dropout")
    gates = _products(x, kernel, h, recurrent_kernel)
    if use_bias:
        bias = lstm_bias(scope, units, bias_initializer, axes, unit_forget_bias)
        gates = plus(gates, bias, (gates.ndim - 1,))
    return remember(carry, gates, activation, recurrent_activation)


@named
def gru(
    scope: Scope,
    carry: jax.Array | None,
    x: jax.Array,
    units: int,
    *,
    activation: Activation = jnp.tanh,
    recurrent_activation: Activation = jax.nn.sigmoid,
    use_bias: bool = True,
    reset_after: bool = True,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    training: bool | None = None,
    kernel_initializer: Start = None,
    recurrent_initializer: Start = None,
    bias_initializer: Start = None,
    axes: Axes | None = None,
) -> tuple[jax.Array, jax.Array]:
    """One step of a gated recurrent unit.

    >>> step = jscope.transform(lambda scope, x_bd: jscope.nn.gru(scope, None, x_bd, 5))
    >>> params = step.init(jax.random.key(0), jnp.ones((2, 3)))
    >>> params["kernel"].shape, params["recurrent_kernel"].shape, params["bias"].shape
    ((3, 15), (5, 15), (2, 15))

    Variables: `kernel` (d, 3u), Glorot uniform; `recurrent_kernel` (u, 3u), orthogonal; `bias`, zeros: (2, 3u), for
    input and state, with `reset_after`, otherwise (3u,). The gates are update, reset, candidate. (Keras's `GRU`; Cho et
    al., 2014, https://arxiv.org/abs/1406.1078.)

    Args:
      scope: Where its variables are.
      carry: The state `h` of shape (..., u); None for zeros.
      x: The input of shape (..., d).
      units: The size u of state and output.
      activation: Of the candidate.
      recurrent_activation: Of the gates.
      use_bias: Whether there is a bias.
      reset_after: Whether the state is reset after the product with its kernel (as in cuDNN) rather than before it (as
        in the paper, and in TensorFlow 1).
      dropout: The part of the input that is dropped in training; the same in all steps of `recurrent`.
      recurrent_dropout: The part of `h` that the recurrent kernel does not see in training; the same in all steps.
      training: Whether this is training; must be said where something is dropped.
      kernel_initializer: How `kernel` starts; None for the scope's default, else Keras's.
      recurrent_initializer: How `recurrent_kernel` starts; None for the scope's default, else Keras's.
      bias_initializer: How `bias` starts; None for zeros.
      axes: Logical names of the axes of `kernel`; those of units in other variables follow.

    Returns:
      The next carry, and the output, which are the same but for their dtypes.
    """
    check_activations(scope, "gru", activation=activation, recurrent_activation=recurrent_activation)
    kernels = kernels_of(scope, "gru", x, units, 3, (kernel_initializer, recurrent_initializer), axes)
    carry = checked_state(scope, "gru", carry, x, units)
    x, kernel, recurrent_kernel = in_one_dtype(x, *kernels)
    h, both = cast(carry, x.dtype), 2 * units
    x = masked(scope, "gru", x, dropout, training, "dropout")
    seen = masked(scope, "gru", h, recurrent_dropout, training, "recurrent_dropout")
    from_x = times(x, kernel)
    # Without `reset_after`, the candidate sees the state after the reset, which is not known yet: two products instead
    # of one.
    from_h = times(seen, recurrent_kernel if reset_after else recurrent_kernel[:, :both])
    if use_bias:
        shape = (2, 3 * units) if reset_after else (3 * units,)
        bias = cast(bias_of(scope, shape, bias_initializer, initializers.zeros, axes), x.dtype)
        from_x = plus(from_x, bias[0] if reset_after else bias, (x.ndim - 1,))
        # As in cuDNN, the second bias is within what the reset multiplies; otherwise one bias would do.
        from_h = plus(from_h, bias[1], (x.ndim - 1,)) if reset_after else from_h
    update, reset = jnp.split(recurrent_activation(from_x[..., :both] + from_h[..., :both]), 2, axis=-1)
    remembered = reset * from_h[..., both:] if reset_after else times(reset * seen, recurrent_kernel[:, both:])
    # The gate says what stays, as in the paper, Keras, Flax and PyTorch; elsewhere (Chung et al., 2014) it says what is
    # new. What was dropped is hidden from the kernel, but not forgotten.
    y = update * h + (1 - update) * activation(from_x[..., both:] + remembered)
    return cast(y, carry.dtype), y


@one_operation
def _products(x: jax.Array, kernel: jax.Array, h: jax.Array, recurrent_kernel: jax.Array) -> jax.Array:
    return jax.lax.add(times(x, kernel), times(h, recurrent_kernel))
