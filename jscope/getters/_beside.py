"""A getter that makes variables of its own makes them like the one that it was asked for.

They have the dtype in which that one is stored, axes that follow from its axes, and no penalty or constraint that was
meant for it. What is read through getters outside may be another thing: cast, dequantized, composed of several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from jscope import _path
from jscope._defaults import AUTO_REUSE, OFF, is_value
from jscope._types import Axes, DType
from jscope.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a variable when a getter is asked for it.

    Attributes:
      trainable: Whether it is a param.
      dtype: The dtype in which it is stored; None where that is not known, as in `apply`, where nobody needs it.
      axes: The logical names of its axes.
    """

    trainable: bool
    dtype: DType
    axes: Axes | None

    def axis(self, number: int) -> str | None:
        """Returns the logical name of one axis."""
        return None if self.axes is None else self.axes[number]

    def named(self, *axes: str | None) -> Axes | None:
        """Returns axes for a variable beside this one: none where this one has none."""
        return None if self.axes is None else axes


def known(getter: Any, name: str, options: dict[str, Any]) -> Known:
    """Returns what is known of the variable that a getter is asked for, before it goes on."""
    # A plain function that stands for the rest of the chain, as some getters pass on, cannot be asked.
    spec = getter.spec(name, **options) if hasattr(getter, "spec") else None
    axes = options.get("axes") if spec is None or spec.axes is None else spec.axes
    trainable, dtype = options.get("trainable", True), _asked_dtype(options)
    if spec is not None:
        # What is read again without a shape does not say whether it is a param.
        trainable, dtype = spec.trainable, spec.dtype
    return Known(trainable, dtype, None if axes is None else tuple(axes))


def stored(getter: Any, name: str, /, **options: Any) -> tuple[str, Any]:
    """Asks for what is stored: returns where, and its value without any cast."""
    return getter.stored(name, **options) if hasattr(getter, "stored") else (name, getter(name, **options))


def uncast(getter: Any, name: str, value: Any, options: dict[str, Any]) -> Any:
    """Returns what `getter(name, **options)` gave, as it was before it was cast."""
    # Asked for once more only where it can differ: a getter outside may write each time that it is asked.
    if not getattr(getter, "casts", False):
        return value
    return stored(getter, name, **{**options, "reuse": AUTO_REUSE})[1]


def state_beside(getter: Any, name: str, /, **options: Any) -> tuple[str, Any]:
    """Asks for a state variable of a getter's own: returns where it is stored, and its value."""
    # One that is read again has its own already, whatever `reuse` says of the variable itself.
    plain = {"trainable": False, "reuse": AUTO_REUSE, "regularizer": OFF, "constraint": OFF, "partitioner": OFF}
    return stored(getter, name, **plain, **options)


def write(getter: Any, path: str, value: Any) -> None:
    """Writes a state variable that `state_beside` gave."""
    # `assign` takes a name below the scope; getters are given full paths.
    local = _path.relative(path, getter.scope.path)
    if not local:
        raise InvalidArgumentError(
            f"A custom getter outside moves `{path}` out of the scope `{getter.scope.path}`, from where it cannot be "
            "written.\nPut the getter that writes outside the one that renames."
        )
    getter.scope.assign(local, value)


def is_float(dtype: DType) -> bool:
    """Whether values of this dtype are real floats."""
    return bool(jnp.issubdtype(dtype, jnp.floating))


def wide(dtype: DType) -> DType:
    """Returns the dtype to compute in: float32, or wider where the values are."""
    return dtype if jnp.finfo(dtype).bits > 32 else jnp.float32


def _asked_dtype(options: dict[str, Any]) -> DType:
    given, initializer = options.get("dtype"), options.get("initializer")
    if given is None or given is OFF:
        return jnp.result_type(initializer) if is_value(initializer) else None
    return jnp.dtype(given)
