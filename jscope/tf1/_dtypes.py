"""Dtypes as TensorFlow takes them: by name, by NumPy's or JAX's object, or as Python's `float`, `bool`, `int`.

A dtype is kept as it was asked for, 64 bits included, because reuse compares it. JAX's canonical one is only for
storing.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1._errors import ArgumentTypeError, advised

FLOAT32 = np.dtype("float32")
# NumPy takes Python's `float` for 64 bits, TensorFlow for 32.
_PYTHON: dict[Any, str] = {float: "float32", bool: "bool"}


class DType:
    """A dtype as TensorFlow has it. It equals NumPy's, and NumPy and JAX take it wherever they take a dtype.

    >>> x = DType("bfloat16")
    >>> x.name, x.is_floating, x.base_dtype is x, x == jnp.bfloat16, jnp.zeros(2, x).dtype == x
    ('bfloat16', True, True, True, True)
    """

    __slots__ = ("dtype",)

    def __init__(self, dtype: Any) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    @property
    def name(self) -> str:
        """The name, such as `float32`."""
        return self.dtype.name

    @property
    def as_numpy_dtype(self) -> type:
        """NumPy's class of scalars of this dtype."""
        return self.dtype.type

    @property
    def base_dtype(self) -> DType:
        """The dtype itself: here nothing is a reference."""
        return self

    real_dtype = base_dtype

    @property
    def is_floating(self) -> bool:
        """Whether it is a dtype of real floating-point numbers."""
        return jnp.issubdtype(self.dtype, jnp.floating)

    @property
    def is_integer(self) -> bool:
        """Whether it is a dtype of integers."""
        return jnp.issubdtype(self.dtype, jnp.integer)

    @property
    def is_unsigned(self) -> bool:
        """Whether it is a dtype of integers without a sign."""
        return jnp.issubdtype(self.dtype, jnp.unsignedinteger)

    @property
    def is_complex(self) -> bool:
        """Whether it is a dtype of complex numbers."""
        return jnp.issubdtype(self.dtype, jnp.complexfloating)

    @property
    def is_bool(self) -> bool:
        """Whether it is the dtype of truth values."""
        return self.dtype == bool

    @property
    def size(self) -> int:
        """The number of bytes of one element."""
        return self.dtype.itemsize

    itemsize = size

    @property
    def kind(self) -> str:
        """NumPy's letter for the kind of dtype."""
        return self.dtype.kind

    @property
    def type(self) -> type:
        """NumPy's class of scalars of this dtype."""
        return self.dtype.type

    @property
    def max(self) -> Any:
        """The largest number."""
        return self._limits().max

    @property
    def min(self) -> Any:
        """The smallest number."""
        return self._limits().min

    def is_compatible_with(self, other: Any) -> bool:
        """Whether the other dtype is the same."""
        return self == other

    def _limits(self) -> Any:
        return jnp.iinfo(self.dtype) if self.is_integer else jnp.finfo(self.dtype)

    def __eq__(self, other: object) -> bool:
        try:
            return other is not None and self.dtype == as_dtype(other)
        except TypeError:
            return False

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"tf1.{self.name}"


wrapped = functools.cache(DType)
"""Returns the `DType` of a dtype of NumPy's, always the same object."""


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """Returns the dtype that was meant, with 64 bits if it has them.

    >>> as_dtype("float64"), as_dtype(float), as_dtype(jnp.bfloat16).name
    (dtype('float64'), dtype('float32'), 'bfloat16')
    """
    # Scopes hand down dtypes that were converted before, this one nearly always; what follows is slow.
    if dtype is FLOAT32 or (isinstance(dtype, np.dtype) and dtype.kind not in "OSU"):
        return dtype
    if isinstance(dtype, DType):
        return dtype.dtype
    try:
        found = jnp.dtype(_PYTHON.get(dtype, dtype) if isinstance(dtype, type) else dtype)
    except TypeError:
        if dtype == "string":
            raise _no_strings(dtype) from None
        raise ArgumentTypeError(
            advised(
                f"Cannot convert the argument `type_value`: {dtype!r} to a TensorFlow DType.",
                "Use `jnp.float32`, `jnp.int32`, ..., or their names.",
            )
        ) from None
    if dtype is None or found.kind in "OSU":
        raise _no_strings(dtype)
    return found


def canonical(dtype: Any) -> np.dtype[Any]:
    """Returns the dtype as JAX stores it: without 64 bits unless they are enabled."""
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def as_constant(value: Any, dtype: Any = None) -> Any:
    """Returns an array of a constant, with the dtype that TensorFlow gives it: int32 for 4, float32 for 4.5.

    Arrays of JAX stay what they are; anything else becomes a NumPy array, which is not a tracer in any trace.

    >>> as_constant([1, 2]).dtype, as_constant(4.5).dtype, as_constant(np.zeros(2)).dtype
    (dtype('int32'), dtype('float32'), dtype('float64'))
    """
    if isinstance(value, jax.Array):
        return value if dtype is None else value.astype(canonical(dtype))
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        raise _no_strings(value)
    if dtype is not None:
        return array.astype(dtype)
    # NumPy's choice for Python's numbers is 64 bits. What has a dtype, or has items that have one, keeps it.
    if not hasattr(value, "dtype"):
        natural = {"i": "int32", "f": "float32", "c": "complex128"}.get(array.dtype.kind)
        return array if natural is None or _holds_numpy(value) else array.astype(natural)
    return array


def name(dtype: Any) -> str:
    """Returns how TensorFlow prints a dtype.

    >>> name(np.float32)
    "<dtype: 'float32'>"
    """
    try:
        return f"<dtype: '{as_dtype(dtype).name}'>"
    except TypeError:
        return repr(dtype)


def _holds_numpy(value: Any) -> bool:
    """Whether a nested list holds NumPy's scalars or arrays, whose dtype counts."""
    if isinstance(value, list | tuple):
        return any(map(_holds_numpy, value))
    return hasattr(value, "dtype")


def _no_strings(value: Any) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"{value!r} is, or has, a dtype that JAX has no arrays of: it has arrays of numbers and bools, but not of "
        "strings or objects.\nKeep strings in Python, outside the variables."
    )


bfloat16, float16, float32, float64 = map(wrapped, map(np.dtype, (jnp.bfloat16, "float16", "float32", "float64")))
complex64, complex128 = map(wrapped, map(np.dtype, ("complex64", "complex128")))
int8, int16, int32, int64 = map(wrapped, map(np.dtype, ("int8", "int16", "int32", "int64")))
uint8, uint16, uint32, uint64 = map(wrapped, map(np.dtype, ("uint8", "uint16", "uint32", "uint64")))
half, double = float16, float64
bool_ = wrapped(np.dtype("bool"))
