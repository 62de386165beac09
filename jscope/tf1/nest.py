"""`tf.nest`: trees of tensors. A tensor is a leaf, as in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jscope.tf1._arrays import ArrayLike


def _is_leaf(value: Any) -> bool:
    return isinstance(value, ArrayLike) or not isinstance(value, list | tuple | dict)


def flatten(structure: Any, expand_composites: bool = False) -> list[Any]:
    """Returns the leaves.

    >>> flatten({"b": [1, 2], "a": 3})
    [3, 1, 2]
    """
    return jax.tree.leaves(structure, is_leaf=_is_leaf)


def map_structure(func: Callable[..., Any], *structure: Any, **_: Any) -> Any:
    """Returns the structure with `func` of the leaves.

    >>> map_structure(lambda x, y: x + y, [1, (2,)], [3, (4,)])
    [4, (6,)]
    """
    return jax.tree.map(func, *structure, is_leaf=_is_leaf)


def pack_sequence_as(structure: Any, flat_sequence: Any, expand_composites: bool = False) -> Any:
    """Returns the structure with other leaves.

    >>> pack_sequence_as([1, (2,)], ["a", "b"])
    ['a', ('b',)]
    """
    return jax.tree.structure(structure, is_leaf=_is_leaf).unflatten(list(flat_sequence))


def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True, expand_composites: bool = False) -> None:
    """Raises `ValueError` unless both have leaves in the same places."""
    jax.tree.map(lambda *_: None, nest1, nest2, is_leaf=_is_leaf)


def is_nested(structure: Any) -> bool:
    """Whether it is a list, a tuple or a dict."""
    return not _is_leaf(structure)


is_sequence = is_nested
