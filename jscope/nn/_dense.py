"""Layers that multiply by a matrix: everything else in a network is small beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jax

from jscope import initializers
from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._equation import Equation, equation_of
from jscope.nn._layer import (
    GLOROT,
    Activation,
    activated,
    add_bias,
    check_rank,
    check_size,
    in_one_dtype,
    named,
    plus,
    refuse,
    times,
    vector,
    weight,
)


@named
def dense(
    scope: Scope,
    x: jax.Array,
    units: int,
    *,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: Initializer | Off | None = None,
    bias_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
    precision: jax.lax.PrecisionLike = None,
) -> jax.Array:
    """Multiplies the last axis by a matrix and adds a bias: `(..., d) -> (..., u)` for u `units`.

    >>> def f(scope, x_bd):
    ...     return jscope.nn.dense(scope / "hidden", x_bd, 8, activation=jax.nn.relu)
    >>> x_bd = jnp.ones((2, 3))
    >>> params = jscope.init(f, jax.random.key(0), x_bd)
    >>> jscope.tree.names(params), jscope.apply(f, params, x_bd).shape
    (['hidden/kernel', 'hidden/bias'], (2, 8))

    Variables: `kernel` (d, u), Glorot uniform; `bias` (u,), zeros. (Keras's `Dense`.)
    """
    check_rank(scope, "dense", x, "(..., features)", least=1)
    shape = (x.shape[-1], check_size(scope, "dense", "units", units))
    kernel = weight(scope, "kernel", shape, kernel_initializer, GLOROT, axes)
    x, kernel = in_one_dtype(x, kernel)
    y = times(x, kernel, precision)
    if use_bias:
        y = add_bias(scope, y, bias_initializer, axes)
    return activated(scope, "dense", y, activation)


@named
def bias(
    scope: Scope, x: jax.Array, *, bias_initializer: Initializer | Off | None = None, axes: Axes | None = None
) -> jax.Array:
    """Adds a bias along the last axis: `(..., d) -> (..., d)`.

    >>> jscope.apply(jscope.nn.bias, {"bias": jnp.array([1.0, 2.0])}, jnp.zeros((1, 2))).tolist()
    [[1.0, 2.0]]

    Variables: `bias` (d,), zeros.
    """
    check_rank(scope, "bias", x, "(..., features)", least=1)
    return add_bias(scope, x, bias_initializer, axes)


@named
def einsum(
    scope: Scope,
    equation: str,
    x: jax.Array,
    sizes: Sequence[int] | int,
    *,
    bias_axes: str | None = None,
    activation: Activation | None = None,
    kernel_initializer: Initializer | Off | None = None,
    bias_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
    precision: jax.lax.PrecisionLike = None,
) -> jax.Array:
    """Contracts the input with a kernel, as an equation says.

    `sizes` are those of the kernel's axes that the input lacks, in the order of the kernel. A projection to 4 heads of
    size 8, and back:

    >>> def f(scope, x_btd):
    ...     heads_bthk = jscope.nn.einsum(scope / "in", "btd,dhk->bthk", x_btd, (4, 8), bias_axes="hk")
    ...     return jscope.nn.einsum(scope / "out", "...hk,hkd->...d", heads_bthk, 16)
    >>> specs = jscope.specs(f, jnp.ones((2, 3, 16)))
    >>> specs["in/kernel"].shape, specs["in/bias"].shape, specs["out/kernel"].shape
    ((16, 4, 8), (4, 8), (4, 8, 16))

    Variables: `kernel`, Glorot uniform, where axes that are summed over are inputs, axes that the input lacks are
    outputs, and axes that all three have (one kernel per expert) are neither; `bias` with the axes `bias_axes` of the
    output, zeros. (Keras's `EinsumDense`, except for the fans, which Keras takes from the last two axes.)
    """
    check_rank(scope, "einsum", x, "as the equation says", least=0)
    said = equation_of(scope, equation)
    known = said.sizes(scope, x.shape)
    sizes = tuple(sizes) if isinstance(sizes, Iterable) else (sizes,)
    if len(sizes) != len(said.new):
        problem = f"the kernel of {equation!r} has {len(said.new)} axes that the input lacks ({said.new or 'none'})"
        refuse(scope, "einsum", f"{problem}, but `sizes` is {sizes}", "Give one size for each of them, in that order.")
    for letter, size in zip(said.new, sizes, strict=True):
        known[letter] = check_size(scope, "einsum", "sizes", size)
    # A list, since a generator would be entered anew for each axis, in each trace.
    shape = tuple([known[letter] for letter in said.kernel])
    kernel = weight(scope, "kernel", shape, kernel_initializer, said.keras, axes)
    x, kernel = in_one_dtype(x, kernel)
    y = said.of(x, kernel, precision)
    if bias_axes is not None:
        y = _plus_bias(scope, y, said, bias_axes, bias_initializer, axes)
    return activated(scope, "einsum", y, activation)


def _plus_bias(
    scope: Scope, y: jax.Array, said: Equation, letters: str, given: Initializer | Off | None, axes: Axes | None
) -> jax.Array:
    """Adds the bias along the axes `letters` of the output."""
    if not letters or not set(letters) <= set(said.out.replace("...", "")):
        advice = "Name those axes of the output that the bias is to have."
        refuse(scope, "einsum", f"`bias_axes` is {letters!r}, but the output has the axes {said.out!r}", advice)
    places = said.places(letters, y.ndim)
    names = None
    if axes is not None:
        # Not strict: `get_variable` has compared the number of names with the shape by now.
        named, after = dict(zip(said.kernel, axes, strict=False)), said.out.replace("...", "")
        names = tuple(named.get(letter) for letter in after if letter in letters)
    b = vector(scope, "bias", tuple(y.shape[i] for i in places), given, initializers.zeros, names)
    return plus(y, b, places)
