"""A constraint is a value that maps a variable to the nearest allowed one, of the same shape and dtype.

`Specs.apply_constraints` runs them all after an optimizer's step. A variable that is allowed already stays as it is.
(Keras adds 1e-7 to every norm, and so shrinks even allowed values a little at every step.) Norms are computed in at
least float32. Bounds in the wrong order are an `InvalidArgumentError` when the constraint is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import TypeAlias

import jax
import jax.numpy as jnp

from jscope.errors import InvalidArgumentError

Axis: TypeAlias = int | tuple[int, ...] | None
"""The axes that a norm sums over: 0 for the inputs of a dense layer, `(0, 1, 2)` for those of a 2-D convolution, None
for all axes."""


def _check_order(constraint: object, order: str, *numbers: float) -> None:
    real = all(isinstance(number, Real) for number in numbers)
    if not (real and all(float(low) <= float(high) for low, high in pairwise(numbers))):
        raise InvalidArgumentError(f"`{constraint!r}` must have numbers with {order}.")


def _with_norm(value: jax.Array, axis: Axis, new_norm: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Scales `value` along `axis` so that its norm becomes `new_norm(norm)`. A norm of zero stays zero."""
    wide = jnp.issubdtype(value.dtype, jnp.inexact) and value.dtype.itemsize >= 4
    old = value if wide else value.astype(jnp.float32)
    squares = jnp.sum(jnp.real(old * jnp.conj(old)), axis=axis, keepdims=True)
    # The gradient of sqrt at 0 is infinite, and NaN once it is multiplied by 0.
    norm = jnp.sqrt(jnp.where(squares == 0, 1, squares))
    return (old * (new_norm(norm) / norm).astype(old.dtype)).astype(value.dtype)


# All have a slot for weak references, because `jax.jit` keeps one to every function that it is given.
@dataclass(frozen=True, slots=True, weakref_slot=True)
class max_norm:
    """Scales vectors along `axis` down to a norm of `limit` if theirs is larger.

    >>> max_norm(5.0)(jnp.array([[6.0, 3.0], [8.0, 4.0]])).tolist()
    [[3.0, 3.0], [4.0, 4.0]]
    """

    limit: float
    axis: Axis = 0

    def __post_init__(self) -> None:
        _check_order(self, "0 <= limit", 0, self.limit)

    def __call__(self, value: jax.Array) -> jax.Array:
        return _with_norm(value, self.axis, lambda norm: jnp.minimum(norm, self.limit))


@dataclass(frozen=True, slots=True, weakref_slot=True)
class unit_norm:
    """Scales vectors along `axis` to a norm of 1; zeros stay zeros.

    >>> unit_norm()(jnp.array([3.0, 4.0])).tolist() == jnp.array([0.6, 0.8]).tolist()
    True
    """

    axis: Axis = 0

    def __call__(self, value: jax.Array) -> jax.Array:
        return _with_norm(value, self.axis, jnp.ones_like)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class min_max_norm:
    """Scales vectors along `axis` so that their norm moves towards the interval from `low` to `high`.

    With a `rate` of 1 it moves all the way, with 0 not at all.

    >>> min_max_norm(0.0, 1.0, rate=0.5)(jnp.array([0.0, 3.0])).tolist()
    [0.0, 2.0]
    """

    low: float
    high: float
    rate: float = 1.0
    axis: Axis = 0

    def __post_init__(self) -> None:
        _check_order(self, "0 <= low <= high", 0, self.low, self.high)
        _check_order(self, "0 <= rate <= 1", 0, self.rate, 1)

    def __call__(self, value: jax.Array) -> jax.Array:
        def towards_bounds(norm: jax.Array) -> jax.Array:
            return norm + self.rate * (jnp.clip(norm, self.low, self.high) - norm)

        return _with_norm(value, self.axis, towards_bounds)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class clip:
    """Moves elements that are less than `low` or more than `high` to that bound; None is no bound.

    >>> clip(-1.0, 1.0)(jnp.array([-3.0, 0.5, 2.0])).tolist()
    [-1.0, 0.5, 1.0]
    """

    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        _check_order(self, "low <= high", -math.inf, *bounds)

    def __call__(self, value: jax.Array) -> jax.Array:
        return jnp.clip(value, self.low, self.high).astype(value.dtype)


non_neg = clip(0, None)
"""Moves negative elements to 0. Used without a call: `constraint=non_neg`."""
