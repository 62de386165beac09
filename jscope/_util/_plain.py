"""Tables as plain text, for terminals, files and pipes."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], *, right: bool = False, widest: int | None = None) -> list[str]:
    """Returns a line for each row, its columns aligned; `right`: whether all but the first align on the right.

    Where a cell is wider than `widest`, it reaches into the columns after it.

    >>> aligned([("name", "size"), ("w", "2")], right=True)
    ['name   size', 'w         2']
    """
    widths = [min(max(map(len, column)), widest or sys.maxsize) for column in zip(*rows, strict=True)]
    sides = [str.ljust, *[str.rjust if right else str.ljust] * (len(widths) - 1)]
    cells = ([side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)] for row in rows)
    return ["   ".join(row).rstrip() for row in cells]


def printable(text: str) -> str:
    r"""Returns a text without what would steer a terminal: names in a checkpoint may come from anywhere.

    >>> printable("a\x1b[31m"), printable("one\ntwo")
    ('a\\x1b[31m', 'one\\ntwo')
    """
    # A line break, too: with one in its name, a variable would print a row of its own making.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
