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
@functools.lru_cache(maxsize=65536)
def root_key(name: str) -> str:
    """Returns the key by which `name` is taken. Raises unless it may stand at the root: of scopes, of all variables.

    In TensorFlow a variable's name with a slash at the end is used as it is, and takes nothing: its key is empty.
    """
    if not ROOT_NAME.match(name):
        raise ArgumentError(
            f"'{name}' is not a valid root scope name. A root scope name has to match the following pattern: "
            f"{ROOT_NAME.pattern}"
        )
    # Compared without case, as in TensorFlow.
    return "" if name.endswith(_path.SEPARATOR) else name.lower()


def unique_name(ambient: Ambient, name: str) -> str:
    """Returns `name` below the current name scope, numbered where it was there before, and takes it."""
    memory = ambient.memory
    full = _path.child(memory.name_stack, name)
    return _take_unique(memory.names_in_use, full, full.lower())


def open_name(ambient: Ambient, name: str) -> str:
    """Checks the name of a scope that is entered, and does what `unique_name` does."""
    memory = ambient.memory
    full = _path.child(memory.name_stack, name)
    # What is open was checked before, so the whole may stand at the root if, and only if, the name may stand there. Not
    # below a name that was gone back to (`_a/`), which is why an error is not the last word.
    try:
        key = root_key(full)
    except ArgumentError:
        check_scope_name(name, nested=bool(memory.name_stack))
        key = full.lower()
    return _take_unique(memory.names_in_use, full, key)


def _take_unique(names: dict[str, int], full: str, key: str) -> str:
    # Returned as given, as in TensorFlow: `A` after `a` is `A_1`.
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
    """Checks and takes the name of a new variable, so that a name scope of that name gets another one."""
    names, key = ambient.memory.names_in_use, root_key(path)
    # Nearly every variable is the first of its name; told apart here, it saves 1 % of an eager call.
    if key in names:
        _take_unique(names, path, key)
    elif key:
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
    if ambient.watch.untraced:
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
        root_key(name)
    elif not NESTED_NAME.match(name):
        raise ArgumentError(
            f"'{name}' is not a valid scope name. A scope name has to match the following pattern: "
            f"{NESTED_NAME.pattern}"
        )
