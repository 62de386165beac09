"""Which arrays, under which names: the `rename` and `select` of everything that loads.

Both speak of jscope's names: `rename` makes them of the names in a checkpoint, `select` chooses among them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from jscope._util import _text
from jscope.errors import InvalidArgumentError, MissingVariableError, NameConflictError
from jscope.tree._words import suggestion

Rename: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]] | Callable[[str], str] | None
"""From names in a checkpoint to jscope's: regular expressions with replacements, applied in order, or a function."""

Select: TypeAlias = str | re.Pattern[str] | Callable[[str], bool] | None
"""Which names: a regular expression found in them (`re.search`), or a predicate. None is all."""


def renamed(names: Iterable[str], rename: Rename) -> dict[str, str]:
    r"""Returns the old name of each new one.

    >>> renamed(["h.0.w", "h.1.w"], {r"\.": "/"})
    {'h/0/w': 'h.0.w', 'h/1/w': 'h.1.w'}

    Raises:
      NameConflictError: Two names become one.
      MissingVariableError: A regular expression does not match any name.
    """
    return by_new_name(new_names(names, rename))


def new_names(names: Iterable[str], rename: Rename) -> dict[str, str]:
    """Returns the new name of each. Names are flat here: one may be a prefix of another, as `w` is of `w/Adam`.

    >>> new_names(["old/w", "old/w/Adam"], {"^old/": ""})
    {'old/w': 'w', 'old/w/Adam': 'w/Adam'}
    """
    new = {name: name for name in names}
    # An empty checkpoint has no name that an expression could match, which would be an error.
    if rename is None or not new:
        return new
    if callable(rename):
        return {name: _checked_name(name, rename(name)) for name in new}
    for expression, replacement in dict(rename).items():
        regex = _text.pattern(expression, "rename=")
        # A rule that does nothing is a typo more often than not.
        if not any(map(regex.search, new.values())):
            raise _matches_nothing(regex, "rename=", new.values())
        try:
            new = {name: regex.sub(replacement, each) for name, each in new.items()}
        except (re.error, IndexError) as error:
            raise InvalidArgumentError(f"{replacement!r} cannot replace {regex.pattern!r}: {error}.") from error
    return new


def by_new_name(new: Mapping[str, str]) -> dict[str, str]:
    """Returns the old name of each new one, or raises an error where two become one."""
    origin: dict[str, str] = {}
    for old, name in new.items():
        if name in origin:
            raise NameConflictError(f"`{origin[name]}` and `{old}` would both become `{name}`. Keep them apart.")
        origin[name] = old
    return origin


def _checked_name(old: str, new: Any) -> str:
    if not isinstance(new, str):
        raise InvalidArgumentError(f"`rename=` must return a string, and for `{old}` it returned {new!r}.")
    return new


def chosen(names: Mapping[str, str], select: Select, *, some: bool = False) -> dict[str, str]:
    """Returns those names that `select` chooses. With `some`, a regular expression must find one of them.

    >>> chosen({"enc/w": "a", "dec/w": "b"}, "^enc/")
    {'enc/w': 'a'}

    Raises:
      MissingVariableError: The regular expression finds none.
    """
    if select is None:
        return dict(names)
    if callable(select):
        return {new: old for new, old in names.items() if select(new)}
    regex = _text.pattern(select, "select=")
    found = {new: old for new, old in names.items() if regex.search(new)}
    if some and names and not found:
        raise _matches_nothing(regex, "select=", names)
    return found


def _matches_nothing(regex: re.Pattern[str], role: str, names: Iterable[str]) -> MissingVariableError:
    known = list(names)
    return MissingVariableError(
        f"`{regex.pattern}` in `{role}` does not match any name. {suggestion(regex.pattern, known)}"
    )
