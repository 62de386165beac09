"""What is printed: tables, progress, errors.

On a terminal rich prints tables, if it is installed. Into a pipe or a file go plain aligned columns, which no width of
a terminal cuts off, for grep and awk.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from jscope._util import _plain

_BIG = 1 << 28
"""From so many bytes on, waiting is worth a progress bar."""

_WIDEST = 80
"""Longer names reach into the columns after theirs, and do not widen the others."""


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: bool = False,
    colors: Mapping[str, str] | None = None,
) -> None:
    """Prints a table to stdout.

    `right`: whether all columns but the first are numbers; `colors`: those of rows on a terminal, by their first cell.

    >>> table(("name", "shape"), [("w", "2, 3")])
    name   shape
    w      2, 3
    """
    cells = [[_plain.printable(cell) for cell in row] for row in (header, *rows)]
    rich = _rich() if sys.stdout.isatty() else None
    if rich is None:
        for row in _plain.aligned(cells, right=right, widest=_WIDEST):
            line(row)
    else:
        rich.print_table(cells[0], cells[1:], right=right, colors=colors)


def line(text: str) -> None:
    """Prints a line to stdout."""
    _write(sys.stdout, text)


def note(text: str) -> None:
    """Prints a line to stderr."""
    _write(sys.stderr, f"jscope: {text}")


def error(problem: BaseException) -> None:
    """Prints an error as one paragraph to stderr."""
    note(str(problem) or type(problem).__name__)


def _write(stream: TextIO, text: str) -> None:
    # Messages have lines of their own; what is in a table has been made one line before.
    shown = "\n".join(map(_plain.printable, text.split("\n")))
    # A terminal without Unicode shows escapes, where Python would raise in the middle of a table.
    encoding = stream.encoding or "utf8"
    stream.write(shown.encode(encoding, "backslashreplace").decode(encoding) + "\n")


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with the number of bytes done; shows a bar on a terminal where there are many."""
    rich = _rich() if total >= _BIG and sys.stderr.isatty() else None
    if rich is None:
        yield lambda size: None
    else:
        with rich.progress(what, total) as advance:
            yield advance


def count(number: int, noun: str) -> str:
    """Returns a number and its noun.

    >>> count(1, "variable"), count(1200, "variable")
    ('1 variable', '1,200 variables')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _rich() -> Any:
    with contextlib.suppress(ImportError):
        # Only here: what goes into a pipe does not need it.
        return importlib.import_module("jscope._rich")
    return None
