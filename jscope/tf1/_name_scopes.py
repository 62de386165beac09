"""Name scopes: how TensorFlow numbers them, and how JAX gets to know them.

They name operations, not variables. Unlike variable scopes, they never repeat: the second `a` of a call is `a_1`. The
table of names belongs to the call; `jax.named_scope` carries the name into profiles and HLO.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Sequence
from typing import Any

import jax

from jscope import _path
from jscope.tf1._ambient import Ambient, current
from jscope.tf1._errors import ArgumentError, ArgumentTypeError

ROOT_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*$")
NESTED_NAME = re.compile(r"^[A-Za-z0-9_.\\/>-]*$")

# Every variable of every call is checked, and calls repeat their names.
_may_stand_at_root = functools.lru_cache(maxsize=65536)(ROOT_NAME.match)


def check_root_name(name: str) -> None:
    """Raises unless `name` may stand at the root: of scopes, and of all variables."""
    if not _may_stand_at_root(name):
        raise ArgumentError(
            f"'{name}' is not a valid root scope name. A root scope name has to match the following pattern: "
            f"{ROOT_NAME.pattern}"
        )


def unique_name(ambient: Ambient, name: str) -> str:
    """Returns `name` below the current name scope, numbered where it was there before, and takes it."""
    memory = ambient.memory
    return _take_unique(memory.names_in_use, _path.child(memory.name_stack, name))


def _take_unique(names: dict[str, int], full: str) -> str:
    # Compared without case but returned as given, as in TensorFlow: `A` after `a` is `A_1`.
    key = full.lower()
    count = names.get(key, 0)
    names[key] = count + 1
    if not count:
        return full
    # The numbered name may be taken as well, by a scope that was named `a_1` itself.
    numbered = key
    while numbered in names:
        numbered = f"{key}_{count}"
        count += 1
    names[numbered] = 1
    return f"{full}_{count - 1}"


def take_variable_name(ambient: Ambient, path: str) -> None:
    """Takes the name of a new variable, so that a name scope of that name gets another one."""
    # In TensorFlow a name with a slash at the end is used as it is, and takes nothing.
    if path.endswith(_path.SEPARATOR):
        return
    names, key = ambient.memory.names_in_use, path.lower()
    # Nearly every variable is the first of its name; told apart here, it saves 1 % of an eager call.
    if key in names:
        _take_unique(names, path)
    else:
        names[key] = 1


Entry = tuple[Ambient, str, contextlib.AbstractContextManager[Any] | None]
"""What is needed to leave a name scope: the call, the name scope around it, and JAX's if it was entered."""


class NameScope:
    """A name scope to enter. Each entry, also of the same object, is a scope of its own."""

    __slots__ = ("_entries", "_name")

    def __init__(self, name: str | None, *entries: Entry) -> None:
        self._name = name
        self._entries = list(entries)

    def __enter__(self) -> str:
        ambient = current("name_scope")
        ambient.watch.keep_out_of_caches()
        return self.enter(ambient)

    def enter(self, ambient: Ambient) -> str:
        """Enters the scope; returns its full name with a slash at the end."""
        name, memory, before = self._name, ambient.memory, ambient.memory.name_stack
        if name:
            check_scope_name(name, nested=bool(before))
        if not name:
            memory.name_stack, entered = "", ""
        elif name.endswith(_path.SEPARATOR):
            memory.name_stack, entered = name[:-1], name
        else:
            memory.name_stack = unique_name(ambient, name)
            entered = _path.child(memory.name_stack, "")
        self._entries.append((ambient, before, profiled_below(ambient, before)))
        return entered

    def __exit__(self, *error: object) -> None:
        # Left already, in the wrong order: `variable_scope` has said so.
        if not self._entries:
            return
        leave(self._entries.pop())


def leave(entry: Entry) -> None:
    """Goes back to the name scope around one that was entered."""
    ambient, before, profiled = entry
    if profiled is not None:
        profiled.__exit__(None, None, None)
    ambient.memory.name_stack = before


def profiled_below(ambient: Ambient, before: str) -> contextlib.AbstractContextManager[Any] | None:
    """Enters JAX's name scope for the one that is open now, inside of another; returns it, to be left, if there is."""
    # Where nothing is traced, nothing keeps its name.
    if ambient.watch.eager and ambient.watch.outside:
        return None
    # JAX nests its name scopes itself, so it is given only what is new. It cannot be taken back to an outer one: of a
    # scope elsewhere it gets the last part.
    now = ambient.memory.name_stack
    inner = _path.relative(now, before)
    inner = _path.basename(now) if inner is None else inner
    if not inner:
        return None
    profiled = jax.named_scope(inner)
    profiled.__enter__()
    return profiled


def name_scope(name: str | None, default_name: str | None = None, values: Sequence[Any] | None = None) -> NameScope:
    """Returns a name scope to enter: for profiles and `original_name_scope`. It never changes the name of a variable.

    >>> def model():
    ...     with tf1.name_scope("a") as first, tf1.name_scope("b") as inner:
    ...         pass
    ...     with tf1.name_scope("a") as second:
    ...         return first, inner, second
    >>> from jscope import tf1
    >>> tf1.transform(model).apply({})
    ('a/', 'a/b/', 'a_1/')

    Args:
      name: The name; None takes `default_name`; `""` (and None without a default) goes back to the root; one that ends
        in `/` goes to just that scope.
      default_name: The name to take where `name` is None.
      values: Accepted for compatibility.
    """
    # An empty name is a name here: it goes back to the root.
    chosen = default_name if name is None else name
    if chosen is None and values is not None:
        raise ArgumentError(f"At least one of name ({name}) and default_name ({default_name}) must be provided.")
    if chosen is not None and not isinstance(chosen, str):
        raise ArgumentTypeError(f"`name` of name_scope must be a string, not {chosen!r}.")
    return NameScope(chosen)


def get_name_scope() -> str:
    """`tf.contrib.framework.get_name_scope`: the full name of the open name scope, empty outside of all."""
    return current("get_name_scope").memory.name_stack


def check_scope_name(name: str, *, nested: bool) -> None:
    """Raises unless `name` may be that of a name scope, at the root or `nested` in another."""
    # Only the whole name of an operation must begin with a letter, digit or dot, so below a scope any part may do.
    if not nested:
        check_root_name(name)
    elif not NESTED_NAME.match(name):
        raise ArgumentError(
            f"'{name}' is not a valid scope name. A scope name has to match the following pattern: "
            f"{NESTED_NAME.pattern}"
        )
