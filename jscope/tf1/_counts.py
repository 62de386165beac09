"""How often each variable scope was opened: default names are numbered by it.

Leaving a scope forgets all counts below it, and leaving a jump (a scope entered again by its object) takes everything
back to where it was. TensorFlow walks over all counts for the one and copies them all for the other, which is slow in
a large model. Here nothing is walked over or copied: a count is valid if it is younger than the last leaving of each
scope around it, and while a jump is open, every change can be undone, newest first.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from jscope import _path


class Counts(Mapping[str, int]):
    """Counts by full name; a name that was never counted has 0.

    >>> counts = Counts()
    >>> for name in ("a", "a/b", "a/b", "ab"):
    ...     counts.add(name)
    >>> counts["a"], counts["a/b"], counts["ab"], counts.suffix("a/b")
    (1, 2, 1, '_1')
    >>> counts.forget_below("a")
    >>> counts["a"], counts["a/b"], counts["ab"], counts.suffix("a/b")
    (1, 0, 1, '')
    """

    __slots__ = ("_changes", "_marks", "_tables", "_time")

    def __init__(self) -> None:
        # By name: how often it was opened, and the number that was free last, each with a time; when it was left. In
        # one tuple, so that one list can say of every change to which of them it was made.
        self._tables: tuple[dict[str, Any], ...] = ({}, {}, {})
        self._time = 0
        # The times of the open jumps, and what was changed since the first: when, in which table, and what was there.
        self._marks: list[int] = []
        self._changes: list[tuple[int, int, str, Any]] = []

    def __getitem__(self, name: str) -> int:
        return self._valid(_OPENED, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables[_OPENED])

    def __len__(self) -> int:
        return len(self._tables[_OPENED])

    def add(self, name: str) -> None:
        """Counts one more opening."""
        self._change(_OPENED, name, (self._valid(_OPENED, name) + 1, self._time))

    def suffix(self, name: str) -> str:
        """Returns the first of the empty string, `_1`, `_2`, ... that gives `name` another name with the count 0."""
        if not self[name]:
            return ""
        # The search starts where the last one ended, or a thousand layers of one name would take half a million steps.
        # The counts of all these names are forgotten together; until then, what was taken stays so.
        number = max(1, self._valid(_NUMBERED, name))
        while self[f"{name}_{number}"]:
            number += 1
        self._change(_NUMBERED, name, (number, self._time))
        return f"_{number}"

    def forget_below(self, name: str) -> None:
        """Sets the counts of all names below `name` to 0."""
        # Not that of `name` itself: it stays taken for default names beside it.
        self._change(_LEFT, name, self._time)

    def mark(self) -> int:
        """Returns the time, to which `go_back` can go back."""
        # No two have the same, or going back to one would be going back to both.
        self._time += 1
        self._marks.append(self._time)
        return self._time

    def go_back(self, time: int) -> None:
        """Undoes all changes since a time that `mark` returned."""
        while self._changes and self._changes[-1][0] >= time:
            _, table, name, before = self._changes.pop()
            if before is None:
                del self._tables[table][name]
            else:
                self._tables[table][name] = before
        # Also those of jumps inside that were never left.
        while self._marks and self._marks[-1] >= time:
            self._marks.pop()

    def copied(self) -> Counts:
        """Returns a copy that later changes leave alone."""
        other = Counts()
        other._tables, other._time = tuple(map(copy.copy, self._tables)), self._time
        other._marks, other._changes = self._marks.copy(), self._changes.copy()
        return other

    def _valid(self, table: int, name: str) -> int:
        # Also scopes that nobody opened are around a name: `a/b`, opened by this one name, is forgotten with `a`.
        count, time = self._tables[table].get(name, _NEVER)
        left = self._tables[_LEFT]
        return 0 if count and any(left.get(around, -1) > time for around in _path.prefixes(name)) else count

    def _change(self, table: int, name: str, value: Any) -> None:
        if self._marks:
            self._changes.append((self._time, table, name, self._tables[table].get(name)))
        self._tables[table][name] = value
        self._time += 1


_OPENED, _NUMBERED, _LEFT = range(3)
_NEVER = 0, 0
