"""Layers that multiply by a matrix: everything else in a network is small beside them."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jscope import initializers
from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._layer import (
    GLOROT,
    Activation,
    add_bias,
    check_rank,
    check_size,
    in_one_dtype,
    named,
    refuse,
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
    y = jnp.matmul(x, kernel, precision=precision)
    if use_bias:
        y = add_bias(scope, y, bias_initializer, axes)
    return y if activation is None else activation(y)


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
    inputs, letters, out = _parsed(scope, equation, x)
    known = dict(zip(inputs.replace("...", ""), _named_sizes(inputs, x), strict=True))
    new = [letter for letter in letters if letter not in known]
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    if len(sizes) != len(new):
        problem = f"the kernel of {equation!r} has {len(new)} axes that the input lacks ({''.join(new) or 'none'})"
        refuse(scope, "einsum", f"{problem}, but `sizes` is {sizes}", "Give one size for each of them, in that order.")
    known |= {letter: check_size(scope, "einsum", "sizes", size) for letter, size in zip(new, sizes, strict=True)}
    keras = initializers.glorot_uniform(
        tuple(i for i, letter in enumerate(letters) if letter not in out),
        tuple(i for i, letter in enumerate(letters) if letter in new),
        tuple(i for i, letter in enumerate(letters) if letter in out and letter not in new),
    )
    shape = tuple(known[letter] for letter in letters)
    kernel = weight(scope, "kernel", shape, kernel_initializer, keras, axes)
    x, kernel = in_one_dtype(x, kernel)
    y = jnp.einsum(equation, x, kernel, precision=precision)
    if bias_axes is not None:
        y = y + _einsum_bias(scope, y, out, bias_axes, bias_initializer, dict(zip(letters, axes or (), strict=False)))
    return y if activation is None else activation(y)


def _einsum_bias(
    scope: Scope,
    y: jax.Array,
    out: str,
    letters: str,
    given: Initializer | Off | None,
    names: dict[str, str | None],
) -> jax.Array:
    """Returns the bias along the axes `letters` of the output, with axes of size 1 for the others."""
    # Axes of an ellipsis come first or last; a space stands for each, so that letters and axes have the same places.
    places = out.replace("...", " " * (y.ndim - len(out.replace("...", ""))))
    if not letters or not set(letters) <= set(out.replace("...", "")):
        advice = "Name those axes of the output that the bias is to have."
        refuse(scope, "einsum", f"`bias_axes` is {letters!r}, but the output has the axes {out!r}", advice)
    own = [i for i, letter in enumerate(places) if letter in letters]
    axes = tuple(names.get(places[i]) for i in own) if names else None
    b = vector(scope, "bias", tuple(y.shape[i] for i in own), given, initializers.zeros, axes)
    return jnp.expand_dims(b.astype(y.dtype), tuple(i for i in range(y.ndim) if i not in own))


def _parsed(scope: Scope, equation: str, x: jax.Array) -> tuple[str, str, str]:
    """Returns the axes of the input, the kernel and the output."""
    sides, arrow, out = equation.replace(" ", "").partition("->")
    inputs, _, letters = sides.partition(",")
    named = inputs.replace("...", "")
    plain = bool(arrow) and letters.isalpha() and (named + out.replace("...", "")).isalpha()
    if not plain or any(len(set(part)) < len(part) for part in (named, letters, out.replace("...", ""))):
        advice = "Write the axes of the input, the kernel and the output, each once: `btd,dhk->bthk`, `...d,df->...f`."
        refuse(scope, "einsum", f"the equation is {equation!r}", advice)
    if lost := sorted({*letters} - {*named, *out}) + sorted({*out.replace("...", "")} - {*named, *letters}):
        advice = "Each axis of the kernel is in the input, the output or both; each of the output in one of the others."
        refuse(scope, "einsum", f"in {equation!r}, the axis `{lost[0]}` stands by itself", advice)
    if len(named) > x.ndim or (len(named) < x.ndim and "..." not in inputs):
        advice = "Write one letter for each axis, with `...` for those that are only passed on."
        refuse(scope, "einsum", f"the input has shape {x.shape}, but in {equation!r} the axes {inputs!r}", advice)
    return inputs, letters, out


def _named_sizes(inputs: str, x: jax.Array) -> tuple[int, ...]:
    """Returns the sizes of the axes of the input that have letters."""
    before, dots, after = inputs.partition("...")
    return (*x.shape[: len(before)], *x.shape[x.ndim - len(after) :]) if dots else x.shape
