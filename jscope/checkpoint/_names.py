"""Which arrays, under which names: the `rename` and `select` of everything that loads.

Both speak of jscope's names: `rename` makes them of the names in a checkpoint, `select` chooses among them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from jscope import tree
from jscope._util import _text

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
    same = {name: name for name in names}
    # An empty checkpoint has no name that an expression could match, which would be an error.
    if rename is None or not same:
        return same
    return tree.flatten(tree.rename(same, rename if callable(rename) else dict(rename)))


def chosen(names: Mapping[str, str], select: Select) -> dict[str, str]:
    """Returns those names that `select` chooses.

    >>> chosen({"enc/w": "a", "dec/w": "b"}, "^enc/")
    {'enc/w': 'a'}
    """
    if select is None:
        return dict(names)
    chooses = select if callable(select) else _text.pattern(select, "select=").search
    return {new: old for new, old in names.items() if chooses(new)}
