"""Kernels that ask for shapes, change them, and put arrays together or take them apart."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope.tf1 import _dtypes
from jscope.tf1._errors import ArgumentError, ArgumentTypeError
from jscope.tf1._ops._call import never_static, plain, takes_tensors
from jscope.tf1._shapes import TensorShape, as_shape
from jscope.tf1._tensors import as_array

_SMALL = 256
"""Up to how many integers `zeros`, `ones`, `fill` and `one_hot` return as static values."""


def sizes_of(shape: Any) -> tuple[int, ...]:
    """Returns a shape as ints; its dimensions may be static values."""
    if not isinstance(shape, list | tuple):
        shape = [shape] if np.ndim(shape) == 0 else list(shape)
    if any(isinstance(size, Tracer) for size in shape):
        raise ArgumentTypeError(
            f"The shape {shape} is computed of values that are not known while JAX traces.\n"
            "Compute it of `tf.shape(x)`, of `x.shape` or of Python's numbers, which are."
        )
    return tuple(map(int, shape))


def known(value: Any, what: str) -> Any:
    """Returns a value that must be known while JAX traces, as NumPy's array."""
    if isinstance(value, Tracer):
        raise ArgumentTypeError(
            f"{what} depends on a value that is not known while JAX traces, so the shape of the result would not be "
            "known, either.\nPass a number of Python's; or `static_argnums` to `jax.jit`."
        )
    return np.asarray(value)


# A shape is known also where the values are not, so these look at nothing but the shape.
@takes_tensors
def shape(x: Any, out_type: Any) -> Any:
    """The shape, as static integers."""
    return np.asarray(_shape_of(x), _dtypes.canonical(_dtypes.as_dtype(out_type or _dtypes.int32)))


@takes_tensors
def shape_n(x: Any, out_type: Any) -> list[Any]:
    """The shapes of several arrays."""
    return [shape(each, out_type) for each in x]


@takes_tensors
def size(x: Any, out_type: Any) -> Any:
    """The number of elements, as a static integer."""
    return np.asarray(math.prod(_shape_of(x)), _dtypes.canonical(_dtypes.as_dtype(out_type or _dtypes.int32)))


@takes_tensors
def rank(x: Any) -> Any:
    """The number of axes, as a static integer."""
    return np.asarray(len(_shape_of(x)), np.int32)


def _shape_of(x: Any) -> tuple[int, ...]:
    return tuple(getattr(x, "shape", None) if hasattr(x, "shape") else np.shape(x))  # pyright: ignore[reportArgumentType]


def ensure_shape(x: Any, shape: Any) -> Any:
    """The array, if it has this shape."""
    wanted = as_shape(shape)
    if wanted is not None and not wanted.is_compatible_with(np.shape(x)):
        raise ArgumentError(f"Shape of tensor {np.shape(x)} is not compatible with expected shape {wanted}.")
    return as_array(x)


def reshape(x: Any, shape: Any) -> Any:
    """The same elements in another shape, of which one dimension may be -1."""
    return jnp.reshape(as_array(x), sizes_of(shape))


def transpose(x: Any, perm: Any, conjugate: bool) -> Any:
    """The axes in another order; reversed if none is given."""
    x = jnp.transpose(as_array(x), None if perm is None else sizes_of(perm))
    return jnp.conj(x) if conjugate else x


def matrix_transpose(x: Any, conjugate: bool) -> Any:
    """The last two axes exchanged."""
    x = jnp.swapaxes(as_array(x), -1, -2)
    return jnp.conj(x) if conjugate else x


def expand_dims(x: Any, axis: Any) -> Any:
    """One more axis, of size 1."""
    return jnp.expand_dims(as_array(x), int(np.asarray(axis).reshape(())))


def squeeze(x: Any, axis: Any) -> Any:
    """Fewer axes of size 1: those given, or all."""
    return jnp.squeeze(as_array(x), None if axis is None or not np.size(axis) else sizes_of(axis))


