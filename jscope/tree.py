"""Nested dicts, seen as leaves by path.

A tree is a nested mapping with string keys: params, state, gradients, specs, a checkpoint. Anything that is not a
mapping is a leaf, be it an array, a `jax.ShapeDtypeStruct`, a list or None; and a tree is nothing but its leaves by
path. From that follows what all the functions here have in common:

- `{"a/b": x}` and `{"a": {"b": x}}` are the same tree, in flat and in nested form: every function takes either.
- An empty sub-dict has no leaves, so it does not count: results never contain one.
- Leaves are passed on as the same objects; trees are never changed, and results are new plain dicts.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jscope import _path
from jscope._spec import VariableSpec
from jscope._types import Converter, Shape, Tree
from jscope._util import _diff, _text
from jscope._util._diff import Diff as Diff
from jscope.errors import InvalidArgumentError, MissingVariableError, NameConflictError, StructureMismatchError

Where: TypeAlias = str | re.Pattern[str] | Callable[[str, Any], bool]
"""Chooses leaves: a regular expression found anywhere in the path, or a predicate `(path, leaf) -> bool`.

The search is `re.search`, as in `grep`; anchor the expression (`"^enc/"`, `"/w$"`) where it should match less.
"""


def names(tree: Tree) -> list[str]:
    """Lists the paths of a tree's leaves, in the tree's order; errors are those of `flatten`.

    >>> names({"enc": {"w": 1, "b": 2}, "step": 3})
    ['enc/w', 'enc/b', 'step']

    `jax.tree.leaves` has another order, since JAX sorts the keys of a dict: zipped with these names, leaves would get
    wrong ones. Use `items`, or `leaves`.
    """
    return list(flatten(tree))


def leaves(tree: Tree) -> list[Any]:
    """Lists a tree's leaves in the order of `names`; errors are those of `flatten`.

    >>> leaves({"enc": {"w": 1, "b": 2}, "step": 3})
    [1, 2, 3]
    >>> jax.tree.leaves({"enc": {"w": 1, "b": 2}, "step": 3})
    [2, 1, 3]
    """
    return list(flatten(tree).values())


def items(tree: Tree) -> list[tuple[str, Any]]:
    """Lists a tree's leaves with their paths, in the order of `names`; errors are those of `flatten`.

    >>> items({"enc": {"w": 1, "b": 2}, "step": 3})
    [('enc/w', 1), ('enc/b', 2), ('step', 3)]
    """
    return list(flatten(tree).items())


def flatten(tree: Tree) -> dict[str, Any]:
    """Returns the leaves of a tree by path.

    >>> flatten({"enc": {"w": 1, "b": 2}, "step": 3, "empty": {}})
    {'enc/w': 1, 'enc/b': 2, 'step': 3}

    Raises:
      InvalidArgumentError: `tree` is not a mapping, or a key is not a string.
      InvalidNameError: A key is empty, or has an empty part.
      NameConflictError: A path is there twice, or is both a leaf and a prefix.
    """
    flat: dict[str, Any] = {}
    for path, leaf in _entries(tree):
        if path in flat:
            raise NameConflictError(f"`{path}` is there twice, in flat and in nested form. Leave one of them out.")
        flat[path] = leaf
    for path in flat:
        for prefix in _path.prefixes(path):
            if prefix in flat:
                raise NameConflictError(f"`{prefix}` is a leaf, but also a prefix of `{path}`. Rename one of them.")
    return flat


def unflatten(flat: Tree) -> dict[str, Any]:
    """Returns the nested form of a tree: the inverse of `flatten`, with the same errors.

    >>> unflatten({"enc/w": 1, "enc/b": 2, "step": 3})
    {'enc': {'w': 1, 'b': 2}, 'step': 3}
    """
    return _path.nested(flatten(flat).items())


def filter(tree: Tree, where: Where) -> dict[str, Any]:
    """Returns the part of a tree that `where` chooses.

    >>> filter({"enc": {"w": 1, "b": 2}, "dec": {"w": 3}}, "/w$")
    {'enc': {'w': 1}, 'dec': {'w': 3}}

    Raises:
      InvalidArgumentError: `where` is not a regular expression.
    """
    if isinstance(where, str | re.Pattern):
        _text.warn_if_useless(_text.pattern(where), flatten(tree), "filter: ")
    return partition(tree, where)[0]


def partition(tree: Tree, where: Where) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits a tree into what `where` chooses and the rest; `merge` puts them together again.

    >>> partition({"enc": {"w": 1}, "dec": {"w": 2}}, lambda path, leaf: leaf > 1)
    ({'dec': {'w': 2}}, {'enc': {'w': 1}})

    Raises:
      InvalidArgumentError: `where` is not a regular expression.
    """
    flat, chooses = flatten(tree), _predicate(where)
    chosen = {path: leaf for path, leaf in flat.items() if chooses(path, leaf)}
    rest = {path: leaf for path, leaf in flat.items() if path not in chosen}
    return unflatten(chosen), unflatten(rest)


