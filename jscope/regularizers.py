"""A regularizer is a value that maps a variable to a scalar, the penalty on its size.

`Specs.regularization_loss` adds the penalties up. Sums are computed in at least float32, because a sum of a million
squares does not fit bfloat16. Complex variables count by magnitude. A scale that is negative or not finite is an
`InvalidArgumentError` when the regularizer is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jscope.errors import InvalidArgumentError, ShapeMismatchError


def _check_scale(regularizer: Any, name: str = "scale") -> None:
    """Replaces the field `name` by a float, after checking that it is a finite, non-negative number."""
    value = getattr(regularizer, name)
    if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
        kind = type(regularizer).__name__
        raise InvalidArgumentError(f"`{name}` of `{kind}` must be a finite number of at least 0, not {value!r}.")
    object.__setattr__(regularizer, name, float(value))


def _widen(value: jax.Array) -> jax.Array:
    wide = jnp.issubdtype(value.dtype, jnp.inexact) and value.dtype.itemsize >= 4
    return value if wide else value.astype(jnp.float32)


def _magnitudes(value: jax.Array) -> jax.Array:
    # In JAX, the slope of abs at 0 is 1; here it is 0, as in TensorFlow, so that what is zero stays zero.
    return jnp.abs(value) if jnp.iscomplexobj(value) else value * jnp.sign(value)


def _squares(value: jax.Array) -> jax.Array:
    # Not abs(value)**2: its second derivative would be wrong where a value is 0.
    return jnp.real(value * jnp.conj(value))


# All have a slot for weak references, because `jax.jit` keeps one to every function that it is given.
@dataclass(frozen=True, slots=True, weakref_slot=True)
class l1:
    """Penalises `scale * sum(abs(value))`, for a variable of any shape.

    >>> float(l1(0.5)(jnp.array([1.0, -2.0])))
    1.5
    """

    scale: float

    def __post_init__(self) -> None:
        _check_scale(self)

    def __call__(self, value: jax.Array) -> jax.Array:
        return self.scale * jnp.sum(_magnitudes(_widen(value)))


@dataclass(frozen=True, slots=True, weakref_slot=True)
class l2:
    """Penalises `scale * sum(abs(value)**2)`, for a variable of any shape.

    >>> float(l2(0.5)(jnp.array([1.0, -2.0])))
    2.5

    So does Keras. `tf.contrib.layers.l2_regularizer` and `tf.nn.l2_loss` take half of the sum: use half their scale.
    """

    scale: float

    def __post_init__(self) -> None:
        _check_scale(self)

    def __call__(self, value: jax.Array) -> jax.Array:
        return self.scale * jnp.sum(_squares(_widen(value)))


@dataclass(frozen=True, slots=True, weakref_slot=True)
class l1_l2:
    """Penalises `l1 * sum(abs(value)) + l2 * sum(abs(value)**2)`, for a variable of any shape.

    >>> float(l1_l2(l1=0.5, l2=0.5)(jnp.array([1.0, -2.0])))
    4.0
    """

    l1: float
    l2: float

    def __post_init__(self) -> None:
        _check_scale(self, "l1")
        _check_scale(self, "l2")

    def __call__(self, value: jax.Array) -> jax.Array:
        wide = _widen(value)
        return self.l1 * jnp.sum(_magnitudes(wide)) + self.l2 * jnp.sum(_squares(wide))


@dataclass(frozen=True, slots=True, weakref_slot=True)
class orthogonal:
    """Penalises `scale` times the mean magnitude of the cosine between two rows, or two columns, of a matrix.

    >>> parallel, orthonormal = jnp.ones((2, 2)), jnp.eye(2)
    >>> round(float(orthogonal(0.5)(parallel)), 6), float(orthogonal(0.5)(orthonormal))
    (0.5, 0.0)

    So does Keras's `OrthogonalRegularizer`, but here the penalty of a single row is 0, not NaN. A row of zeros is
    orthogonal to every other. A variable that does not have two axes is a `ShapeMismatchError` when it is penalised.
    """

    scale: float
    mode: Literal["rows", "columns"] = "rows"

    def __post_init__(self) -> None:
        _check_scale(self)
        if self.mode not in ("rows", "columns"):
            raise InvalidArgumentError(f'`mode` must be "rows" or "columns", not {self.mode!r}.')

    def __call__(self, value: jax.Array) -> jax.Array:
        if value.ndim != 2:
            raise ShapeMismatchError(
                f"`{self!r}` needs a matrix, found shape {value.shape}.\n"
                "Give the variable another regularizer, or reshape it in a function that calls this one."
            )
        rows = _widen(value if self.mode == "rows" else value.T)
        # The bound keeps the gradient of a row of zeros finite; it is Keras's.
        norms = jnp.sqrt(jnp.maximum(jnp.sum(_squares(rows), axis=1, keepdims=True), 1e-12))
        rows = rows / norms.astype(rows.dtype)
        cosines = jnp.matmul(rows, rows.conj().T, precision="highest")
        pairs = len(rows) * (len(rows) - 1) / 2
        return self.scale * jnp.sum(jnp.triu(_magnitudes(cosines), k=1)) / max(pairs, 1)
