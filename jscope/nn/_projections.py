"""The products around the lookup of `attention`: from tokens to heads, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax

from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._dense import einsum


@dataclass(frozen=True)
class Projections:
    """Makes queries, keys, values and the output, which have what they are told in common."""

    scope: Scope
    use_bias: bool
    kernel_initializer: Initializer | Off | None
    bias_initializer: Initializer | Off | None
    axes: Axes | None

    def of_groups(self) -> Projections:
        """Returns those of fewer heads, which may not be divisible among as many devices."""
        return self if self.axes is None else replace(self, axes=(self.axes[0], "kv_heads", self.axes[2]))

    def into(self, name: str, x_btd: jax.Array, heads: int, size: int) -> jax.Array:
        """Returns queries, keys or values: `(b, t, heads, size)`."""
        return self._einsum(name, "btd,dhk->bthk", x_btd, (heads, size), "hk", self.axes)

    def out(self, name: str, x_bthv: jax.Array, units: int) -> jax.Array:
        """Returns what the heads have found, as one vector for each token: `(b, t, units)`."""
        return self._einsum(name, "bthv,hvu->btu", x_bthv, (units,), "u", self.axes and (*self.axes[1:], self.axes[0]))

    def _einsum(
        self, name: str, equation: str, x: jax.Array, sizes: tuple[int, ...], bias: str, axes: Axes | None
    ) -> jax.Array:
        return einsum(
            self.scope / name,
            equation,
            x,
            sizes,
            bias_axes=bias if self.use_bias else None,
            kernel_initializer=self.kernel_initializer,
            bias_initializer=self.bias_initializer,
            axes=axes,
        )
