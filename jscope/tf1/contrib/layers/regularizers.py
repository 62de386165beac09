"""Regularizers: each returns a function of a variable's value.

With a scale of 0, that function returns None, which means no penalty.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jscope.tf1._ambient import current
from jscope.tf1._arrays import absolute, unwrap
from jscope.tf1._collections import GraphKeys, add, get_collection
from jscope.tf1._errors import ArgumentError

Penalty = Callable[[Any], Any]


def l1_regularizer(scale: float, scope: str | None = None) -> Penalty:
    """Returns a regularizer of `scale * sum(abs(value))`.

    >>> float(l1_regularizer(0.5)(jnp.array([1.0, -2.0])))
    1.5
    """
    scale = _checked_scale(scale)
    if scale == 0.0:
        return _no_penalty

    def l1(weights: Any) -> jax.Array:
        value = jnp.asarray(unwrap(weights))
        # In the dtype of the variable: TensorFlow adds penalties of one dtype only.
        return jnp.asarray(scale, value.dtype) * jnp.sum(absolute(value))

    return l1


def l2_regularizer(scale: float, scope: str | None = None) -> Penalty:
    """Returns a regularizer of `scale * sum(value**2) / 2`: half of Keras's.

    >>> float(l2_regularizer(0.5)(jnp.array([1.0, -2.0])))
    1.25
    """
    scale = _checked_scale(scale)
    if scale == 0.0:
        return _no_penalty

    def l2(weights: Any) -> jax.Array:
        value = jnp.asarray(unwrap(weights))
        return jnp.asarray(scale, value.dtype) * (jnp.sum(value * value) / 2).astype(value.dtype)

    return l2


def l1_l2_regularizer(scale_l1: float = 1.0, scale_l2: float = 1.0, scope: str | None = None) -> Penalty:
    """Returns a regularizer of the sum of both penalties.

    >>> float(l1_l2_regularizer(0.5, 0.5)(jnp.array([1.0, -2.0])))
    2.75
    """
    if isinstance(scale_l1, numbers.Integral):
        raise ArgumentError(f"scale_l1 cannot be an integer: {scale_l1}")
    if isinstance(scale_l2, numbers.Integral):
        raise ArgumentError(f"scale_l2 cannot be an integer: {scale_l2}")
    # One of them only: their sum would add a penalty of None.
    if scale_l1 == 0.0:
        return l2_regularizer(scale_l2, scope)
    if scale_l2 == 0.0:
        return l1_regularizer(scale_l1, scope)
    return sum_regularizer([l1_regularizer(scale_l1), l2_regularizer(scale_l2)], scope)  # pyright: ignore[reportReturnType]


def sum_regularizer(regularizer_list: Sequence[Penalty | None], scope: str | None = None) -> Penalty | None:
    """Returns the sum of several regularizers, or None if there are none.

    >>> float(sum_regularizer([l1_regularizer(1.0), None])(jnp.array([1.0, -2.0])))
    3.0
    """
    regularizers = [regularizer for regularizer in regularizer_list if regularizer is not None]
    if not regularizers:
        return None

    def total(weights: Any) -> Any:
        penalties = [penalty for f in regularizers if (penalty := f(weights)) is not None]
        return sum(penalties[1:], penalties[0]) if penalties else None

    return total


def apply_regularization(regularizer: Penalty, weights_list: Sequence[Any] | None = None) -> jax.Array:
    """Returns the sum of the penalties of `weights_list` (or the collection `WEIGHTS`), and collects it as a loss."""
    if not weights_list:
        weights_list = get_collection(GraphKeys.WEIGHTS)
    if not weights_list:
        raise ArgumentError("No weights to regularize.")
    penalties = [jnp.zeros(()) if (p := regularizer(w)) is None else p for w in weights_list]
    total = sum(penalties[1:], penalties[0])
    ambient = current("apply_regularization")
    ambient.watch.keep_out_of_caches()
    add(ambient, GraphKeys.REGULARIZATION_LOSSES, total)
    return total


def _no_penalty(_: Any) -> None:
    return None


def _checked_scale(scale: float) -> float:
    # TensorFlow refuses every int, even 0, but takes 0.0, which switches the penalty off.
    if isinstance(scale, numbers.Integral):
        raise ArgumentError(f"scale cannot be an integer: {scale}")
    if isinstance(scale, numbers.Real) and scale < 0.0:
        raise ArgumentError(f"Setting a scale less than 0 on a regularizer: {scale:g}")
    return scale
