"""Kernels that move a window over an array: convolutions and pools.

TensorFlow's strides and dilations have a number for each axis of the input, batch and channels included. Here `window`
takes what belongs to the spatial axes, which stand in the middle or, in a format like `NCHW`, at the end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1 import _dtypes
from jscope.tf1._errors import ArgumentError
from jscope.tf1._ops._shaping import sizes_of
from jscope.tf1._tensors import as_array, of_one_rank

_SPATIAL = "DHW"


def layout(rank: int, data_format: str | None) -> tuple[str, str, str]:
    """Returns JAX's names of the axes of the input, the kernel and the output, which has `rank` spatial axes."""
    # Only images come in two layouts; TensorFlow's kernels are always `HWIO`.
    axes = _SPATIAL[-rank:]
    first = str(data_format or "").startswith(("NC", "channels_first"))
    outer = f"NC{axes}" if first else f"N{axes}C"
    return outer, f"{axes}IO", outer


def window(numbers: Any, rank: int, data_format: str | None) -> tuple[int, ...]:
    """Returns the numbers of the spatial axes: of one for all, one for each, or one for each axis of the input."""
    if numbers is None:
        return (1,) * rank
    numbers = sizes_of(numbers)
    if len(numbers) == 1:
        return numbers * rank
    if len(numbers) == rank:
        return numbers
    first = layout(rank, data_format)[0].startswith("NC")
    return numbers[2:] if first else numbers[1:-1]


def margins(padding: Any, rank: int, data_format: str | None) -> Any:
    """Returns a padding as JAX takes it: its name, or a pair of margins for each spatial axis."""
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise ArgumentError(f"padding={padding!r} is neither 'SAME' nor 'VALID', nor a list of pairs.")
        return padding.upper()
    pairs = [sizes_of(pair) for pair in padding]
    if len(pairs) == rank:
        return pairs
    return pairs[2:] if layout(rank, data_format)[0].startswith("NC") else pairs[1:-1]


def conv(x: Any, kernel: Any, strides: Any, padding: Any, data_format: Any, dilations: Any, groups: int = 1) -> Any:
    """A convolution (in fact a correlation) over as many axes as the kernel has."""
    x, kernel = as_array(x), as_array(kernel)
    rank = kernel.ndim - 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window(strides, rank, data_format),
        margins(padding, rank, data_format),
        rhs_dilation=window(dilations, rank, data_format),
        dimension_numbers=layout(rank, data_format),
        feature_group_count=_groups(x, kernel, data_format) if groups == 1 else groups,
    )