def merge(*trees: Tree) -> dict[str, Any]:
    """Returns one tree with the leaves of all the trees.

    >>> merge({"enc": {"w": 1}}, {"enc": {"b": 2}, "step": 3})
    {'enc': {'w': 1, 'b': 2}, 'step': 3}

    Raises:
      NameConflictError: Two trees have different objects at one path. (The same object twice is not a conflict.)
    """
    merged: dict[str, Any] = {}
    clashes: list[str] = []
    for flat in map(flatten, trees):
        # By identity: comparing arrays would read them, and may not be possible under a trace.
        clashes += [path for path in flat if path in merged and merged[path] is not flat[path]]
        merged |= flat
    if clashes:
        raise NameConflictError(f"Two trees have different leaves at {_quoted(clashes)}. `filter` out all but one.")
    return unflatten(merged)


def map_with_path(fn: Callable[..., Any], tree: Tree, *rest: Tree) -> dict[str, Any]:
    """Replaces every leaf by `fn(path, leaf, *others)`, where the others are the leaves of `rest` at the same path.

    >>> map_with_path(lambda path, x, y: f"{path}={x + y}", {"enc": {"w": 1}}, {"enc": {"w": 2}})
    {'enc': {'w': 'enc/w=3'}}

    Raises:
      StructureMismatchError: Two trees differ in their paths; the message lists where.
    """
    flat, *others = map(flatten, (tree, *rest))
    for i, other in enumerate(others):
        # Only the paths must agree; what the leaves are is the matter of `fn`.
        if report := _diff.compare(flat, other, lambda x, y: 0.0):
            raise StructureMismatchError(f"`tree` (a) and `rest[{i}]` (b) must have the same paths:\n{report}")
    return _path.nested((path, fn(path, leaf, *(other[path] for other in others))) for path, leaf in flat.items())


def rename(tree: Tree, to: Mapping[str, str] | Callable[[str], str]) -> dict[str, Any]:
    r"""Returns the same leaves under other paths.

    >>> rename({"enc": {"layer1": {"w": 1}}}, {"^enc/": "encoder/", r"layer(\d+)": r"layers/\1"})
    {'encoder': {'layers': {'1': {'w': 1}}}}
    >>> rename({"enc": {"w": 1}}, str.upper)
    {'ENC': {'W': 1}}

    `to` is a function from path to path, or `{regular expression: replacement}`: one `re.sub` after the other, in the
    dict's order, each on the result of the one before (so swapping two names takes a function).

    Raises:
      MissingVariableError: An expression is not found in any path.
      NameConflictError: Two paths become one, or a path becomes a prefix of another.
      InvalidNameError: A new path is empty, or has an empty part.
    """
    flat = flatten(tree)
    new_path = to if callable(to) else _replaced(flat, to).__getitem__
    origin: dict[str, str] = {}
    for path in flat:
        new = new_path(path)
        _path.check(new)
        if new in origin:
            raise NameConflictError(f"`{origin[new]}` and `{path}` would both become `{new}`. Keep them apart.")
        origin[new] = path
    return unflatten({new: flat[path] for new, path in origin.items()})


def convert(tree: Tree, conversion: Converter) -> dict[str, Any]:
    """Returns the tree in another naming and layout, as a `jscope.checkpoint.Conversion` says.

    >>> from jscope.checkpoint import Conversion, Rule
    >>> conversion = Conversion([Rule("dense/kernel", "fc.weight", "out in -> in out")])
    >>> convert({"fc.weight": np.zeros((3, 2))}, conversion)["dense"]["kernel"].shape
    (2, 3)
    >>> convert({"dense": {"kernel": np.zeros((2, 3))}}, conversion.inverse)["fc.weight"].shape
    (3, 2)

    NumPy arrays give NumPy arrays, which may be views. Arrays of JAX may be traced: then what is tied is not compared.

    Raises:
      StructureMismatchError: With one report of everything that does not fit.
    """
    return unflatten(conversion.arrays(flatten(tree)))


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
            raise StructureMismatchError(f"Layers 0 (a) and {i} (b) of {_subtree(at)} must be alike:\n{report}")
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
            f"The leaves of {_subtree(at)} must have leading axes of one size, at least 1; {sizes}."
        )
    ((count,),) = found
    slices = {path: _unstack_leaf(leaf) for path, leaf in flat.items()}
    layers = {str(i): {path: slices[path][i] for path in flat} for i in range(count)}
    return merge(rest, {at: layers} if at else layers)


def size(tree: Tree) -> int:
    """Counts the elements of all leaves; a typed random key is one element.

    >>> size({"w": np.zeros((2, 3)), "b": jax.ShapeDtypeStruct((3,), "float32")})
    9

    Raises:
      InvalidArgumentError: A leaf has no shape and dtype.
    """
    return sum(math.prod(leaf.shape) for leaf in _sized(tree))


def bytes(tree: Tree) -> int:
    """Counts the bytes of all leaves: elements times item size, without what a device adds for its layout.

    >>> bytes({"w": np.zeros((2, 3), np.float32), "b": jax.ShapeDtypeStruct((3,), "bfloat16")})
    30

    Raises:
      InvalidArgumentError: A leaf has no shape and dtype.
    """
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in _sized(tree))


