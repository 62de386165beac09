"""Plain text tables."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of text in aligned columns.

    >>> print(table(("name", "shape"), [("w", "2, 3"), ("bias", "3")]))
    name   shape
    w      2, 3
    bias   3
    """
    lines = [tuple(header), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("   ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
