"""What an object needs to stand for an array: `__jax_array__`, and the methods of arrays.

The functions of `jax.numpy` take such an object as it is; those of `jax.lax` do not. Equality is not among its
operators: old code puts variables into sets and dicts, where `==` must be identity.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray, Tracer


class ArrayLike:
    """Something with a `value()`, which it stands for in arithmetic and in `jax.numpy`."""

    # Not an `abc.ABC`: `isinstance` asks its metaclass, which takes four times as long, and is asked for every operand.
    __slots__ = ()
    # So that NumPy's arrays leave `array + variable` to the variable.
    __array_ufunc__ = None
    __array_priority__ = 200

    if TYPE_CHECKING:

        def value(self) -> Any:
            """Returns the array; each kind of object has its own way to it."""

    def __jax_array__(self) -> jax.Array:
        # The value may be anything that a getter returned, or that stands in the params: a number, say.
        value = self.value()
        return value if is_array(value) else jnp.asarray(value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self.value(), dtype)

    def __getattr__(self, name: str) -> Any:
        # Private names are asked for by `copy` and `pickle`, on objects without a value as well.
        if name.startswith("_") or not hasattr(jax.Array, name):
            raise AttributeError(f"Neither `{type(self).__name__}` nor `jax.Array` has an attribute `{name}`.")
        return getattr(self.value(), name)

    def __len__(self) -> int:
        return len(self.value())

    def __iter__(self) -> Iterator[Any]:
        return iter(self.value())

    def __bool__(self) -> bool:
        return bool(self.value())

    def __int__(self) -> int:
        return int(self.value())

    def __float__(self) -> float:
        return float(self.value())

    def __index__(self) -> int:
        return operator.index(self.value())


def is_array(value: Any) -> bool:
    """Whether a value is an array of JAX's: `isinstance(value, jax.Array)`, but sooner for tracers."""
    # JAX asks a tracer's abstract value as well, but takes ten times as long, and it is asked for every operand.
    return (isinstance(value, Tracer) and value.aval.__class__ is ShapedArray) or isinstance(value, jax.Array)


LISTS = (list, tuple)
"""What may be a list of tensors: `is_list` asks further, which takes longer."""


def is_list(value: Any) -> bool:
    """Whether a value is a list or a tuple, of which some have named parts, but not a shape."""
    return value.__class__ in LISTS or (isinstance(value, tuple) and hasattr(value, "_fields"))


def absolute(value: Any) -> Any:
    """Returns `abs(value)`, whose slope at zero is zero, as in TensorFlow. In JAX it is one."""
    real = is_array(value) and jnp.issubdtype(value.dtype, jnp.floating)
    return value * jnp.sign(value) if real else abs(value)


def unwrap(value: Any) -> Any:
    """Returns the array that `value` stands for, or `value` itself."""
    return value.value() if isinstance(value, ArrayLike) else value
