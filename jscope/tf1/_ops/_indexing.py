"""Kernels that pick elements out, put elements in, sort them, and find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope.tf1 import _dtypes
from jscope.tf1._ops._call import never_static, plain, takes_tensors
from jscope.tf1._ops._shaping import alike, known, sizes_of, stays_known
from jscope.tf1._tensors import as_array
from jscope.tf1._variables import PartitionedVariable


def gather(params: Any, indices: Any, axis: Any, batch_dims: Any) -> Any:
    """The slices of `params` along an axis that the indices say."""
    params, indices, batch = as_array(params), as_array(indices), int(batch_dims or 0)
    batch = batch + indices.ndim if batch < 0 else batch
    axis = batch if axis is None else int(axis)
    axis = axis + params.ndim if axis < 0 else axis
    # One axis of the batch is mapped over at a time, so inside of all of them `axis` counts from the first that is
    # left.
    take: Callable[..., Any] = lambda p, i: jnp.take(p, i, axis - batch)  # noqa: E731
    for _ in range(batch):
        take = jax.vmap(take)
    return take(params, indices)


def batch_gather(params: Any, indices: Any) -> Any:
    """The slices along the last axis of the indices, for each entry of the batch."""
    return gather(params, indices, None, np.ndim(indices) - 1)


def gather_nd(params: Any, indices: Any, batch_dims: Any) -> Any:
    """The slices of `params` at the places that the last axis of the indices says."""
    take: Callable[..., Any] = lambda p, i: p[tuple(jnp.moveaxis(i, -1, 0))]  # noqa: E731
    for _ in range(int(batch_dims)):
        take = jax.vmap(take)
    return take(as_array(params), as_array(indices))


@takes_tensors
def embedding_lookup(params: Any, ids: Any, strategy: str, max_norm: Any) -> Any:
    """The rows of a table, which may be given in parts: as a list, or as a variable that is partitioned."""
    parts = list(params) if isinstance(params, PartitionedVariable | list | tuple) else [params]
    table, *others = parts = [as_array(plain(part)) for part in parts]
    if others and strategy == "div":
        table = jnp.concatenate(parts)
    elif others:
        # Dealt out, one row to each part in turn: also the rows of a variable, of which other rows stand side by side.
        longest = max(part.shape[0] for part in parts)
        padded = [jnp.pad(p, [(0, longest - p.shape[0])] + [(0, 0)] * (p.ndim - 1)) for p in parts]
        table = jnp.stack(padded, 1).reshape((-1, *table.shape[1:]))
    rows, max_norm = jnp.take(table, as_array(plain(ids)), 0), plain(max_norm)
    if max_norm is None:
        return rows
    axes = tuple(range(np.ndim(ids), rows.ndim))
    length = jnp.sqrt(jnp.sum(jnp.square(rows), axes, keepdims=True))
    return rows * jnp.asarray(max_norm, rows.dtype) / jnp.maximum(length, jnp.asarray(max_norm, rows.dtype))


def slice_(x: Any, begin: Any, size: Any) -> Any:
    """A box of the array; a size of -1 reaches to the end. Where it begins may be computed, how large it is may not."""
    x, begin = as_array(x), begin if isinstance(begin, list) else list(begin)
    sizes = sizes_of(size)
    if not any(isinstance(each, Tracer) for each in begin):
        return x[tuple(slice(int(b), None if s == -1 else int(b) + s) for b, s in zip(begin, sizes, strict=True))]
    return jax.lax.dynamic_slice(x, begin, [n if s == -1 else s for n, s in zip(x.shape, sizes, strict=True)])


def strided_slice(
    x: Any, begin: Any, end: Any, strides: Any, begin_mask: int, end_mask: int, ellipsis: int, new: int, shrink: int
) -> Any:
    """`x[begin:end:strides]`; bits of the masks say in which places something else stands."""
    begins, ends = list(sizes_of(begin)), list(sizes_of(end))
    steps = [1] * len(begins) if strides is None else list(sizes_of(strides))
    index: list[Any] = []
    for i, (start, stop, step) in enumerate(zip(begins, ends, steps, strict=True)):
        if ellipsis >> i & 1:
            index.append(Ellipsis)
        elif new >> i & 1:
            index.append(None)
        elif shrink >> i & 1:
            index.append(start)
        else:
            index.append(slice(None if begin_mask >> i & 1 else start, None if end_mask >> i & 1 else stop, step))
    return as_array(x)[tuple(index)]


def boolean_mask(tensor: Any, mask: Any, axis: Any) -> Any:
    """What stands where the mask is true. How much that is must be known."""
    # By NumPy, since JAX has no arrays whose size the values decide.
    places = np.nonzero(known(mask, "`tf.boolean_mask(x, mask)`"))
    return as_array(tensor)[(slice(None),) * int(axis or 0) + places]


def where(condition: Any, x: Any, y: Any) -> Any:
    """`x` where the condition is true, otherwise `y`; without them, the places where it is true."""
    if x is None and y is None:
        return np.argwhere(known(condition, "`tf.where(condition)`")).astype(_dtypes.canonical("int64"))
    condition = as_array(condition)
    x, y = alike_pair(x, y)
    # A vector chooses rows, which only this version of `where` does.
    if condition.ndim == 1 and x.ndim > 1 and x.shape == y.shape:
        condition = condition.reshape((-1,) + (1,) * (x.ndim - 1))
    return _select(condition, x, y)


def where_v2(condition: Any, x: Any, y: Any) -> Any:
    """As `where`, but all three broadcast."""
    return where(condition, x, y) if x is None else _select(as_array(condition), *alike_pair(x, y))


def _select(condition: Any, x: Any, y: Any) -> Any:
    return jnp.where(
        *(jnp.broadcast_to(v, np.broadcast_shapes(condition.shape, x.shape, y.shape)) for v in (condition, x, y))
    )


def alike_pair(x: Any, y: Any) -> tuple[Any, Any]:
    """Returns two arrays of one dtype, that of the one that has one."""
    one, other = alike([x, y])
    return one, other


@never_static
def one_hot(indices: Any, depth: Any, on: Any, off: Any, axis: Any, dtype: Any) -> Any:
    """`on` (1) at the index along a new axis, elsewhere `off` (0)."""
    given = next((v for v in (on, off) if v is not None), None)
    if dtype is None:
        dtype = _dtypes.float32 if given is None else _dtypes.as_constant(given).dtype
    dtype = _dtypes.canonical(_dtypes.as_dtype(dtype))
    if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(indices)):
        indices = jnp.asarray(indices)
    xp = np if stays_known(np.size(indices) * int(depth), dtype, indices, on, off) else jnp
    indices, place = xp.asarray(indices), -1 if axis is None else int(axis)
    hot = xp.expand_dims(indices, place if place >= 0 else indices.ndim)
    shape = [1] * hot.ndim
    shape[place] = int(depth)
    # An index outside of the depth equals none of these, and gets a row of `off`, as in TensorFlow.
    same = hot == xp.arange(int(depth), dtype=indices.dtype).reshape(shape)
    return xp.where(same, xp.asarray(1 if on is None else on, dtype), xp.asarray(0 if off is None else off, dtype))


def sequence_mask(lengths: Any, maxlen: Any, dtype: Any) -> Any:
    """Whether the place in the sequence is before its end."""
    longest = int(np.max(known(lengths, "`tf.sequence_mask` without `maxlen`"))) if maxlen is None else int(maxlen)
    lengths = as_array(lengths)
    mask = jnp.arange(longest, dtype=lengths.dtype).reshape((1,) * lengths.ndim + (-1,)) < lengths[..., None]
    return mask.astype(_dtypes.canonical(_dtypes.as_dtype(dtype)))


def _places(indices: Any) -> tuple[Any, ...]:
    return tuple(jnp.moveaxis(as_array(indices), -1, 0))


def scatter_nd(indices: Any, updates: Any, shape: Any) -> Any:
    """Zeros, with the updates added at the indices."""
    updates = as_array(updates)
    return jnp.zeros(sizes_of(shape), updates.dtype).at[_places(indices)].add(updates)


def scattering(how: str) -> Callable[[Any, Any, Any], Any]:
    """Returns the kernel that puts updates at indices: by `set`, `add`, `subtract`, `min` or `max`."""
    return lambda x, indices, updates: getattr(as_array(x).at[_places(indices)], how)(as_array(updates))


def sparse_to_dense(indices: Any, shape: Any, values: Any, default: Any) -> Any:
    """The default value, with the values at the indices."""
    values, indices = as_array(values), as_array(indices)
    indices = indices.reshape(-1, 1) if indices.ndim < 2 else indices
    return jnp.full(sizes_of(shape), jnp.asarray(default, values.dtype)).at[_places(indices)].set(values)


def segments(how: str, *, sorted_ids: bool) -> Callable[..., Any]:
    """Returns the kernel of `tf.segment_<how>` (ids sorted, their number known) or `tf.unsorted_segment_<how>`."""

    def unsorted(data: Any, ids: Any, count: Any) -> Any:
        data, ids, count = as_array(data), as_array(ids), int(count)
        data = data.reshape((-1, *data.shape[ids.ndim :]))
        if how != "mean":
            found = getattr(jax.ops, f"segment_{how}")(data, ids.reshape(-1), count)
            # What TensorFlow has for segments that are empty depends on whether they are sorted.
            empty = jax.ops.segment_sum(jnp.ones(ids.size, jnp.int32), ids.reshape(-1), count) == 0
            fill = found if how in ("prod", "sum") else jnp.zeros_like(found) if sorted_ids else _limit(how, found)
            return jnp.where(empty.reshape((-1,) + (1,) * (found.ndim - 1)), fill, found)
        total = jax.ops.segment_sum(data, ids.reshape(-1), count)
        sizes = jax.ops.segment_sum(jnp.ones(ids.size, data.dtype), ids.reshape(-1), count)
        return total / jnp.maximum(sizes, 1).reshape((-1,) + (1,) * (total.ndim - 1))

    def sorted_(data: Any, ids: Any) -> Any:
        return unsorted(data, ids, np.max(known(ids, f"`tf.segment_{how}`")) + 1)

    return sorted_ if sorted_ids else unsorted


def _limit(how: str, found: Any) -> Any:
    limits: Any = jnp.iinfo(found.dtype) if jnp.issubdtype(found.dtype, jnp.integer) else jnp.finfo(found.dtype)
    return jnp.full_like(found, limits.min if how == "max" else limits.max)


class TopKV2(NamedTuple):
    """The largest values along the last axis, and where they stand."""

    values: Any
    indices: Any


def top_k(x: Any, k: Any, index_type: Any) -> TopKV2:
    """The `k` largest values along the last axis, largest first."""
    values, indices = jax.lax.top_k(as_array(x), int(k))
    return TopKV2(values, indices.astype(_dtypes.canonical(_dtypes.as_dtype(index_type))))


def sort(values: Any, axis: Any, direction: str) -> Any:
    """The values in order."""
    return jnp.sort(as_array(values), int(axis), descending=direction == "DESCENDING")


def argsort(values: Any, axis: Any, direction: str) -> Any:
    """The places of the values in order; of equal ones the first comes first."""
    return jnp.argsort(as_array(values), int(axis), stable=True, descending=direction == "DESCENDING").astype(jnp.int32)


def invert_permutation(x: Any) -> Any:
    """The permutation that undoes another one."""
    x = as_array(x)
    return jnp.zeros_like(x).at[x].set(jnp.arange(x.size, dtype=x.dtype))


def searchsorted(sequence: Any, values: Any, side: str, out_type: Any) -> Any:
    """Where the values would have to stand in rows that are sorted."""
    find: Callable[..., Any] = lambda s, v: jnp.searchsorted(s, v, side=side)  # noqa: E731
    sequence, values = as_array(sequence), as_array(values)
    for _ in range(sequence.ndim - 1):
        find = jax.vmap(find)
    return find(sequence, values).astype(_dtypes.canonical(_dtypes.as_dtype(out_type)))


class UniqueResult(NamedTuple):
    """The values without repetitions, and for each value of the input its place among them."""

    y: Any
    idx: Any


def unique(x: Any, out_idx: Any) -> UniqueResult:
    """The values in the order in which they first come. They must be known."""
    # NumPy sorts them; TensorFlow keeps the order in which they come, which `first` gives back.
    values, first, back = np.unique(known(x, "`tf.unique(x)`"), return_index=True, return_inverse=True)
    order = np.argsort(first)
    ranks = np.argsort(order)[back].astype(_dtypes.canonical(_dtypes.as_dtype(out_idx)))
    return UniqueResult(values[order], ranks)


def dynamic_stitch(indices: Any, data: Any) -> Any:
    """The rows of several arrays as one, in which each has its index; of two with one index the later counts."""
    pairs = list(zip(indices, data, strict=True))
    places = [known(index, "`tf.dynamic_stitch`") for index, _ in pairs]
    rows = [as_array(v).reshape((-1, *np.shape(v)[at.ndim :])) for at, (_, v) in zip(places, pairs, strict=True)]
    flat = np.concatenate([at.reshape(-1) for at in places])
    # The last of each index, since JAX does not say which of several writes to one place counts.
    _, last = np.unique(flat[::-1], return_index=True)
    kept, whole = len(flat) - 1 - last, jnp.concatenate(rows)
    return jnp.zeros((int(flat.max(initial=-1)) + 1, *whole.shape[1:]), whole.dtype).at[flat[kept]].set(whole[kept])


def confusion_matrix(labels: Any, predictions: Any, num_classes: Any, dtype: Any, weights: Any) -> Any:
    """How often each label was predicted as each class."""
    if num_classes is None:
        what = "`tf.confusion_matrix` without `num_classes`"
        num_classes = max(int(np.max(known(v, what))) for v in (labels, predictions)) + 1
    dtype = _dtypes.canonical(_dtypes.as_dtype(dtype))
    counts = jnp.ones(np.shape(labels), dtype) if weights is None else jnp.asarray(weights, dtype)
    return jnp.zeros((int(num_classes),) * 2, dtype).at[as_array(labels), as_array(predictions)].add(counts)


def bincount(arr: Any, weights: Any, minlength: Any, maxlength: Any, dtype: Any) -> Any:
    """How often each number from 0 on comes."""
    largest = int(np.max(known(arr, "`tf.bincount`"), initial=-1)) + 1
    size = max(largest, int(minlength or 0))
    size = size if maxlength is None else min(size, int(maxlength))
    counted = jnp.bincount(as_array(arr).reshape(-1), None if weights is None else jnp.ravel(weights), length=size)
    return counted.astype(_dtypes.canonical(_dtypes.as_dtype(dtype)) if weights is None else counted.dtype)
