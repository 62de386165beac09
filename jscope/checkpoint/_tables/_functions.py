"""What no pattern says of recurrent cells: biases that are summed, shifted or missing, gates that mean the opposite.

They work along the last axes: before these are those along which layers are stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope._types import Shape
from jscope.checkpoint._conversions._rule import Function


def _of(x: Any) -> Any:
    """Returns the library that an array belongs to: functions are given arrays of both."""
    return jnp if isinstance(x, jax.Array) else np


def _like(shape: Callable[[Shape], Shape]) -> Callable[[Any], Any]:
    return lambda struct: jax.ShapeDtypeStruct(shape(struct.shape), struct.dtype)


def _with_zeros(x: Any) -> Any:
    return _of(x).stack([x, _of(x).zeros_like(x)], -2)


def _shifted(x: Any, by: int) -> Any:
    shift = np.repeat(np.array([0, by, 0, 0]), x.shape[-1] // 4)
    # Spread by hand, since JAX may be told to refuse to do so.
    return x + np.broadcast_to(shift.astype(x.dtype), x.shape)


def _negated(x: Any) -> Any:
    units = x.shape[-1] // 3
    return _of(x).concatenate([-x[..., :units], x[..., units:]], -1)


def _spread(x: Any) -> Any:
    """Returns the two biases of each gate, from three and the one of the state's candidate."""
    numpy, shape = _of(x), (*x.shape[:-2], -1)
    of_state = numpy.concatenate([numpy.zeros_like(x[..., :2, :]), x[..., 3:, :]], -2)
    return numpy.stack([x[..., :3, :].reshape(shape), of_state.reshape(shape)], -2)


def _gathered(x: Any) -> Any:
    x = x.reshape(*x.shape[:-1], 3, -1)
    of_input, of_state = x[..., 0, :, :], x[..., 1, :, :]
    return _of(x).concatenate(
        [of_input[..., :2, :] + of_state[..., :2, :], of_input[..., 2:, :], of_state[..., 2:, :]], -2
    )


FUNCTIONS: Mapping[str, Function] = {
    # Where two biases are only ever added, as in cuDNN, we have their sum; theirs are then the sum and zeros.
    "sum": Function(
        lambda x: x.sum(-2),
        _with_zeros,
        _like(lambda shape: (*shape[:-2], shape[-1])),
        _like(lambda shape: (*shape[:-1], 2, shape[-1])),
        lossy=True,
    ),
    # No bias for the state, which ours may have in the candidate.
    "of_input": Function(
        _with_zeros,
        lambda x: x[..., 0, :],
        _like(lambda shape: (*shape[:-1], 2, shape[-1])),
        _like(lambda shape: (*shape[:-2], shape[-1])),
        lossy=True,
    ),
    # One is added to the forget gate where it is computed; ours begins with it. In floats, adding is not exact.
    "forget": Function(
        lambda x: _shifted(x, 1), lambda x: _shifted(x, -1), _like(lambda shape: shape), _like(lambda shape: shape),
        lossy=True,
    ),
    # The gate says how much is new, and ours how much stays: 1 - sigmoid(x) is sigmoid(-x).
    "negated": Function(_negated, _negated, _like(lambda shape: shape), _like(lambda shape: shape)),
    # For the gates, the biases of input and state are only ever added: there is one.
    "spread": Function(
        _spread,
        _gathered,
        _like(lambda shape: (*shape[:-2], 2, 3 * shape[-1])),
        _like(lambda shape: (*shape[:-2], 4, shape[-1] // 3)),
        lossy=True,
    ),
}  # fmt: skip
"""What rows name, by names; conversions take those with them that they need."""
