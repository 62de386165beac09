"""Layers in one array, or each by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jscope import _path
from jscope._spec import VariableSpec
from jscope._types import Shape, Tree
from jscope.errors import InvalidArgumentError, MissingVariableError, StructureMismatchError
from jscope.tree import _diff
from jscope.tree._names import flatten, merge, partition
from jscope.tree._words import place, quoted, suggestion


def stack(tree: Tree, *, at: str = "") -> dict[str, Any]:
    """Turns the layers `{"0": t, "1": t, ...}` into one `t` whose leaves have a leading axis of layers.

    >>> stack({"0": {"w": np.array([1, 2])}, "1": {"w": np.array([3, 4])}})["w"].tolist()
    [[1, 2], [3, 4]]

    NumPy arrays give a NumPy array. A `jax.ShapeDtypeStruct` gives another one; where it has a `NamedSharding`, the new
    axis stays whole. With `at`, the layers are those below that path of a larger tree, whose other leaves are kept.
    `unstack` is the inverse.

    Raises:
      StructureMismatchError: The keys are not `"0"` to `"n-1"`, or the layers differ in paths, shapes or dtypes.
      MissingVariableError: There is nothing below `at`.
      InvalidArgumentError: A leaf is neither an array nor a `jax.ShapeDtypeStruct`.
    """
    subtree, rest = _split_at(tree, at)
    layers = _flat_layers(subtree, at)
    for i, layer in enumerate(layers):
        if report := _diff.compare(layers[0], layer, _diff.kinds):
            raise StructureMismatchError(f"Layers 0 (a) and {i} (b) of {place(at)} must be alike:\n{report}")
    stacked = {path: _stack_leaves([layer[path] for layer in layers]) for path in layers[0]}
    return merge(rest, {at: stacked} if at else stacked)


def unstack(tree: Tree, *, at: str = "") -> dict[str, Any]:
    """Turns a tree whose leaves have a leading axis of layers into `{"0": t, "1": t, ...}`.

    >>> unstack({"w": np.array([[1, 2], [3, 4]])})
    {'0': {'w': array([1, 2])}, '1': {'w': array([3, 4])}}

    This is the inverse of `stack`, for the same kinds of leaves and with the same `at`. A NumPy array gives views. The
    specs of a scanned model give those of the unrolled one: `layers/w` becomes `layers/0/w`, `layers/1/w`, ...

    Raises:
      StructureMismatchError: The leading sizes differ, or are 0.
      MissingVariableError: There is nothing below `at`.
      InvalidArgumentError: A leaf is neither an array nor a `jax.ShapeDtypeStruct`.
    """
    subtree, rest = _split_at(tree, at)
    flat = _flat_layer(subtree, at, jax.ShapeDtypeStruct | VariableSpec)
    # One entry for each leading size; a leaf without axes has the size `()`.
    found = {_layer_axis(leaf): f"`{path}` is {_diff.describe_leaf(leaf)}" for path, leaf in flat.items()}
    if len(found) > 1 or not all(map(any, found)):
        sizes = ", but ".join(found.values())
        raise StructureMismatchError(
            f"The leaves of {place(at)} must have leading axes of one size, at least 1; {sizes}."
        )
    ((count,),) = found
    slices = {path: _unstack_leaf(leaf) for path, leaf in flat.items()}
    layers = {str(i): {path: slices[path][i] for path in flat} for i in range(count)}
    return merge(rest, {at: layers} if at else layers)


def _split_at(tree: Tree, at: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what is below the path `at`, with paths that start there, and the rest of the tree."""
    if not isinstance(at, str):
        raise InvalidArgumentError(f'at={at!r} must be the path of a subtree, such as `encoder/layers`; `""` for all.')
    flat = flatten(tree)
    if at in flat:
        raise InvalidArgumentError(f"`{at}` is not a subtree, but a leaf: {_diff.describe_leaf(flat[at])}.")
    rest, below = partition(flat, lambda path, _: _path.relative(path, at) is None)
    if not below:
        raise MissingVariableError(f"There is nothing below {place(at)}. {suggestion(at, flat)}")
    return _path.walk(below, _path.parts(at)), rest


