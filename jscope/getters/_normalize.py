"""Weights of a given size: what is stored is a direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jscope import _path, initializers
from jscope._defaults import OFF
from jscope.getters._beside import Matching, is_float, known


@dataclass(frozen=True, slots=True)
class weight_norm(Matching):
    """Stores a matrix `w` as a direction `w/v` and a length `w/g` per output: `w = g * v / |v|`.

    `v` has the shape and the initializer of `w`; `g` has the size of the last axis, which counts the outputs, and
    starts at one; its logical axis is the last one of `w`. State, integers, and variables with fewer than two axes or
    requested without a shape are read as they are. (Salimans
    and Kingma, 2016, https://arxiv.org/abs/1602.07868)

    >>> import jax, jscope
    >>> def f(scope):
    ...     scope = scope.with_defaults(custom_getter=jscope.getters.weight_norm())
    ...     return scope.get_variable("w", (3, 2)), scope.get_variable("b", (2,))
    >>> jscope.tree.names(jscope.init(f, jax.random.key(0)))
    ['w/v', 'w/g', 'b']
    """

    match: str = ""

    @property
    def ignores_path(self) -> bool:
        """Whether it does the same at any path, so that `jscope.jit` may share compiled functions between paths."""
        return not self.match

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        shape, about = options.get("shape"), known(getter, name, options)
        ours = about.trainable and self.matches(name) and is_float(about.dtype or jnp.float32)
        if not ours or shape is None or isinstance(shape, int) or len(shape) < 2:
            return getter(name, **options)
        v = getter(_path.child(name, "v"), **options)
        plain = {"dtype": about.dtype, "axes": about.named(about.axis(-1)), "partitioner": OFF}
        plain |= {"reuse": options.get("reuse")}
        g = getter(_path.child(name, "g"), (shape[-1],), initializer=initializers.ones, **plain)
        length = g.reshape((1,) * (v.ndim - 1) + g.shape)
        squares = jnp.sum(v * v, axis=tuple(range(v.ndim - 1)), keepdims=True)
        # The small number keeps the gradient of a column of zeros finite.
        return v * (length * jax.lax.rsqrt(squares + 1e-12))
