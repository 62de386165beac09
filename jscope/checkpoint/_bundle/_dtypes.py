"""TensorFlow's numbers for dtypes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

STRING = 7

_NUMERIC = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    26: "float8_e4m3fnuz",
    27: "float8_e4m3b11fnuz",
    28: "float8_e5m2fnuz",
    29: "int4",
    30: "uint4",
    31: "int2",
    32: "uint2",
    33: "float4_e2m1fn",
}
# What has no place in an array: quantized numbers, handles of resources, values of any type.
_OTHER = {11: "qint8", 12: "quint8", 13: "qint32", 15: "qint16", 16: "quint16", 20: "resource", 21: "variant"}

_DTYPES = {number: np.dtype(getattr(jnp, name)) for number, name in _NUMERIC.items() if hasattr(jnp, name)}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}


def numeric(number: int) -> np.dtype | None:
    """Returns the dtype of numbers, or None for anything else.

    >>> numeric(14), numeric(20)
    (dtype(bfloat16), None)
    """
    return _DTYPES.get(number)


def number_of(dtype: np.dtype) -> int | None:
    """Returns TensorFlow's number of a dtype, or None where it has none.

    >>> number_of(np.dtype("float32")), number_of(np.dtype("M8[s]"))
    (1, None)
    """
    return _NUMBERS.get(dtype)


def name_of(number: int) -> str:
    """Returns what TensorFlow calls a dtype.

    >>> name_of(21), name_of(101), name_of(999)
    ('variant', 'float32_ref', 'dtype number 999')
    """
    names = _NUMERIC | _OTHER | {STRING: "string"}
    # Variables of graphs are of TensorFlow's reference types, which are numbered so.
    if number - 100 in names:
        return f"{names[number - 100]}_ref"
    return names.get(number, f"dtype number {number}")


def shown(number: int) -> np.dtype:
    """Returns the dtype that a list of variables shows: for what cannot be read, one with the name as its field.

    >>> shown(1), shown(7), shown(21).names
    (dtype('float32'), dtype('O'), ('variant',))
    """
    if number == STRING:
        return np.dtype(object)
    return _DTYPES.get(number) or np.dtype([(name_of(number), "V1")])
