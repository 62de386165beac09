"""Only this file knows how names make a path.

A path is a string such as `encoder/layer_0/w`: names joined by `/`, the empty string for the root.
Whatever splits, joins, walks or compares paths does so here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jscope.errors import InvalidArgumentError, InvalidNameError

SEPARATOR = "/"


# Cached, since a model says the same names again in every trace.
@lru_cache(maxsize=65536)
def split(name: str) -> tuple[str, ...]:
    """Splits a name into its parts, after checking that it is one.

    >>> split("encoder/w")
    ('encoder', 'w')
    """
    parts = tuple(name.split(SEPARATOR)) if isinstance(name, str) else ("",)
    # What cannot be seen in a message would mislead; and `_rng` sets its own parts apart by a control character.
    if not all(parts) or not name.isprintable():
        raise InvalidNameError(
            f"{name!r} is not a name. A name is a non-empty string of printable characters; `{SEPARATOR}` may "
            "stand between two parts of it (`encoder/w`), but not at an end and not twice in a row."
        )
    return parts


def check(name: object) -> tuple[str, ...]:
    """Returns the parts of `name`, or raises `InvalidNameError` if it is not one."""
    if not isinstance(name, str):
        raise InvalidNameError(f"A name must be a non-empty string, not {name!r} of type `{type(name).__name__}`.")
    return split(name)


def check_all(names: Iterable[str]) -> None:
    """Raises `InvalidNameError` if one of many names, which are strings, is not a name.

    >>> check_all(["encoder/w", "b"])
    """
    names = [*names]
    # In one text, an empty part stands between two separators, wherever it is.
    text = f"{SEPARATOR}{SEPARATOR.join(names)}{SEPARATOR}"
    if names and (SEPARATOR * 2 in text or not text.isprintable()):
        for name in names:
            split(name)


def parts(path: str) -> tuple[str, ...]:
    """Splits a path, which may be the root's empty one. TensorFlow's paths may have empty parts.

    >>> parts(""), parts("foo//v")
    ((), ('foo', '', 'v'))
    """
    return tuple(path.split(SEPARATOR)) if path else ()


def join(*paths: str) -> str:
    """Joins paths, leaving out empty ones.

    >>> join("", "encoder", "w")
    'encoder/w'
    """
    return SEPARATOR.join(path for path in paths if path)


def parent(path: str) -> str:
    """Returns the path one level up.

    >>> parent("encoder/w"), parent("w")
    ('encoder', '')
    """
    return path.rpartition(SEPARATOR)[0]


def basename(path: str) -> str:
    """Returns the last name of a path.

    >>> basename("encoder/w")
    'w'
    """
    return path.rpartition(SEPARATOR)[2]


def relative(path: str, prefix: str) -> str | None:
    """Returns `path` as seen from `prefix`, or None where it is not below it.

    >>> relative("a/b/w", "a"), relative("ab/w", "a"), relative("a", "a")
    ('b/w', None, '')
    """
    if not prefix or path == prefix:
        return path[len(prefix) :]
    return path[len(prefix) + 1 :] if path.startswith(prefix + SEPARATOR) else None


def prefixes(path: str) -> Iterator[str]:
    """Yields every proper prefix of a path, shortest first, without the root.

    >>> list(prefixes("a/b/w"))
    ['a', 'a/b']
    """
    end = path.find(SEPARATOR)
    while end >= 0:
        yield path[:end]
        end = path.find(SEPARATOR, end + 1)


def walk(tree: Any, names: Iterable[str]) -> Any:
    """Returns what stands at `names` below `tree`, or None.

    >>> walk({"a": {"w": 1}}, ("a", "w"))
    1
    """
    for name in names:
        # Nearly every step meets a dict; to ask an abstract class takes several times as long as the step.
        if tree.__class__ is not dict and not isinstance(tree, Mapping):
            return None
        tree = tree.get(name)
    return tree


def insert(tree: dict[str, Any], names: tuple[str, ...], value: Any) -> None:
    """Puts `value` at `names` below `tree`, making dicts on the way."""
    for name in names[:-1]:
        tree = tree.setdefault(name, {})
    tree[names[-1]] = value


def items(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields `(path, leaf)` for everything in a nested mapping that is not itself a mapping.

    >>> list(items({"a": {"w": 1}, "b": 2}))
    [('a/w', 1), ('b', 2)]
    """
    for name, value in tree.items():
        # Not `join`, which leaves out the empty parts that TensorFlow's paths may have.
        path = f"{prefix}{SEPARATOR}{name}" if prefix else name
        if isinstance(value, Mapping):
            yield from items(value, path)
        else:
            yield path, value


def below(flat: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Builds the nested dict of what stands below a path.

    >>> below({"a/b/w": 1, "c": 2}, "a")
    {'b': {'w': 1}}
    """
    names = ((relative(path, prefix), value) for path, value in flat.items())
    return nested((name, value) for name, value in names if name)


def nested(leaves: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Builds the nested dict that `items` takes apart.

    >>> nested([("a/w", 1), ("b", 2)])
    {'a': {'w': 1}, 'b': 2}
    """
    tree: dict[str, Any] = {}
    for path, value in leaves:
        # Not `split`, which refuses empty parts.
        insert(tree, tuple(path.split(SEPARATOR)), value)
    return tree


def unsplit(tree: Mapping[str, Any]) -> str | None:
    """Returns a key of a nested mapping that has several parts, as in the flat form, or None.

    >>> unsplit({"a": {"b/w": 1}}), unsplit({"a": {"b": {"w": 1}}})
    ('b/w', None)
    """
    for name, value in tree.items():
        found = name if SEPARATOR in name else unsplit(value) if isinstance(value, Mapping) else None
        if found:
            return found
    return None


def copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Copies a nested mapping into dicts, without what they hold, after checking that all names are strings."""
    copied: dict[str, Any] = {}
    for name, value in tree.items():
        if name.__class__ is not str and not isinstance(name, str):
            raise InvalidArgumentError(f"Names of variables are strings, not {name!r} of type `{type(name).__name__}`.")
        copied[name] = copy(value) if value.__class__ is dict or _is_mapping(value.__class__) else value
    return copied


# By class, of which there are few, since `apply` asks this of every array that it is given.
@lru_cache(maxsize=256)
def _is_mapping(kind: type) -> bool:
    return issubclass(kind, Mapping)


def child(path: str, name: str) -> str:
    """Returns the path of `name` directly below `path`.

    >>> child("a", "w"), child("", "w")
    ('a/w', 'w')
    """
    return f"{path}{SEPARATOR}{name}" if path else name