def _groups(x: Any, kernel: Any, data_format: Any) -> int:
    """Returns into how many groups the channels fall, since a kernel may take fewer than the input has."""
    channels = x.shape[layout(kernel.ndim - 2, data_format)[0].index("C")]
    return max(channels // kernel.shape[-2], 1)


def convolution(x: Any, kernel: Any, padding: Any, strides: Any, dilations: Any, data_format: Any) -> Any:
    """`conv`, with its arguments as in `tf.nn.convolution`."""
    return conv(x, kernel, strides, padding, data_format, dilations)


def atrous_conv2d(x: Any, kernel: Any, rate: Any, padding: Any) -> Any:
    """A convolution whose kernel has holes."""
    return conv(x, kernel, None, padding, "NHWC", int(rate))


def depthwise(x: Any, kernel: Any, strides: Any, padding: Any, rate: Any, data_format: Any) -> Any:
    """A convolution of each channel by itself."""
    x, kernel = as_array(x), as_array(kernel)
    channels = kernel.shape[-2]
    # To JAX these are groups of one channel; their outputs follow each other by channel, as TensorFlow's do.
    kernel = kernel.reshape((*kernel.shape[:-2], 1, channels * kernel.shape[-1]))
    return conv(x, kernel, strides, padding, data_format, rate, channels)


def depthwise_native(x: Any, kernel: Any, strides: Any, padding: Any, data_format: Any, dilations: Any) -> Any:
    """`depthwise`, with its arguments as in `tf.nn.depthwise_conv2d_native`."""
    return depthwise(x, kernel, strides, padding, dilations, data_format)


def separable(x: Any, deep: Any, point: Any, strides: Any, padding: Any, rate: Any, data_format: Any) -> Any:
    """A convolution of each channel by itself, and then one of all channels in each place."""
    return conv(depthwise(x, deep, strides, padding, rate, data_format), point, None, "VALID", data_format, None)


def conv_transpose(
    x: Any, kernel: Any, output_shape: Any, strides: Any, padding: Any, data_format: Any, dilations: Any
) -> Any:
    """The gradient of a convolution by its input: that convolution takes `output_shape` to the shape of `x`."""
    x, kernel = as_array(x), as_array(kernel)
    rank = kernel.ndim - 2
    # Not by `jax.lax.conv_transpose`, which takes no `output_shape`: where a convolution has strides, several sizes of
    # its input lead to one output, and only the shape says which was meant.
    names = layout(rank, data_format)
    axes = [names[0].index(axis) for axis in _SPATIAL[-rank:]]
    steps, holes = window(strides, rank, data_format), window(dilations, rank, data_format)
    spans = [(size - 1) * hole + 1 for size, hole in zip(kernel.shape, holes, strict=False)]
    sizes = sizes_of(output_shape)
    outputs = [sizes[axis] for axis in axes] if len(sizes) == rank + 2 else list(sizes)
    how = margins(padding, rank, data_format)
    pads = []
    for i, (axis, step, span, output) in enumerate(zip(axes, steps, spans, outputs, strict=True)):
        stretched = (x.shape[axis] - 1) * step + 1
        # Where `SAME` pads by an odd number, TensorFlow puts the larger half behind.
        before = 0 if how == "VALID" else max(stretched - 1 + span - output, 0) // 2 if how == "SAME" else how[i][0]
        pads.append((span - 1 - before, output - stretched + before))
    kernel = jnp.flip(jnp.swapaxes(kernel, -1, -2), tuple(range(rank)))
    ones = (1,) * rank
    return jax.lax.conv_general_dilated(x, kernel, ones, pads, steps, holes, dimension_numbers=names)


def backprop_input(
    sizes: Any, kernel: Any, out: Any, strides: Any, padding: Any, data_format: Any, dilations: Any
) -> Any:
    """`conv_transpose`, with its arguments as in `tf.nn.conv2d_backprop_input`."""
    return conv_transpose(out, kernel, sizes, strides, padding, data_format, dilations)


def atrous_transpose(x: Any, kernel: Any, output_shape: Any, rate: Any, padding: Any) -> Any:
    """`conv_transpose` of a kernel with holes."""
    return conv_transpose(x, kernel, output_shape, None, padding, "NHWC", int(rate))


def max_pool(x: Any, ksize: Any, strides: Any, padding: Any, data_format: Any) -> Any:
    """The largest number in each window."""
    x = as_array(x)
    # By the identity of the maximum, and no other number, JAX recognises a pool that it can differentiate.
    low = -np.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    return _reduce(x, low, jax.lax.max, *_windows(x, ksize, strides, padding, data_format, None))


class Pooled(NamedTuple):
    """The largest numbers, and where they were."""

    output: Any
    argmax: Any


def max_pool_with_argmax(
    x: Any, ksize: Any, strides: Any, padding: Any, targmax: Any, dtype: Any, include_batch: bool
) -> Pooled:
    """The largest number in each window, and its place in the flattened image (or batch)."""
    x = as_array(x)
    spans, steps, how, _ = _windows(x, ksize, strides, padding, "NHWC", None)
    outputs = jax.eval_shape(lambda x: max_pool(x, ksize, strides, padding, "NHWC"), x).shape
    rows, columns = (_pixels_of(x.shape[i], outputs[i], spans[i], steps[i], how) for i in (1, 2))
    pixels = (rows[:, None, :, None] * x.shape[2] + columns[None, :, None, :]).reshape(*outputs[1:3], -1)
    inside = ((rows >= 0)[:, None, :, None] & (columns >= 0)[None, :, None, :]).reshape(*outputs[1:3], -1, 1)
    # One axis of all pixels of a window, of which the first that is the largest counts.
    seen = x.reshape((len(x), -1, x.shape[-1]))[:, np.where(inside[..., 0], pixels, 0)]
    best = jnp.argmax(jnp.where(inside[None], seen, -jnp.inf), -2, keepdims=True)
    found = jnp.take_along_axis(seen, best, -2)[..., 0, :]
    places = np.arange(x.size).reshape(x.shape).reshape((len(x), -1, x.shape[-1]))
    at = jnp.take_along_axis(places[slice(None if include_batch else 1)][:, np.maximum(pixels, 0)], best, -2)[..., 0, :]
    return Pooled(found, at.astype(_dtypes.canonical(_dtypes.as_dtype(targmax or dtype or _dtypes.int64))))


def _pixels_of(size: int, new: int, span: int, step: int, how: Any) -> np.ndarray:
    """Returns the pixels of each window along one axis, negative outside of the image."""
    # What `SAME` adds, TensorFlow puts half before the image, or less than half.
    before = max((new - 1) * step + span - size, 0) // 2 if how == "SAME" else 0
    found = np.arange(new)[:, None] * step + np.arange(span) - before
    return np.where(found < size, found, -1)


def avg_pool(x: Any, ksize: Any, strides: Any, padding: Any, data_format: Any, dilations: Any = None) -> Any:
    """The mean of each window; margins don't count."""
    x = as_array(x)
    how = _windows(x, ksize, strides, padding, data_format, dilations)
    total = _reduce(x, 0, jax.lax.add, *how)
    if how[2] == "VALID":
        return total / jnp.asarray(np.prod(how[0]), x.dtype)
    # One example and one channel are enough to count by.
    counted = jnp.ones(
        [size if span > 1 or step > 1 else 1 for size, span, step in zip(x.shape, *how[:2], strict=True)], x.dtype
    )
    return total / _reduce(counted, 0, jax.lax.add, *how)


def pool(
    x: Any, window_shape: Any, pooling_type: str, padding: Any, dilations: Any, strides: Any, data_format: Any
) -> Any:
    """`max_pool` or `avg_pool`, with its arguments as in `tf.nn.pool`."""
    x = as_array(x)
    if pooling_type == "AVG":
        return avg_pool(x, window_shape, strides, padding, data_format, dilations)
    how = _windows(x, window_shape, strides, padding, data_format, dilations)
    return _reduce(x, -np.inf, jax.lax.max, *how)


def local_response(x: Any, radius: Any, bias: Any, alpha: Any, beta: Any) -> Any:
    """Each number divided by what stands in the channels around it."""
    x = as_array(x)
    spans, ones = (1,) * (x.ndim - 1) + (2 * int(radius) + 1,), (1,) * x.ndim
    squares = jax.lax.reduce_window(jnp.square(x), 0.0, jax.lax.add, spans, ones, "SAME")
    return x / (bias + alpha * squares) ** beta


def bias_add(x: Any, bias: Any, data_format: Any) -> Any:
    """A bias for each channel, added."""
    x, bias = as_array(x), as_array(bias)
    if str(data_format or "").startswith("NC"):
        return x + bias.reshape((1, -1) + (1,) * (x.ndim - 2))
    return jnp.add(*of_one_rank(x, bias))


def patches(x: Any, ksizes: Any, strides: Any, rates: Any, padding: Any) -> Any:
    """The windows of an image, each as channels."""
    x = as_array(x)
    spans, steps, holes = (window(numbers, 2, "NHWC") for numbers in (ksizes, strides, rates))
    names = ("NHWC", "HWIO", "NHWC")
    # JAX picks the pixels out by a convolution with ones, which on accelerators would round them.
    found = jax.lax.conv_general_dilated_patches(
        x, spans, steps, padding, rhs_dilation=holes, dimension_numbers=names, precision=jax.lax.Precision.HIGHEST
    )
    # JAX orders them by channel first, TensorFlow by place.
    split = found.reshape((*found.shape[:3], x.shape[-1], -1))
    return jnp.swapaxes(split, -1, -2).reshape(found.shape)


def _windows(x: Any, ksize: Any, strides: Any, padding: Any, data_format: Any, dilations: Any) -> tuple[Any, ...]:
    rank = x.ndim - 2
    names = layout(rank, data_format)[0]

    def everywhere(numbers: Any) -> tuple[int, ...]:
        inner = iter(window(numbers, rank, data_format))
        return tuple(1 if name in "NC" else next(inner) for name in names)

    how = margins(padding, rank, data_format)
    if not isinstance(how, str):
        inner = iter(how)
        how = [(0, 0) if name in "NC" else next(inner) for name in names]
    return everywhere(ksize), everywhere(strides), how, everywhere(dilations)


def _reduce(x: Any, start: Any, function: Any, spans: Any, steps: Any, how: Any, holes: Any) -> Any:
    # A constant of NumPy's, because an array of JAX's may be a tracer, of which JAX could not see what it is.
    start = np.asarray(start, x.dtype)[()]
    return jax.lax.reduce_window(x, start, function, spans, steps, how, window_dilation=holes)
