"""How values are stored in a safetensors file: the format's own dtypes, and views for the others.

What the format has no code for is stored as bytes of a dtype that it has, and its real dtype stands in the metadata:
`int4` and the rarer eights of a byte as `U8`, `complex128` as pairs of `F64`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from jscope._types import Shape

# The format's F8_E4M3 is the one without infinities, `fn`: it has the dtypes of PyTorch, which has only this.
CODES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}
"""The dtypes of the format, by their codes in the header."""

_BYTES = ("int4", "uint4", "int2", "uint2", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float4_e2m1fn")
VIEWS = dict.fromkeys(_BYTES, "U8") | {"complex128": "F64"}
"""The codes that stand in for the dtypes that the format lacks."""

_CODE_OF = {name: code for code, name in CODES.items()} | VIEWS


@lru_cache
def code_of(dtype: np.dtype) -> str | None:
    """Returns the code that values of a dtype are stored under, or None where they cannot be.

    >>> code_of(np.dtype("float32")), code_of(np.dtype("complex128")), code_of(np.dtype("O"))
    ('F32', 'F64', None)
    """
    return _CODE_OF.get(dtype.name)


@lru_cache
def view_of(dtype: np.dtype) -> str | None:
    """Returns the name of a dtype that the format lacks, None for the others.

    >>> view_of(np.dtype("complex128")), view_of(np.dtype("float32"))
    ('complex128', None)
    """
    return dtype.name if dtype.name in VIEWS else None


@lru_cache
def dtype_of(code: str) -> np.dtype:
    """Returns the dtype of a code.

    >>> dtype_of("BF16")
    dtype(bfloat16)
    """
    return np.dtype(CODES[code])


def unreadable(code: str) -> np.dtype:
    """Returns what stands for a dtype that NumPy lacks: one with its code as the name of a field.

    >>> unreadable("F4").names
    ('F4',)
    """
    return np.dtype([(code, "V1")])


def stored_shape(shape: Shape, dtype: np.dtype) -> Shape:
    """Returns the shape that the header tells: `complex128` is stored as pairs.

    >>> stored_shape((3,), np.dtype("complex128"))
    (3, 2)
    """
    return (*shape, 2) if dtype == np.complex128 else tuple(shape)


def real(name: str, code: str, shape: Shape) -> tuple[np.dtype, Shape] | None:
    """Returns dtype and shape of what was stored under a code as a dtype called `name`; None if it never is.

    >>> real("complex128", "F64", (3, 2)), real("int4", "F64", (3, 2))
    ((dtype('complex128'), (3,)), None)
    """
    if VIEWS.get(name) != code:
        return None
    if name != "complex128":
        return np.dtype(name), shape
    return (np.dtype(name), shape[:-1]) if shape[-1:] == (2,) else None
