"""What `dtypes/` holds, for the script that writes it and for the tests that read it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

FLOATS = "float64 float32 float16 bfloat16 float8_e5m2 float8_e4m3fn float8_e4m3fnuz float8_e4m3b11fnuz float8_e5m2fnuz"
INTEGERS = "int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool"
SMALL = "int4 uint4 int2 uint2 float4_e2m1fn"
COMPLEX = "complex64 complex128"


def dtype(name):
    """Returns a dtype of NumPy's or JAX's."""
    return np.dtype(getattr(jnp, name))


def numbers():
    """Returns arrays by name: each dtype as a scalar, as a vector of odd length, as a matrix, and empty."""
    values = {}
    for name in f"{FLOATS} {INTEGERS} {SMALL} {COMPLEX}".split():
        lowest = -1 if name in FLOATS.split() or name.startswith("int") or name in COMPLEX.split() else 0
        pattern = np.arange(15) % (2 - lowest) + lowest
        array = (pattern * (1 + 2j) if name in COMPLEX.split() else pattern).astype(dtype(name))
        values |= {f"{name}/scalar": array[1], f"{name}/vector": array[:5], f"{name}/matrix": array.reshape(3, 5)}
        values[f"{name}/empty"] = array.reshape(3, 5)[:, :0]
    return {path: np.asarray(value) for path, value in values.items()} | {
        "ünïcode/w": np.float32([1.5]),
        "net//w": np.float32([2.5]),
        "../../etc/passwd": np.float32([3.5]),
        "/absolute": np.float32([4.5]),
        "long" * 2500: np.float32([5.5]),
    }


def strings():
    """Returns arrays of strings by name."""
    vector = np.empty(3, object)
    vector[:] = [b"", b"a\0b", b"\xff" * 300]
    return {"strings/vector": vector, "strings/scalar": np.array(b"one", object), "strings/empty": vector[:0]}
