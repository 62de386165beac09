"""Leaves by path: listing, choosing, joining, renaming and comparing them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from jscope import _path
from jscope._types import Converter, Tree
from jscope._util import _text
from jscope.errors import InvalidArgumentError, MissingVariableError, NameConflictError, StructureMismatchError
from jscope.tree import _diff
from jscope.tree._words import place, quoted, suggestion

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
        raise NameConflictError(f"Two trees have different leaves at {quoted(clashes)}. `filter` out all but one.")
    return unflatten(merged)


def map_with_path(fn: Callable[..., Any], tree: Tree, *rest: Tree) -> dict[str, Any]:
    """Replaces every leaf by `fn(path, leaf, *others)`, where the others are the leaves of `rest` at the same path.

    >>> map_with_path(lambda path, x, y: f"{path}={x + y}", {"enc": {"w": 1}}, {"enc": {"w": 2}})
    {'enc': {'w': 'enc/w=3'}}

    Raises:
      StructureMismatchError: Two trees differ in their paths; the message lists where.
    """
    if not callable(fn):
        raise InvalidArgumentError(
            f"map_with_path needs a function `(path, leaf) -> leaf` first, not {_diff.describe_leaf(fn)}."
        )
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
    if not (callable(to) or (isinstance(to, Mapping) and all(isinstance(new, str) for new in to.values()))):
        raise InvalidArgumentError(
            f"rename needs a function from path to path, or a dict of regex: replacement, not {to!r}."
        )
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
    if not hasattr(conversion, "arrays"):
        found = _diff.describe_leaf(conversion)
        raise InvalidArgumentError(f"convert needs a `jscope.checkpoint.Conversion`, not {found}.")
    return unflatten(conversion.arrays(flatten(tree)))


def diff(a: Tree, b: Tree, *, tolerance: float = 0.0) -> _diff.Diff:
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
            raise InvalidArgumentError(f"Key {name!r} in {place(at)} must be a string, not `{type(name).__name__}`.")
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
                f"`{regex.pattern}` is not found in any path. {suggestion(regex.pattern, new.values())}"
            )
        new = {path: regex.sub(replacement, name) for path, name in new.items()}
    return new