def _flat_layers(tree: Mapping[str, Any], at: str) -> list[dict[str, Any]]:
    """Returns the layers `"0"` to `"n-1"` in flat form."""
    wanted = [str(i) for i in range(len(tree))]
    if missing := [name for name in wanted if name not in tree]:
        found = f"found {quoted(tree)}, but not {quoted(missing)}"
        raise StructureMismatchError(f"The layers of {place(at)} must be named `0` to `n-1`; {found}.")
    return [_flat_layer(tree[name], _path.join(at, name)) for name in wanted]


def _flat_layer(layer: Any, at: str, abstract: Any = jax.ShapeDtypeStruct) -> dict[str, Any]:
    """Returns what is below `at` in flat form, after checking that it can be stacked or unstacked."""
    if not isinstance(layer, Mapping):
        raise InvalidArgumentError(f"Layer {place(at)} must be a mapping, not {_diff.describe_leaf(layer)}.")
    flat = flatten(layer)
    for path, leaf in flat.items():
        if not (_diff.is_array(leaf) or isinstance(leaf, abstract)):
            raise InvalidArgumentError(
                f"`{_path.join(at, path)}` is {_diff.describe_leaf(leaf)}, neither an array nor a "
                "`jax.ShapeDtypeStruct`. `partition` it off first."
            )
    return flat


def _stack_leaves(leaves: list[Any]) -> Any:
    if isinstance(leaves[0], jax.ShapeDtypeStruct):
        return _reshaped(leaves[0], (len(leaves), *leaves[0].shape), lambda spec: (None, *spec))
    # NumPy arrays stay on the host: a checkpoint of a large model may not fit on a device.
    return (jnp if any(isinstance(leaf, jax.Array) for leaf in leaves) else np).stack(leaves)


def _layer_axis(leaf: Any) -> Shape:
    """Returns the leading size, if there is one. Of specs only the axes of lifts are layers."""
    return leaf.shape[: len(leaf.stack[:1])] if isinstance(leaf, VariableSpec) else leaf.shape[:1]


def _unstack_leaf(leaf: Any) -> list[Any]:
    if isinstance(leaf, VariableSpec):
        return [_unstack_spec(leaf, i) for i in range(leaf.shape[0])]
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return [_reshaped(leaf, leaf.shape[1:], lambda spec: spec[1:])] * leaf.shape[0]
    # Without the ellipsis, NumPy would make a scalar, not an array, of an element without axes.
    return list(leaf) if isinstance(leaf, jax.Array) else [leaf[i, ...] for i in range(len(leaf))]


def _unstack_spec(spec: VariableSpec, index: int) -> VariableSpec:
    """Returns the spec of one copy, which has the index as one more part of its path."""
    outer, *inner = spec.stack
    parts = _path.parts(spec.path)
    return dataclasses.replace(
        spec,
        path=_path.join(*parts[: outer.depth], str(index), *parts[outer.depth :]),
        shape=spec.shape[1:],
        axes=spec.axes and spec.axes[1:],
        # The other axes are inside, so their indices come after this one.
        stack=tuple(dataclasses.replace(axis, depth=axis.depth + 1) for axis in inner),
    )


def _reshaped(struct: jax.ShapeDtypeStruct, shape: Shape, axes: Callable[..., tuple[Any, ...]]) -> jax.ShapeDtypeStruct:
    sharding = struct.sharding
    if isinstance(sharding, NamedSharding):
        spec = PartitionSpec(*axes(tuple(sharding.spec)))
        sharding = NamedSharding(sharding.mesh, spec, memory_kind=sharding.memory_kind)
    return struct.update(shape=shape, sharding=sharding)
