"""What recurrent cells have in common: gates side by side in one kernel, and a carry that keeps its dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from jscope import initializers
from jscope._defaults import OFF, Off
from jscope._scope import Scope
from jscope._types import Axes, DType, Initializer, Key, Shape
from jscope.nn._layer import GLOROT, ORTHOGONAL, Activation, cast, check_rank, check_size, refuse, vector, weight
from jscope.nn._noise import dropped

Start: TypeAlias = Initializer | Off | None
Pair: TypeAlias = tuple[jax.Array, jax.Array]


# The slot for weak references is for `_util/_same`, which remembers initializers without keeping them alive.
@dataclass(frozen=True, slots=True, weakref_slot=True)
class Forgetful:
    """Starts the bias of the forget gate, second of four, at 1, so that memory lasts; the others as `others` says."""

    others: Initializer

    def __call__(self, key: Key, shape: Shape, dtype: DType = jnp.float32) -> jax.Array:
        units = shape[0] // 4
        return self.others(key, shape, dtype).at[units : 2 * units].set(1)


def kernels_of(
    scope: Scope, layer: str, x: jax.Array, units: int, gates: int, starts: tuple[Start, Start], axes: Axes | None
) -> Pair:
    """Returns the two kernels of a cell, for its input and for its state."""
    check_rank(scope, layer, x, "(..., features)", least=1)
    check_size(scope, layer, "units", units)
    if axes is not None and len(axes) != 2:
        refuse(scope, layer, f"axes={axes!r} does not name two axes", 'Name those of `kernel`: ("embed", "mlp").')
    width, state_axes = gates * units, None if axes is None else (None, axes[1])
    kernel = weight(scope, "kernel", (x.shape[-1], width), starts[0], GLOROT, axes)
    return kernel, weight(scope, "recurrent_kernel", (units, width), starts[1], ORTHOGONAL, state_axes)


MASKS = ("dropout", "recurrent_dropout")
"""Streams of random keys, for what is dropped of inputs and of states: `recurrent` has all steps draw the same."""


def masked(scope: Scope, layer: str, x: jax.Array, rate: float, training: bool | None, stream: str) -> jax.Array:
    """Returns an input or a state as the kernels see it: in training, a part of it is dropped."""
    # Not `not rate`: one that is traced is neither true nor false.
    return x if rate.__class__ is float and rate == 0 else dropped(scope, layer, x, rate, training, x.shape, stream)


def bias_of(scope: Scope, shape: Shape, start: Start, keras: Initializer, axes: Axes | None) -> jax.Array:
    """Returns the bias of a cell, whose last axis is that of the kernels."""
    names = None if axes is None else (*(None,) * (len(shape) - 1), axes[-1])
    return vector(scope, "bias", shape, start, keras, names)


def lstm_bias(scope: Scope, units: int, start: Start, axes: Axes | None, unit_forget_bias: bool) -> jax.Array:
    """Returns the bias of the four gates of a long short-term memory."""
    if start is None or start is OFF:
        start = initializers.zeros
    # An array says how all gates start, that one included.
    if unit_forget_bias and callable(start):
        start = Forgetful(start)
    return bias_of(scope, (4 * units,), start, initializers.zeros, axes)


def remember(
    carry: Pair, gates: jax.Array, activation: Activation, recurrent_activation: Activation
) -> tuple[Pair, jax.Array]:
    """Returns the next carry and the output, from the gates: input, forget, candidate, output."""
    h, c = carry
    write, keep, candidate, show = jnp.split(gates, 4, axis=-1)
    written = recurrent_activation(write) * activation(candidate)
    # In the dtype of the memory, which adds up over all steps.
    c = cast(recurrent_activation(keep), c.dtype) * c + cast(written, c.dtype)
    y = recurrent_activation(show) * cast(activation(c), gates.dtype)
    return (cast(y, h.dtype), c), y


def zeros_for(x: Any, units: int) -> jax.Array:
    """Returns a state to start with, for an input of this shape and dtype."""
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.float32
    return jnp.zeros((*x.shape[:-1], units), dtype)


def pair_of_zeros(x: Any, units: int) -> Pair:
    """Returns a state and a memory to start with."""
    zeros = zeros_for(x, units)
    return zeros, zeros


def checked_state(scope: Scope, layer: str, carry: jax.Array | None, x: jax.Array, units: int) -> jax.Array:
    """Returns the state of a cell, or one to start with if there is none."""
    if carry is None:
        return zeros_for(x, units)
    _check_carry(scope, layer, carry, (*x.shape[:-1], units))
    return carry


def checked_pair(scope: Scope, layer: str, carry: Pair | None, x: Any, units: int) -> Pair:
    """Returns the state and the memory of a cell, or those to start with if there are none."""
    if carry is None:
        return pair_of_zeros(x, units)
    _check_carry(scope, layer, carry, ((*x.shape[:-1], units),) * 2)
    return carry


def _check_carry(scope: Scope, layer: str, carry: Any, wanted: Any) -> None:
    found = jax.tree.map(jnp.shape, carry)
    if found != wanted:
        refuse(
            scope,
            layer,
            f"the carry has the shape {found}, where {wanted} is needed",
            "It is what the step before returned; None stands for zeros.",
        )
