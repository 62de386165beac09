"""What differs between the variables a model has and those it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jscope import _text
from jscope._spec import VariableSpec


def differences(expected: Mapping[str, VariableSpec], found: Mapping[str, Any]) -> list[str]:
    """Returns a line for everything missing, unexpected, mis-shaped and mis-typed; none if all fits."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    lines = [f"  missing:    `{name}` {_asked(expected[name])}{_near(name, unexpected)}" for name in missing]
    lines += [f"  unexpected: `{name}` {_found(found[name])}{_near(name, missing)}" for name in unexpected]
    for name in (name for name in expected if name in found):
        spec, value = expected[name], found[name]
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if shape is None or tuple(shape) != spec.shape:
            lines.append(f"  shape:      `{name}` is {_found(value)}, expected {_asked(spec)}")
        elif dtype != spec.dtype:
            lines.append(f"  dtype:      `{name}` is {_found(value)}, expected {_asked(spec)}")
    return lines


def _asked(spec: VariableSpec) -> str:
    return f"{np.dtype(spec.dtype).name}{list(spec.shape)}"


def _found(value: Any) -> str:
    if isinstance(value, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct):
        return f"{value.dtype}{list(value.shape)}"
    return f"a `{type(value).__name__}`"


def _near(name: str, others: list[str]) -> str:
    near = _text.nearest(name, others, count=1)
    return f" (near: `{near[0]}`)" if near else ""