def diff(a: Tree, b: Tree, *, tolerance: float = 0.0) -> Diff:
    """Compares two trees; the report is false if they are equal.

    >>> print(diff({"w": np.zeros(2), "step": 1}, {"w": np.ones(2), "step": np.zeros(3, np.int32)}))
    changed    step  1 -> int32[3]
    values     w     differs by up to 1

    In arrays, two numbers are equal if their absolute difference is at most `tolerance`, and a NaN equals a NaN at the
    same index. NumPy and JAX arrays are compared alike; with a `jax.ShapeDtypeStruct` or a spec, only shape and dtype
    count. Everything else is compared by type and `==`.

    Raises:
      InvalidArgumentError: `tolerance` is negative or NaN.
    """
    return _diff.compare(flatten(a), flatten(b), tolerance=tolerance)


def _entries(tree: Tree, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yields `(path, leaf)` in the tree's order, after checking every key."""
    if not isinstance(tree, Mapping):
        raise InvalidArgumentError(f"A tree is a nested mapping with string keys, not {_diff.describe_leaf(tree)}.")
    for name, value in tree.items():
        if not isinstance(name, str):
            raise InvalidArgumentError(f"Key {name!r} in {_subtree(at)} must be a string, not `{type(name).__name__}`.")
        path = _path.SEPARATOR.join([at, name] if at else [name])  # `_path.join` would drop an empty name.
        _path.check(path)
        if isinstance(value, Mapping):
            yield from _entries(value, path)
        else:
            yield path, value


def _predicate(where: Where) -> Callable[[str, Any], bool]:
    if callable(where):
        return where
    regex = _text.pattern(where)
    return lambda path, _: regex.search(path) is not None


def _replaced(paths: Iterable[str], to: Mapping[str, str]) -> dict[str, str]:
    """Returns the new path of each path, after all replacements."""
    new = {path: path for path in paths}
    for pattern, replacement in to.items():
        regex = _text.pattern(pattern)
        # An expression without effect is a misspelt one: names that stayed as they were would be missed much later.
        if not any(map(regex.search, new.values())):
            raise MissingVariableError(
                f"`{regex.pattern}` is not found in any path. {_suggestion(regex.pattern, new.values())}"
            )
        new = {path: regex.sub(replacement, name) for path, name in new.items()}
    return new


def _split_at(tree: Tree, at: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what is below the path `at`, with paths that start there, and the rest of the tree."""
    flat = flatten(tree)
    if at in flat:
        raise InvalidArgumentError(f"`{at}` is not a subtree, but a leaf: {_diff.describe_leaf(flat[at])}.")
    rest, below = partition(flat, lambda path, _: _path.relative(path, at) is None)
    if not below:
        raise MissingVariableError(f"There is nothing below {_subtree(at)}. {_suggestion(at, flat)}")
    return _path.walk(below, _path.parts(at)), rest


def _flat_layers(tree: Mapping[str, Any], at: str) -> list[dict[str, Any]]:
    """Returns the layers `"0"` to `"n-1"` in flat form."""
    wanted = [str(i) for i in range(len(tree))]
    if missing := [name for name in wanted if name not in tree]:
        found = f"found {_quoted(tree)}, but not {_quoted(missing)}"
        raise StructureMismatchError(f"The layers of {_subtree(at)} must be named `0` to `n-1`; {found}.")
    return [_flat_layer(tree[name], _path.join(at, name)) for name in wanted]


def _flat_layer(layer: Any, at: str, abstract: Any = jax.ShapeDtypeStruct) -> dict[str, Any]:
    """Returns what is below `at` in flat form, after checking that it can be stacked or unstacked."""
    if not isinstance(layer, Mapping):
        raise InvalidArgumentError(f"Layer {_subtree(at)} must be a mapping, not {_diff.describe_leaf(layer)}.")
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


def _sized(tree: Tree) -> Iterator[Any]:
    """Yields the leaves, after checking that each has a shape and a dtype."""
    for path, leaf in flatten(tree).items():
        if not _diff.has_type(leaf):
            raise InvalidArgumentError(
                f"`{path}` has no size: it is {_diff.describe_leaf(leaf)}. `filter` it out first."
            )
        yield leaf


def _quoted(paths: Iterable[str]) -> str:
    """Returns paths for a message, at most eight of them."""
    quoted = [f"`{path}`" for path in paths]
    return ", ".join(quoted[:8]) + (f" and {len(quoted) - 8} more" if len(quoted) > 8 else "")


def _suggestion(asked: str, paths: Collection[str]) -> str:
    """Returns a sentence with what a path or pattern may have meant: a path, a prefix, or a single name."""
    known = dict.fromkeys(each for path in paths for each in (path, *_path.prefixes(path), *_path.parts(path)))
    near = _text.nearest(asked.strip("^$"), known)
    return f"Did you mean {_quoted(near)}?" if near else f"There is {_quoted(paths) or 'nothing'}."


def _subtree(path: str) -> str:
    return f"`{path}`" if path else "the root"
