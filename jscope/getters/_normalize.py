"""Weights of a given size: what is stored is a direction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jscope import _path, initializers
from jscope._defaults import OFF
from jscope.getters._beside import Matching, is_float, known, state_beside, uncast, wide, write


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


@dataclass(frozen=True, slots=True)
class spectral_norm(Matching):
    """Divides each matrix by its largest singular value, which power iteration follows from call to call.

    A variable of shape `(..., out)` counts as the matrix of shape `(rows, out)`. The iteration goes on from the vector
    of shape `(out,)` in state beside it, `w_spectral/u`; with `training=True` it makes `iterations` steps, and writes
    the vector; with `training=False` it writes nothing. It is computed in float32 from what is stored, and gradients
    do not go through the vectors, only through the matrix. State, integers and variables with fewer than two axes are
    read as they are. (Miyato et al., 2018, https://arxiv.org/abs/1802.05957)

    >>> import jax, jax.numpy as jnp, jscope
    >>> def model(scope, training):
    ...     scope = scope.with_defaults(custom_getter=jscope.getters.spectral_norm(training=training, iterations=20))
    ...     return scope.get_variable("w", (3, 2))
    >>> init, apply = jscope.transform_with_state(model)
    >>> params, state = init(jax.random.key(0), training=True)
    >>> w, state = apply(params, state, training=True)
    >>> round(float(jnp.linalg.norm(w, 2)), 3), state["w_spectral"]["u"].shape
    (1.0, (2,))
    """

    match: str = ""
    training: bool = field(kw_only=True)
    iterations: int = field(default=1, kw_only=True)

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        about = known(getter, name, options)
        value = getter(name, **options)
        ours = about.trainable and self.matches(name) and value.ndim >= 2
        if not ours or not is_float(value.dtype):
            return value
        exact = uncast(getter, name, value, options)
        columns = exact.shape[-1]
        kind = {"shape": (columns,), "dtype": exact.dtype, "axes": about.named(about.axis(-1))}
        path, kept = state_beside(getter, f"{name}_spectral/u", **kind, initializer=initializers.normal(1.0))
        matrix = exact.astype(wide(exact.dtype)).reshape(-1, columns)
        fixed = jax.lax.stop_gradient((matrix, kept.astype(matrix.dtype)))
        u, v = _singular_vectors(*fixed, self.iterations if self.training else 0)
        if self.training:
            write(getter, path, u.astype(kept.dtype))
        # A matrix of zeros is one of zeros afterwards.
        sigma = jnp.maximum(v @ matrix @ u, 1e-12)
        return (value.astype(sigma.dtype) / sigma).astype(value.dtype)


def _singular_vectors(matrix: Any, u: Any, steps: int) -> tuple[Any, Any]:
    """Returns the right and the left singular vector of the largest value, after that many steps from `u`."""
    u = _unit(u)
    for _ in range(steps):
        u = _unit(_unit(matrix @ u) @ matrix)
    return u, _unit(matrix @ u)


def _unit(vector: Any) -> Any:
    # Of a matrix of zeros nothing can be told; zeros are better than what is not a number.
    return vector * jax.lax.rsqrt(jnp.sum(vector * vector) + 1e-12)
