"""What an object needs to stand for an array: `__jax_array__`, the operators, and the methods of arrays.

JAX's functions take such an object as it is. Equality is not among the operators: old code puts variables into sets and
dicts, where `==` must be identity.
"""

from __future__ import annotations

import abc
import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


class ArrayLike(abc.ABC):
    """Something with a `value()`, which it stands for in arithmetic and in `jax.numpy`."""

    __slots__ = ()
    # So that NumPy's arrays leave `array + variable` to the variable.
    __array_ufunc__ = None
    __array_priority__ = 200

    @abc.abstractmethod
    def value(self) -> Any:
        """Returns the array."""

    def __jax_array__(self) -> jax.Array:
        # The value may be anything that a getter returned, or that stands in the params: a number, say.
        value = self.value()
        return value if isinstance(value, Tracer | jax.Array) else jnp.asarray(value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self.value(), dtype)

    def __getattr__(self, name: str) -> Any:
        # Private names are asked for by `copy` and `pickle`, on objects without a value as well.
        if name.startswith("_") or not hasattr(jax.Array, name):
            raise AttributeError(f"Neither `{type(self).__name__}` nor `jax.Array` has an attribute `{name}`.")
        return getattr(self.value(), name)

    def __getitem__(self, index: Any) -> Any:
        return self.value()[index]

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


def unwrap(value: Any) -> Any:
    """Returns the array that `value` stands for, or `value` itself."""
    return value.value() if isinstance(value, ArrayLike) else value


def _operator(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: function(self.value(), unwrap(other))


def _reflected_operator(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: function(jnp.asarray(unwrap(other)), self.value())


_BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift"]
for _name in _BINARY:
    _plain = _name.rstrip("_")
    setattr(ArrayLike, f"__{_plain}__", _operator(getattr(operator, _name)))
    setattr(ArrayLike, f"__r{_plain}__", _reflected_operator(getattr(operator, _name)))
for _name in ("lt", "le", "gt", "ge"):
    setattr(ArrayLike, f"__{_name}__", _operator(getattr(operator, _name)))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(ArrayLike, f"__{_name}__", (lambda function: lambda self: function(self.value()))(getattr(operator, _name)))