def alike(values: Any) -> list[Any]:
    """Returns arrays of one dtype: constants take that of the first array."""
    # As in a graph, where the first tensor of a list says what becomes of the constants beside it.
    dtype = next((v.dtype for v in values if hasattr(v, "dtype")), None)
    return [v if isinstance(v, jax.Array) else jnp.asarray(v, dtype) for v in values]


def concat(values: Any, axis: Any) -> Any:
    """Arrays, one after the other along an axis."""
    if isinstance(axis, list) or np.ndim(axis):  # As it was before TensorFlow 1.0: the axis first.
        raise ArgumentTypeError("`tf.concat(values, axis)`: the values come first, then the axis, an int.")
    arrays = alike(values) if isinstance(values, list) else [as_array(values)]
    return jnp.concatenate(arrays, int(axis)) if arrays[0].ndim else arrays[0]


def stack(values: Any, axis: Any) -> Any:
    """Arrays, side by side along a new axis."""
    return jnp.stack(alike(values), int(axis))


def unstack(value: Any, num: Any, axis: Any) -> list[Any]:
    """What lies side by side along an axis, as a list."""
    value = as_array(value)
    return [jax.lax.index_in_dim(value, i, int(axis), keepdims=False) for i in range(value.shape[int(axis)])]


def split(value: Any, num_or_size_splits: Any, axis: Any, num: Any) -> list[Any]:
    """Parts along an axis: so many equal ones, or of these sizes, of which one may be -1."""
    value, axis = as_array(value), int(axis)
    if np.ndim(num_or_size_splits) == 0:
        return jnp.split(value, int(num_or_size_splits), axis)
    sizes = list(sizes_of(num_or_size_splits))
    if -1 in sizes:
        sizes[sizes.index(-1)] = value.shape[axis] - sum(sizes) - 1
    return jnp.split(value, np.cumsum(sizes)[:-1].tolist(), axis)


def tile(x: Any, multiples: Any) -> Any:
    """The array, repeated so often along each axis."""
    return jnp.tile(as_array(x), sizes_of(multiples))


def repeat(x: Any, repeats: Any, axis: Any) -> Any:
    """Each element, repeated so often along an axis."""
    counts = known(repeats, "`tf.repeat(x, repeats)`")
    return jnp.repeat(as_array(x), counts if counts.ndim else int(counts), axis)


def pad(x: Any, paddings: Any, mode: str, constant_values: Any) -> Any:
    """The array with margins: a constant, or a reflection of what is inside."""
    widths = [sizes_of(pair) for pair in paddings]
    x, how = as_array(x), mode.upper()
    if how == "CONSTANT":
        return jnp.pad(x, widths, constant_values=jnp.asarray(constant_values, x.dtype))
    return jnp.pad(x, widths, mode={"REFLECT": "reflect", "SYMMETRIC": "symmetric"}[how])


def reverse(x: Any, axis: Any) -> Any:
    """The array turned round along axes."""
    return jnp.flip(as_array(x), sizes_of(axis))


def roll(x: Any, shift: Any, axis: Any) -> Any:
    """The array, shifted along axes; what falls out on one side comes in on the other."""
    return jnp.roll(as_array(x), sizes_of(shift), sizes_of(axis))


def reverse_sequence(x: Any, lengths: Any, seq_axis: Any, batch_axis: Any) -> Any:
    """Each sequence of a batch turned round, as far as it is long."""
    x, lengths, axis, batch = as_array(x), as_array(lengths), int(seq_axis), int(batch_axis or 0)
    along = jnp.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    ends = lengths.astype(along.dtype).reshape([-1 if i == batch else 1 for i in range(x.ndim)])
    source = jnp.where(along < ends, ends - 1 - along, along)
    return jnp.take_along_axis(x, jnp.broadcast_to(source, np.broadcast_shapes(source.shape, x.shape)), axis)


def broadcast_to(x: Any, shape: Any) -> Any:
    """The array, repeated to a shape that it broadcasts to."""
    return jnp.broadcast_to(as_array(x), sizes_of(shape))


