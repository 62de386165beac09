"""Partitioners: how TensorFlow cuts a variable, and what that says here.

A variable stays one array under its own name: to cut it is a matter of devices, not of names. A partitioner is called
and checked as in TensorFlow, and what it returns names the axis to shard: the spec has `axes=("partition", None)`,
which `jscope.sharding` maps to the mesh.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from jscope._types import Axes
from jscope.tf1 import _dtypes
from jscope.tf1._errors import ArgumentError
from jscope.tf1._shapes import TensorShape

AXIS = "partition"
"""The logical name of an axis that a partitioner cuts. One for all, or the rules of a mesh would have to list them."""


def call_partitioner(partitioner: Callable[..., Any], shape: TensorShape | None, dtype: Any) -> Any:
    """Returns what the partitioner returns, after the checks that TensorFlow makes."""
    if shape is None or not shape.is_fully_defined():
        raise ArgumentError(
            "Shape of a new partitioned variable must be fully defined, but instead was "
            f"{'<unknown>' if shape is None else shape}."
        )
    if shape.ndims < 1:
        raise ArgumentError(f"A partitioned Variable must have rank at least 1, shape: {shape}")
    slicing = partitioner(shape=shape, dtype=dtype)
    if not isinstance(slicing, Sequence):
        raise ArgumentError(f"Partitioner must return a sequence, but saw: {slicing}")
    if len(slicing) != shape.ndims:
        raise ArgumentError(
            f"Partitioner returned a partition list that does not match the Variable's rank: {slicing} vs. {shape}"
        )
    if any(part < 1 for part in slicing):
        raise ArgumentError(f"Partitioner returned zero partitions for some axes: {slicing}")
    if sum(part > 1 for part in slicing) > 1:
        raise ArgumentError(f"Can only slice a variable along one dimension: shape: {shape}, partitioning: {slicing}")
    return slicing


def check_offsets(shape: TensorShape, slicing: Sequence[int]) -> None:
    """Raises where there are more shards than rows, or no rows at all."""
    # TensorFlow makes one shard after the other, and its error is about the first that has no row: it begins where the
    # shape ends. Here nothing was made yet.
    cut = next((axis for axis, parts in enumerate(slicing) if parts > 1), 0)
    full, offset = shape.as_list(), [0] * shape.ndims
    if slicing[cut] > shape[cut]:
        offset[cut] = shape[cut]
    for start, size in zip(offset, full, strict=True):
        if size is not None and start >= size:
            raise ArgumentError(
                f"Expected 0 <= offset < shape but found offset={start}, shape={size} for var_offset={offset}, "
                f"full_shape={full}"
            )


def logical_axes(slicing: Sequence[int] | None) -> Axes | None:
    """Returns the logical axes of a variable that is cut so."""
    # Without a partitioner the axes stay unsaid; the core's own partitioners do not apply either.
    if slicing is None:
        return None
    return tuple(AXIS if parts > 1 else None for parts in slicing)


def fixed_size_partitioner(num_shards: int, axis: int = 0) -> Callable[..., list[int]]:
    """Returns a partitioner that cuts `axis` into `num_shards`, or into single rows if there are fewer.

    >>> fixed_size_partitioner(3)(shape=TensorShape([2, 5]), dtype="float32")
    [2, 1]
    """

    def partitioner(shape: TensorShape, **_: Any) -> list[int]:
        partitions = [1] * len(shape)
        partitions[axis] = min(num_shards, int(shape[axis]))
        return partitions

    return partitioner


def variable_axis_size_partitioner(
    max_shard_bytes: int, axis: int = 0, bytes_per_string_element: int = 16, max_shards: int | None = None
) -> Callable[..., list[int]]:
    """Returns a partitioner that cuts `axis` so that no shard has more than `max_shard_bytes`.

    >>> variable_axis_size_partitioner(16)(shape=TensorShape([4, 2]), dtype="float32")
    [2, 1]
    """
    if max_shard_bytes < 1 or bytes_per_string_element < 1:
        raise ArgumentError(
            "Both max_shard_bytes and bytes_per_string_element must be positive. "
            f"Currently, max_shard_bytes is {max_shard_bytes} andbytes_per_string_element is {bytes_per_string_element}"
        )
    # By truth, as in TensorFlow: 0 means that there is no limit.
    if max_shards and max_shards < 1:
        raise ArgumentError("max_shards must be positive.")

    def partitioner(shape: TensorShape, dtype: Any) -> list[int]:
        if not isinstance(shape, TensorShape):
            raise ArgumentError(f"shape is not a TensorShape: {shape}")
        if not shape.is_fully_defined():
            raise ArgumentError(f"shape is not fully defined: {shape}")
        partitions, rows = [1] * shape.ndims, int(shape[axis])
        # At least one row to a shard, even if a single row is larger than allowed.
        row_bytes = 1.0 * (math.prod(shape) / rows) * _dtypes.as_dtype(dtype).itemsize
        shards = math.ceil(1.0 * rows / max(1, math.floor(max_shard_bytes / row_bytes)))
        partitions[axis] = min(max_shards, shards) if max_shards else shards
        return partitions

    return partitioner


def min_max_variable_partitioner(
    max_partitions: int = 1, axis: int = 0, min_slice_size: int = 256 << 10, bytes_per_string_element: int = 16
) -> Callable[..., list[int]]:
    """Returns a partitioner that cuts `axis` into at most `max_partitions`, of at least `min_slice_size` bytes.

    >>> min_max_variable_partitioner(8, min_slice_size=16)(shape=TensorShape([4, 2]), dtype="float32")
    [2, 1]
    """

    def partitioner(shape: TensorShape, dtype: Any) -> list[int]:
        if axis >= len(shape):
            raise ArgumentError(f"Cannot partition variable along axis {axis} when shape is only {shape}")
        wanted = math.ceil(math.prod(shape) * _dtypes.as_dtype(dtype).itemsize / min_slice_size)
        partitions = [1] * len(shape)
        partitions[axis] = max(1, min(int(shape[axis]), max_partitions, wanted))
        return partitions

    return partitioner
