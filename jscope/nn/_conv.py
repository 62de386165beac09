"""Convolutions: a kernel that slides over up to three spatial axes.

Inputs are `(batch..., spatial..., channels)`, kernels `(spatial..., inputs, outputs)`. Beside what is in
`_spatial`, each layer is one call of `jax.lax`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax

from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._layer import (
    GLOROT,
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
    Window,
    check_fits,
    like_batch_of,
    one_batch_axis,
    pairs,
    window,
    wrapped,
)


@named
def conv(
    scope: Scope,
    x: jax.Array,
    filters: int,
    kernel_size: Sequence[int] | int,
    *,
    strides: Sequence[int] | int = 1,
    padding: Padding = "valid",
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: Initializer | Off | None = None,
    bias_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
    precision: jax.lax.PrecisionLike = None,
) -> jax.Array:
    """Convolves over 1, 2 or 3 spatial axes: `(..., h, w, c) -> (..., h', w', f)` for f `filters`.

    >>> def f(scope, x_bhwc):
    ...     return jscope.nn.conv(scope, x_bhwc, 8, (3, 3), strides=2, padding="same")
    >>> x_bhwc = jnp.ones((1, 5, 6, 3))
    >>> params = jscope.init(f, jax.random.key(0), x_bhwc)
    >>> params["kernel"].shape, jscope.apply(f, params, x_bhwc).shape
    ((3, 3, 3, 8), (1, 3, 3, 8))

    Padding is `"valid"` (none), `"same"` (TensorFlow's: an output has the size of the input divided by the stride,
    rounded up), `"causal"` (an output sees only what comes before, for one spatial axis), `"circular"` (as `"same"`,
    with the other end of the axis instead of zeros), or a pair (before, after) for each spatial axis.

    Variables: `kernel` (kernel_size..., c / groups, f), Glorot uniform; `bias` (f,), zeros. (Keras's `Conv1D`, `Conv2D`
    and `Conv3D`, whose `dilation_rate` is `dilation` here.)
    """
    over = window(scope, "conv", x, kernel_size, strides, dilation)
    channels, filters = x.shape[-1], check_size(scope, "conv", "filters", filters)
    if channels % check_size(scope, "conv", "groups", groups) or filters % groups:
        problem = f"{channels} channels and {filters} filters do not fall into groups={groups} equal parts"
        refuse(scope, "conv", problem, "Choose a number of groups that divides both.")
    shape = (*over.size, channels // groups, filters)
    kernel = weight(scope, "kernel", shape, kernel_initializer, GLOROT, axes)
    y = convolved(scope, "conv", x, kernel, over, padding, groups, precision)
    if use_bias:
        y = add_bias(scope, y, bias_initializer, axes)
    return activated(scope, "conv", y, activation)


@named
def depthwise_conv(
    scope: Scope,
    x: jax.Array,
    kernel_size: Sequence[int] | int,
    *,
    strides: Sequence[int] | int = 1,
    padding: Padding = "valid",
    dilation: Sequence[int] | int = 1,
    depth_multiplier: int = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    depthwise_initializer: Initializer | Off | None = None,
    bias_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
    precision: jax.lax.PrecisionLike = None,
) -> jax.Array:
    """Convolves each channel by itself, with m kernels: `(..., h, w, c) -> (..., h', w', c * m)`.

    >>> def f(scope, x_btc):
    ...     return jscope.nn.depthwise_conv(scope, x_btc, (3,), depth_multiplier=2)
    >>> params = jscope.init(f, jax.random.key(0), jnp.ones((1, 8, 3)))
    >>> {name: value.shape for name, value in params.items()}
    {'depthwise_kernel': (3, 3, 2), 'bias': (6,)}

    The outputs of one channel stand side by side. Padding is as in `conv`. m is `depth_multiplier`.

    Variables: `depthwise_kernel` (kernel_size..., c, m), Glorot uniform; `bias` (c * m,), zeros. (Keras's
    `DepthwiseConv1D` and `DepthwiseConv2D`; their kernel is called `kernel` in Keras 3, `depthwise_kernel` in Keras 2.)
    """
    over = window(scope, "depthwise_conv", x, kernel_size, strides, dilation)
    y = _depthwise(scope, "depthwise_conv", x, over, padding, depth_multiplier, depthwise_initializer, axes, precision)
    if use_bias:
        y = add_bias(scope, y, bias_initializer, None)
    return activated(scope, "depthwise_conv", y, activation)


@named
def separable_conv(
    scope: Scope,
    x: jax.Array,
    filters: int,
    kernel_size: Sequence[int] | int,
    *,
    strides: Sequence[int] | int = 1,
    padding: Padding = "valid",
    dilation: Sequence[int] | int = 1,
    depth_multiplier: int = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    depthwise_initializer: Initializer | Off | None = None,
    pointwise_initializer: Initializer | Off | None = None,
    bias_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
    precision: jax.lax.PrecisionLike = None,
) -> jax.Array:
    """Convolves each channel by itself, then mixes the channels: `(..., h, w, c) -> (..., h', w', f)`.

    >>> def f(scope, x_bhwc):
    ...     return jscope.nn.separable_conv(scope, x_bhwc, 8, (3, 3), padding="same")
    >>> params = jscope.init(f, jax.random.key(0), jnp.ones((1, 5, 6, 3)))
    >>> {name: value.shape for name, value in params.items()}
    {'depthwise_kernel': (3, 3, 3, 1), 'pointwise_kernel': (1, 1, 3, 8), 'bias': (8,)}

    Padding is as in `conv`. `axes` names those of `pointwise_kernel`. m is `depth_multiplier`.

    Variables: `depthwise_kernel` (kernel_size..., c, m) and `pointwise_kernel` (1, ..., c * m, f), Glorot uniform;
    `bias` (f,), zeros. (Keras's `SeparableConv1D` and `SeparableConv2D`.)
    """
    over = window(scope, "separable_conv", x, kernel_size, strides, dilation)
    filters = check_size(scope, "separable_conv", "filters", filters)
    y = _depthwise(scope, "separable_conv", x, over, padding, depth_multiplier, depthwise_initializer, None, precision)
    # A convolution, and not a product: in checkpoints, `pointwise_kernel` has the spatial axes, each of size 1.
    point = Window(*((1,) * len(over),) * 3)
    shape = (*point.size, y.shape[-1], filters)
    kernel = weight(scope, "pointwise_kernel", shape, pointwise_initializer, GLOROT, axes)
    y = convolved(scope, "separable_conv", y, kernel, point, "valid", 1, precision)
    if use_bias:
        y = add_bias(scope, y, bias_initializer, axes)
    return activated(scope, "separable_conv", y, activation)


def _depthwise(
    scope: Scope,
    layer: str,
    x: jax.Array,
    over: Window,
    padding: Padding,
    multiplier: int,
    given: Initializer | Off | None,
    axes: Axes | None,
    precision: jax.lax.PrecisionLike,
) -> jax.Array:
    """Returns the input convolved with `depthwise_kernel`, which this asks for."""
    channels, multiplier = x.shape[-1], check_size(scope, layer, "depth_multiplier", multiplier)
    shape = (*over.size, channels, multiplier)
    kernel = weight(scope, "depthwise_kernel", shape, given, GLOROT, axes)
    # XLA knows no depthwise convolution, only groups: as many as channels, with one input each. Keras's kernel has the
    # outputs of a channel side by side, in the order in which XLA counts them.
    kernel = jax.lax.reshape(kernel, (*over.size, 1, channels * multiplier))
    return convolved(scope, layer, x, kernel, over, padding, channels, precision)


def convolved(
    scope: Scope | None,
    layer: str,
    x: jax.Array,
    kernel: jax.Array,
    over: Window,
    padding: Padding,
    groups: int,
    precision: jax.lax.PrecisionLike,
) -> jax.Array:
    """Returns the convolution of an input with a kernel, over any number of batch axes. `scope` is for messages."""
    # Only time has a before.
    allowed = ("same", "valid", "causal", "circular") if len(over) == 1 else ("same", "valid", "circular")
    around = pairs(scope, layer, x, over, padding, allowed)
    check_fits(scope, layer, x, over, around)
    # `conv_general_dilated` takes exactly one axis of batches, and refuses arrays of two dtypes.
    single, kernel = in_one_dtype(one_batch_axis(x, len(over)), kernel)
    if padding == "circular":
        # XLA pads with zeros only, so the input itself is made larger.
        single, around = wrapped(single, around), ((0, 0),) * len(over)
    around = tuple([(before, after) for before, after in around])
    y = _convolved(single, kernel, over.strides, around, over.dilation, groups, precision)
    return like_batch_of(y, x, len(over))


@functools.partial(one_operation, static_argnums=(2, 3, 4, 5, 6))
def _convolved(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    around: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int,
    precision: jax.lax.PrecisionLike,
) -> jax.Array:
    spatial = SPATIAL[: len(strides)]
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    options = {"dimension_numbers": numbers, "feature_group_count": groups, "precision": precision}
    return jax.lax.conv_general_dilated(x, kernel, strides, around, rhs_dilation=dilation, **options)