@takes_tensors
def broadcast_shape(x: Any, y: Any) -> Any:
    """The shape to which two shapes broadcast."""
    return TensorShape(np.broadcast_shapes(sizes_of(list(x)), sizes_of(list(y))))


@takes_tensors
def broadcast_sizes(x: Any, y: Any) -> Any:
    """The same as static integers."""
    return np.asarray(broadcast_shape(plain(x), plain(y)), np.int32)


def filled(shape: Any, value: Any, dtype: Any = None) -> Any:
    """An array of one value; small ones of integers are static, as they are often a part of a shape."""
    shape, dtype = sizes_of(shape), None if dtype is None else _dtypes.canonical(_dtypes.as_dtype(dtype))
    if not isinstance(value, jax.Array):
        value = _dtypes.as_constant(value)
        value = value.astype(dtype or _dtypes.canonical(value.dtype))
    return np.full(shape, value) if stays_known(math.prod(shape), value.dtype, value) else jnp.full(shape, value)


def stays_known(size: int, dtype: Any, *given: Any) -> bool:
    """Whether an array that could be large, and is made of `given`, is static: if it is of integers, and small."""
    # Old code computes shapes with them (`tf.ones([2], tf.int32) * n`), and what `tf.where` is asked.
    return size <= _SMALL and np.dtype(dtype).kind in "iu" and not any(isinstance(each, jax.Array) for each in given)


@never_static
def zeros(shape: Any, dtype: Any) -> Any:
    """An array of zeros."""
    return filled(shape, 0, dtype)


@never_static
def ones(shape: Any, dtype: Any) -> Any:
    """An array of ones."""
    return filled(shape, 1, dtype)


@never_static
def fill(dims: Any, value: Any) -> Any:
    """An array of one value."""
    return filled(dims, value)


@never_static
def zeros_like(x: Any, dtype: Any) -> Any:
    """An array of zeros of the same shape."""
    return filled(np.shape(x), 0, dtype or as_array(x).dtype)


@never_static
def ones_like(x: Any, dtype: Any) -> Any:
    """An array of ones of the same shape."""
    return filled(np.shape(x), 1, dtype or as_array(x).dtype)


@never_static
def eye(num_rows: Any, num_columns: Any, batch_shape: Any, dtype: Any) -> Any:
    """The identity matrix, or a batch of them."""
    columns = None if num_columns is None else int(num_columns)
    matrix = jnp.eye(int(num_rows), columns, dtype=_dtypes.canonical(_dtypes.as_dtype(dtype)))
    batch = () if batch_shape is None else sizes_of(batch_shape)
    return jnp.broadcast_to(matrix, (*batch, *matrix.shape))


def constant(value: Any, dtype: Any, shape: Any) -> Any:
    """A static value; with a shape, repeated to fill it."""
    value = _dtypes.as_constant(value, None if dtype is None else _dtypes.as_dtype(dtype))
    if shape is None:
        return value
    shape = sizes_of(shape)
    if value.size == 1:
        return (
            np.broadcast_to(value.reshape(()), shape) if math.prod(shape) <= _SMALL else jnp.full(shape, value.item())
        )
    return value.reshape(shape)


@takes_tensors
def convert_to_tensor(value: Any, dtype: Any, hint: Any) -> Any:
    """The value as a tensor; a constant in the dtype that is asked for."""
    given = plain(value)
    if isinstance(given, list) and any(isinstance(leaf, jax.Array) for leaf in given):
        given = stack(given, 0)
    wanted = hint if dtype is None and not hasattr(given, "dtype") else dtype
    return _dtypes.as_constant(given, None if wanted is None else _dtypes.as_dtype(wanted))


def range_(start: Any, limit: Any, delta: Any, dtype: Any) -> Any:
    """Numbers from `start` (or 0) to below `limit`."""
    # Static, and so is the result: loops of old code count by it.
    start, limit, delta = (
        known(v, "`tf.range`") for v in ((0, start, delta) if limit is None else (start, limit, delta))
    )
    if dtype is None:
        dtype = np.result_type(*(_dtypes.canonical(_dtypes.as_constant(v).dtype) for v in (start, limit, delta)))
        dtype = "float32" if dtype.kind == "f" else "int32"
    return np.arange(start, limit, delta).astype(_dtypes.canonical(_dtypes.as_dtype(dtype)))


