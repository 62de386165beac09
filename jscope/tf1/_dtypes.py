"""Dtypes as TensorFlow takes them: by name, by NumPy's or JAX's object, or as Python's `float`, `bool`, `int`.

A dtype is kept as it was asked for, 64 bits included, because reuse compares it. JAX's canonical one is only for
storing.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1._errors import ArgumentTypeError, advised

FLOAT32 = np.dtype("float32")
# NumPy takes Python's `float` for 64 bits, TensorFlow for 32.
_PYTHON: dict[Any, str] = {float: "float32", bool: "bool"}


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """Returns the dtype that was meant, with 64 bits if it has them.

    >>> as_dtype("float64"), as_dtype(float), as_dtype(jnp.bfloat16).name
    (dtype('float64'), dtype('float32'), 'bfloat16')
    """
    if isinstance(dtype, np.dtype) and dtype.kind not in "OSU":
        return dtype  # Scopes hand down dtypes that were converted before; what follows is slow.
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
