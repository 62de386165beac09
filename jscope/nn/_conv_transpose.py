"""Transposed convolutions: from small to large, with TensorFlow's sizes."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax

from jscope import initializers
from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._layer import (
    Activation,
    activated,
    add_bias,
    check_size,
    in_one_dtype,
    named,
    one_operation,
    refuse,
    weight,
)
from jscope.nn._spatial import (
    SPATIAL,
    Padding,
    Pairs,
    Window,
    like_batch_of,
    one_batch_axis,
    pairs,
    window,
)

# Other kernels have their inputs before their outputs.
_GLOROT = initializers.glorot_uniform(in_axis=-1, out_axis=-2)


@named
def conv_transpose(
    scope: Scope,
    x: jax.Array,
    filters: int,
    kernel_size: Sequence[int] | int,
    *,
    strides: Sequence[int] | int = 1,
    padding: Padding = "valid",
    output_padding: Sequence[int] | int | None = None,
    dilation: Sequence[int] | int = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: Initializer | Off | None = None,
    bias_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
    precision: jax.lax.PrecisionLike = None,
) -> jax.Array:
    """Does what the gradient of `conv` does, from small to large: `(..., h, w, c) -> (..., h', w', f)`.

    >>> def f(scope, x_bhwc):
    ...     return jscope.nn.conv_transpose(scope, x_bhwc, 8, (3, 3), strides=2, padding="same")
    >>> params = jscope.init(f, jax.random.key(0), jnp.ones((1, 5, 6, 3)))
    >>> params["kernel"].shape, jscope.apply(f, params, jnp.ones((1, 5, 6, 3))).shape
    ((3, 3, 8, 3), (1, 10, 12, 8))

    Sizes are TensorFlow's: with a stride s and a (dilated) kernel of size k, an axis of size n becomes n s for `"same"`
    and (n - 1) s + max(k, s) for `"valid"`. Pairs say how much is cut off from the latter. With `output_padding` p,
    below the stride, they become (n - 1) s + k mod 2 + p for `"same"` and (n - 1) s + k + p for `"valid"` and pairs.

    Variables: `kernel` (kernel_size..., f, c), Glorot uniform; `bias` (f,), zeros. (Keras's `Conv2DTranspose`.)
    """
    over = window(scope, "conv_transpose", x, kernel_size, strides, dilation)
    shape = (*over.size, check_size(scope, "conv_transpose", "filters", filters), x.shape[-1])
    kernel = weight(scope, "kernel", shape, kernel_initializer, _GLOROT, axes)
    y = transposed(scope, x, kernel, over, padding, _ends(scope, over, output_padding), precision)
    if use_bias:
        y = add_bias(scope, y, bias_initializer, None if axes is None else tuple(axes)[-2:-1])
    return activated(scope, "conv_transpose", y, activation)


def transposed(
    scope: Scope | None,
    x: jax.Array,
    kernel: jax.Array,
    over: Window,
    padding: Padding,
    ends: tuple[int, ...] | None = None,
    precision: jax.lax.PrecisionLike = None,
) -> jax.Array:
    """Returns the transposed convolution of an input with a kernel. `scope` is for messages."""
    single, kernel = in_one_dtype(one_batch_axis(x, len(over)), kernel)
    y = _transposed(single, kernel, over.strides, _spread(scope, x, over, padding, ends), over.dilation, precision)
    return like_batch_of(y, x, len(over))


@functools.partial(one_operation, static_argnums=(2, 3, 4, 5))
def _transposed(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    around: Pairs,
    dilation: tuple[int, ...],
    precision: jax.lax.PrecisionLike,
) -> jax.Array:
    spatial = SPATIAL[: len(strides)]
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    # With `transpose_kernel`, the kernel is that of the `conv` whose gradient this is, (spatial..., outputs, inputs),
    # as in TensorFlow and Keras. Without it, as in Flax unless it is told otherwise, the kernel slides over the
    # spread-out input the other way round.
    options = {"dimension_numbers": numbers, "transpose_kernel": True, "precision": precision}
    return jax.lax.conv_transpose(x, kernel, strides, around, dilation, **options)


def _ends(scope: Scope, over: Window, given: Sequence[int] | int | None) -> tuple[int, ...] | None:
    """Returns how many outputs come after the last that the kernel reaches, if that is said, after checking it."""
    if given is None:
        return None
    ends = tuple(given) if isinstance(given, Sequence) else (given,) * len(over)
    fits = len(ends) == len(over) and all(isinstance(end, int) for end in ends)
    if not fits or any(not 0 <= end < stride for end, stride in zip(ends, over.strides, strict=True)):
        problem = f"`output_padding` is {given!r}, and the strides are {over.strides}"
        refuse(scope, "conv_transpose", problem, "Give one int for each spatial axis, from 0 to the stride less one.")
    return ends


def _spread(scope: Scope | None, x: jax.Array, over: Window, padding: Padding, ends: tuple[int, ...] | None) -> Pairs:
    """Returns the padding of the spread-out input of a transposed convolution.

    `conv` from the output cuts `before` and `after` off; the kernel reaches over what is left by its extent less one.
    Where the stride is larger than the kernel, the outputs between are zeros, and belong to the end, unless it is said
    how many outputs come there.
    """
    if padding == "same" and ends is not None:
        # As in Keras, whose sizes depend on whether the kernel is odd.
        alls = [extent + extent % 2 - 2 + end for extent, end in zip(over.extent, ends, strict=True)]
        firsts = [min((each + 1) // 2, extent - 1) for each, extent in zip(alls, over.extent, strict=True)]
        return tuple((first, each - first) for first, each in zip(firsts, alls, strict=True))
    steps = list(zip(over.extent, over.strides, strict=True))
    if padding == "same":
        # TensorFlow puts what is odd at the end, as `conv` does.
        cut = [(max(extent - stride, 0) // 2, -(-max(extent - stride, 0) // 2)) for extent, stride in steps]
    else:
        cut = pairs(scope, "conv_transpose", x, over, padding, ("same", "valid"))
    wholes = [max(step) for step in steps] if ends is None else map(sum, zip(over.extent, ends, strict=True))
    return tuple(
        (extent - 1 - before, whole - 1 - after)
        for extent, whole, (before, after) in zip(over.extent, wholes, cut, strict=True)
    )
