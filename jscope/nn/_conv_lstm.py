"""A long short-term memory whose products are convolutions: it remembers something at each place of an image."""

from __future__ import annotations

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jscope._scope import Scope
from jscope._types import Axes
from jscope.nn._gates import Pair, Start, checked_pair, lstm_bias, masked, pair_of_zeros, remember
from jscope.nn._layer import (
    GLOROT,
    ORTHOGONAL,
    Activation,
    along,
    cast,
    check_activations,
    check_rank,
    check_size,
    in_one_dtype,
    named,
    one_operation,
    refuse,
    weight,
)
from jscope.nn._spatial import SPATIAL, Window, check_fits, pairs, window


@named
def conv_lstm(
    scope: Scope,
    carry: Pair | None,
    x: jax.Array,
    filters: int,
    kernel_size: tuple[int, ...],
    *,
    strides: int | tuple[int, ...] = 1,
    padding: Literal["valid", "same"] = "valid",
    dilation: int | tuple[int, ...] = 1,
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
    """One step of a convolutional long short-term memory.

    >>> step = jscope.transform(lambda scope, x: jscope.nn.conv_lstm(scope, None, x, 5, (3, 3), padding="same"))
    >>> x_bhwc = jnp.ones((2, 8, 8, 3))
    >>> params = step.init(jax.random.key(0), x_bhwc)
    >>> (h_bhwf, c_bhwf), y_bhwf = step.apply(params, x_bhwc)
    >>> params["kernel"].shape, params["recurrent_kernel"].shape, y_bhwf.shape
    ((3, 3, 3, 20), (3, 3, 5, 20), (2, 8, 8, 5))

    Variables: `kernel` `(*kernel_size, c, 4f)`, Glorot uniform; `recurrent_kernel` `(*kernel_size, f, 4f)`, orthogonal;
    `bias` (4f,), zeros, but ones for the forget gate. (Keras's `ConvLSTM1D` to `3D`; Shi et al., 2015,
    https://arxiv.org/abs/1506.04214, without the peepholes.)

    Args:
      scope: Where its variables are.
      carry: Output `h` and memory `c` of the step before, of the shape of the output; None for zeros.
      x: The input of shape `(batch, *space, c)`, with one to three axes of space.
      filters: The number f of channels of memory and output.
      kernel_size: The size of the window along each axis of space.
      strides: Of the convolution of the input; that of the state has none.
      padding: Of the convolution of the input; that of the state keeps its size.
      dilation: Of the convolution of the input; that of the state has none.
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
      axes: Logical names of the last two axes of `kernel`; that of filters in other variables follows.

    Returns:
      The next carry `(h, c)`, and the output, which is `h` in the dtype of `x`.
    """
    check_rank(scope, "conv_lstm", x, "(batch, *space, channels)", 3, 4, 5)
    check_activations(scope, "conv_lstm", activation=activation, recurrent_activation=recurrent_activation)
    over = _checked(scope, x, filters, kernel_size, padding, strides, dilation)
    space = (None,) * len(kernel_size)
    names = (None, None) if axes is None else ((*space, *axes), (*space, None, axes[-1]))
    shapes = [(*kernel_size, channels, 4 * filters) for channels in (x.shape[-1], filters)]
    kernel = weight(scope, "kernel", shapes[0], kernel_initializer, GLOROT, names[0])
    recurrent_kernel = weight(scope, "recurrent_kernel", shapes[1], recurrent_initializer, ORTHOGONAL, names[1])
    x, kernel, recurrent_kernel = in_one_dtype(x, kernel, recurrent_kernel)
    x = masked(scope, "conv_lstm", x, dropout, training, "dropout")
    gates = _conv(x, kernel, over.strides, padding, over.dilation)
    # How large the state is follows from strides and padding, so it is seen only after the input was convolved.
    carry = checked_pair(scope, "conv_lstm", carry, gates, filters)
    h = masked(scope, "conv_lstm", cast(carry[0], x.dtype), recurrent_dropout, training, "recurrent_dropout")
    ones = (1,) * len(over)
    gates = jax.lax.add(gates, _conv(h, recurrent_kernel, ones, "same", ones))
    if use_bias:
        bias = lstm_bias(scope, filters, bias_initializer, axes, unit_forget_bias)
        gates = jax.lax.add(gates, along(cast(bias, gates.dtype), gates.ndim))
    return remember(carry, gates, activation, recurrent_activation)


def zero_image(
    scope: Scope,
    x: Any,
    filters: int,
    kernel_size: tuple[int, ...],
    strides: int | tuple[int, ...] = 1,
    padding: str = "valid",
    dilation: int | tuple[int, ...] = 1,
) -> Pair:
    """Returns a state and a memory to start with: zeros of the shape of the output."""
    over = _checked(scope, x, filters, kernel_size, padding, strides, dilation)
    kernel = jax.ShapeDtypeStruct((*over.size, x.shape[-1], filters), x.dtype)
    image = jax.ShapeDtypeStruct(x.shape, x.dtype)
    # JAX is asked for the size, in the place of a formula that would have to agree with it. Only space counts here: of
    # the four gates, one will do.
    out = jax.eval_shape(
        functools.partial(_conv, strides=over.strides, padding=padding, dilation=over.dilation), image, kernel
    )
    return pair_of_zeros(jax.ShapeDtypeStruct(out.shape, x.dtype), filters)


@functools.partial(one_operation, static_argnums=(2, 3, 4))
def _conv(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, ...], padding: str, dilation: tuple[int, ...]
) -> jax.Array:
    space = SPATIAL[: x.ndim - 2]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    options = {"rhs_dilation": dilation, "dimension_numbers": numbers}
    return jax.lax.conv_general_dilated(x, kernel, strides, padding.upper(), **options)


def _checked(scope: Scope, x: Any, filters: int, kernel_size: Any, padding: Any, *steps: Any) -> Window:
    """Returns the window of the input, after checking that it fits."""
    check_size(scope, "conv_lstm", "filters", filters)
    if not isinstance(kernel_size, tuple) or len(kernel_size) != x.ndim - 2:
        problem = f"`kernel_size` is {kernel_size!r}, and the input has shape {x.shape}"
        refuse(scope, "conv_lstm", problem, f"It should be a tuple of {x.ndim - 2} ints, one for each axis of space.")
    if padding not in ("valid", "same"):
        refuse(scope, "conv_lstm", f"`padding` is {padding!r}", 'It should be "valid" or "same".')
    over = window(scope, "conv_lstm", x, kernel_size, *steps)
    check_fits(scope, "conv_lstm", x, over, pairs(scope, "conv_lstm", x, over, padding, ("valid", "same")))
    return over
