"""Pools and their opposites. They have no variables, so they take no scope.

Inputs are `(batch..., spatial..., channels)`; windows are as in `_spatial`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jscope.nn._layer import cast, check_rank, check_size, described, refuse
from jscope.nn._norm import output_dtype, statistics_dtype
from jscope.nn._spatial import Padding, Pairs, Window, check_fits, pairs, window


def max_pool(
    x: jax.Array,
    pool_size: Sequence[int] | int,
    *,
    strides: Sequence[int] | int | None = None,
    padding: Padding = "valid",
) -> jax.Array:
    """Takes the largest element of each window: `(..., h, w, c) -> (..., h', w', c)`.

    >>> jscope.nn.max_pool(jnp.arange(5.0).reshape(1, 5, 1), (2,)).ravel().tolist()
    [1.0, 3.0]

    `strides` are the window's sizes unless they are given. Padding is `"valid"`, `"same"` or pairs, and never the
    largest. (Keras's `MaxPooling1D`, `MaxPooling2D` and `MaxPooling3D`.)
    """
    over, around = _windows("max_pool", x, pool_size, strides, padding)
    least = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    # An array of NumPy: only from a constant does `reduce_window` see that this is a maximum, and only of that has JAX
    # a gradient. One of `jnp` is traced under `jit`.
    return _reduced(x, np.asarray(least, x.dtype), jax.lax.max, over, around)


def avg_pool(
    x: jax.Array,
    pool_size: Sequence[int] | int,
    *,
    strides: Sequence[int] | int | None = None,
    padding: Padding = "valid",
) -> jax.Array:
    """Takes the mean of each window: `(..., h, w, c) -> (..., h', w', c)`.

    >>> jscope.nn.avg_pool(jnp.arange(5.0).reshape(1, 5, 1), (2,), padding="same").ravel().tolist()
    [0.5, 2.5, 4.0]

    As in TensorFlow, padding does not count: at the border, the mean is that of fewer elements. `strides` are the
    window's sizes unless they are given. Padding is `"valid"`, `"same"` or pairs. (Keras's `AveragePooling1D`,
    `AveragePooling2D` and `AveragePooling3D`.)
    """
    over, around = _windows("avg_pool", x, pool_size, strides, padding)
    wide = cast(x, statistics_dtype(x))
    total = _reduced(wide, np.zeros((), wide.dtype), jax.lax.add, over, around)
    return (total / _counts(x, over, around, total)).astype(output_dtype(x))


def global_max_pool(x: jax.Array, *, keepdims: bool = False) -> jax.Array:
    """Takes the largest element over all axes between the first and the last: `(b, ..., c) -> (b, c)`.

    >>> jscope.nn.global_max_pool(jnp.arange(5.0).reshape(1, 5, 1)).tolist()
    [[4.0]]

    (Keras's `GlobalMaxPooling2D`.)
    """
    check_rank(None, "global_max_pool", x, "(batch, spatial..., channels)", least=3)
    return jnp.max(x, tuple(range(1, x.ndim - 1)), keepdims=keepdims)


def global_avg_pool(x: jax.Array, *, keepdims: bool = False, mask: jax.Array | None = None) -> jax.Array:
    """Takes the mean over all axes between the first and the last: `(b, ..., c) -> (b, c)`.

    >>> jscope.nn.global_avg_pool(jnp.arange(5.0).reshape(1, 5, 1)).tolist()
    [[2.0]]

    With a mask (b, ...), only what it holds true for counts; where it is true for nothing, the mean is 0. (Keras's
    `GlobalAveragePooling2D`.)
    """
    check_rank(None, "global_avg_pool", x, "(batch, spatial..., channels)", least=3)
    over, wide = tuple(range(1, x.ndim - 1)), cast(x, statistics_dtype(x))
    if mask is None:
        return jnp.mean(wide, over, keepdims=keepdims).astype(output_dtype(x))
    if getattr(mask, "shape", None) != x.shape[:-1]:
        problem = f"the mask is {described(mask)}, the input {x.shape}"
        refuse(None, "global_avg_pool", problem, "The mask should have the shape of the input without the channels.")
    # Chosen, and not multiplied by the mask: what does not count may be NaN.
    kept = mask.astype(bool)[..., None]
    count = jnp.sum(kept, over, keepdims=keepdims, dtype=wide.dtype)
    return (jnp.sum(jnp.where(kept, wide, 0), over, keepdims=keepdims) / jnp.maximum(count, 1)).astype(output_dtype(x))


def upsample(
    x: jax.Array, size: Sequence[int] | int, *, interpolation: Literal["nearest", "bilinear"] = "nearest"
) -> jax.Array:
    """Makes each spatial axis as many times as large: `(..., h, w, c) -> (..., h * size[0], w * size[1], c)`.

    >>> jscope.nn.upsample(jnp.array([[[1.0], [2.0]]]), (2,)).ravel().tolist()
    [1.0, 1.0, 2.0, 2.0]

    `"nearest"` repeats elements; `"bilinear"` goes linearly from the middle of one to the middle of the next, along any
    number of axes. (Keras's `UpSampling1D`, `UpSampling2D` and `UpSampling3D`.)
    """
    times = window(None, "upsample", x, size, name="size").size
    first = x.ndim - 1 - len(times)
    if interpolation == "nearest":
        for axis, count in enumerate(times, first):
            x = jnp.repeat(x, count, axis) if count > 1 else x
        return x
    if interpolation != "bilinear":
        refuse(None, "upsample", f"`interpolation` is {interpolation!r}", "It should be 'nearest' or 'bilinear'.")
    spatial = tuple(size * count for size, count in zip(x.shape[first:-1], times, strict=True))
    # Both end where they did: samples are taken at the middles of elements, as in TensorFlow 2 and Keras 3, and not at
    # their corners, as in TensorFlow 1.
    return jax.image.resize(x, (*x.shape[:first], *spatial, x.shape[-1]), "bilinear")


def pixel_shuffle(x: jax.Array, block_size: int) -> jax.Array:
    """Moves channels into space: `(..., h, w, k * k * c) -> (..., h * k, w * k, c)` for k `block_size`.

    >>> jscope.nn.pixel_shuffle(jnp.arange(4.0).reshape(1, 1, 1, 4), 2).reshape(2, 2).tolist()
    [[0.0, 1.0], [2.0, 3.0]]

    Channels are ordered as in TensorFlow's `depth_to_space`: the place in the block varies slower than the channel.
    (Shi et al., 2016, https://arxiv.org/abs/1609.05158)
    """
    check_rank(None, "pixel_shuffle", x, "(batch..., height, width, channels)", least=3)
    k = check_size(None, "pixel_shuffle", "block_size", block_size)
    *lead, height, width, channels = x.shape
    if channels % (k * k):
        advice = "The number of channels should be a multiple of `block_size` squared."
        refuse(None, "pixel_shuffle", f"the input has {channels} channels, and `block_size` is {k}", advice)
    blocks = x.reshape(*lead, height, width, k, k, channels // (k * k))
    n = len(lead)
    moved = blocks.transpose(*range(n), n, n + 2, n + 1, n + 3, n + 4)
    return moved.reshape(*lead, height * k, width * k, channels // (k * k))


def _windows(layer: str, x: jax.Array, pool_size: Any, strides: Any, padding: Padding) -> tuple[Window, Pairs]:
    """Returns the window of a pool, and the padding around its input."""
    over = window(None, layer, x, pool_size, pool_size if strides is None else strides, name="pool_size")
    around = pairs(None, layer, x, over, padding, ("same", "valid"))
    check_fits(None, layer, x, over, around)
    # A maximum over nothing would be minus infinity, and a mean a division by zero.
    if any(max(pair) >= size for pair, size in zip(around, over.size, strict=True)):
        problem = f"the padding {around} has room for whole windows {over.size}"
        refuse(None, layer, problem, "A window without an element has no value: pad less than the window's size.")
    return over, around


def _reduced(x: jax.Array, start: Any, reduce: Callable[..., Any], over: Window, around: Pairs) -> jax.Array:
    lead = x.ndim - 1 - len(over)
    sizes, strides = ((*(1,) * lead, *per, 1) for per in (over.size, over.strides))
    return jax.lax.reduce_window(x, start, reduce, sizes, strides, (*((0, 0),) * lead, *around, (0, 0)))


def _counts(x: jax.Array, over: Window, around: Pairs, total: jax.Array) -> np.ndarray[Any, Any]:
    """Returns how many elements of the input are in each window, to divide by. One axis at a time, these are few."""
    first, each = x.ndim - 1 - len(over), []
    for i, (size, stride, (before, _)) in enumerate(zip(over.size, over.strides, around, strict=True)):
        starts = np.arange(total.shape[first + i]) * stride - before
        inside = np.minimum(starts + size, x.shape[first + i]) - np.maximum(starts, 0)
        each.append(inside.reshape(*(-1 if axis == first + i else 1 for axis in range(x.ndim))))
    return functools.reduce(operator.mul, each).astype(total.dtype)