def linspace(start: Any, stop: Any, num: Any, axis: Any) -> Any:
    """`num` numbers from `start` to `stop`, both included."""
    if int(num) < 0:
        raise ArgumentError(f"`tf.linspace` makes `num` numbers, which cannot be {num}.")
    start, steps = as_array(start), np.arange(int(num))
    ends = jnp.broadcast_arrays(start, as_array(stop).astype(start.dtype))
    start, stop = (jnp.expand_dims(each, int(axis)) for each in ends)
    # With TensorFlow's steps, and not by the shares of both, whole numbers are whole: old code takes the floor of them.
    step = (stop - start) / max(len(steps) - 1, 1)
    start, stop = start.astype(step.dtype), stop.astype(step.dtype)
    steps = np.expand_dims(steps, [each for each in range(step.ndim) if each != int(axis) % step.ndim])
    return jnp.where((steps > 0) & (steps == steps.size - 1), stop, start + step * steps.astype(step.dtype))


def space_to_depth(x: Any, block_size: Any, data_format: str) -> Any:
    """Blocks of pixels as channels."""
    b = int(block_size)
    x = jnp.moveaxis(as_array(x), 1, -1) if data_format == "NCHW" else as_array(x)
    n, h, w, c = x.shape
    x = x.reshape(n, h // b, b, w // b, b, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // b, w // b, b * b * c)
    return jnp.moveaxis(x, -1, 1) if data_format == "NCHW" else x


def depth_to_space(x: Any, block_size: Any, data_format: str) -> Any:
    """Channels as blocks of pixels."""
    b = int(block_size)
    x = jnp.moveaxis(as_array(x), 1, -1) if data_format == "NCHW" else as_array(x)
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, b, b, c // (b * b)).transpose(0, 1, 3, 2, 4, 5).reshape(n, h * b, w * b, c // (b * b))
    return jnp.moveaxis(x, -1, 1) if data_format == "NCHW" else x


def space_to_batch(x: Any, block_shape: Any, paddings: Any) -> Any:
    """Blocks of places as examples: of each block the first place of all, then the second of all, and so on."""
    x, blocks = as_array(x), sizes_of(block_shape)
    x = jnp.pad(x, [(0, 0), *(sizes_of(pair) for pair in paddings), *[(0, 0)] * (x.ndim - 1 - len(blocks))])
    rank, rest = len(blocks), x.shape[1 + len(blocks) :]
    outer = [size // block for size, block in zip(x.shape[1:], blocks, strict=False)]
    split = x.reshape((x.shape[0], *(n for pair in zip(outer, blocks, strict=True) for n in pair), *rest))
    order = [*range(2, 2 * rank + 1, 2), 0, *range(1, 2 * rank, 2), *range(2 * rank + 1, split.ndim)]
    return split.transpose(order).reshape((-1, *outer, *rest))


def batch_to_space(x: Any, block_shape: Any, crops: Any) -> Any:
    """What `space_to_batch` was given, less `crops` on each side."""
    x, blocks = as_array(x), sizes_of(block_shape)
    rank, outer, rest = len(blocks), x.shape[1 : 1 + len(blocks)], x.shape[1 + len(blocks) :]
    split = x.reshape((*blocks, -1, *outer, *rest))
    order = [rank, *(axis for i in range(rank) for axis in (rank + 1 + i, i)), *range(2 * rank + 1, split.ndim)]
    whole = split.transpose(order).reshape((-1, *(n * block for n, block in zip(outer, blocks, strict=True)), *rest))
    cuts = (sizes_of(pair) for pair in crops)
    return whole[(slice(None), *(slice(a, n - b) for n, (a, b) in zip(whole.shape[1:], cuts, strict=False)))]
