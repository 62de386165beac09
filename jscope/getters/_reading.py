"""The same variables, read in another way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jscope._types import DType
from jscope.getters._beside import Matching


@dataclass(frozen=True, slots=True)
class cast(Matching):
    """Reads floating-point params as `dtype`, whatever they are stored as: mixed precision.

    State is read as it is stored: moving statistics would stand still where an update is less than the last bit.

    >>> import jax.numpy as jnp, jscope
    >>> def f(scope):
    ...     return scope.with_defaults(custom_getter=jscope.getters.cast(jnp.bfloat16)).get_variable("w")
    >>> jscope.apply(f, {"w": jnp.ones(2)}).dtype == jnp.bfloat16
    True
    """

    dtype: DType
    match: str = ""

    @property
    def only_casts(self) -> bool:
        """True: getters that need the value as it is stored, such as `ema`, may ask without this one."""
        return True

    @property
    def ignores_path(self) -> bool:
        """Whether it does the same at any path, so that `jscope.jit` may share compiled functions between paths."""
        return not self.match

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        value = getter(name, **options)
        ours = self.matches(name) and options.get("trainable", True)
        return value.astype(self.dtype) if ours and jnp.issubdtype(value.dtype, jnp.floating) else value


@dataclass(frozen=True, slots=True)
class freeze(Matching):
    """Stops the gradients of the variables that match.

    >>> import jax, jscope
    >>> def f(scope):
    ...     return 3.0 * scope.with_defaults(custom_getter=jscope.getters.freeze("w$")).get_variable("w")
    >>> float(jax.grad(lambda params: jscope.apply(f, params))({"w": 1.0})["w"])
    0.0
    """

    match: str = ""

    @property
    def ignores_path(self) -> bool:
        """Whether it does the same at any path, so that `jscope.jit` may share compiled functions between paths."""
        return not self.match

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        value = getter(name, **options)
        return jax.lax.stop_gradient(value) if self.matches(name) else value
