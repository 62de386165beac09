"""Tables and progress bars by rich, for people at a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

try:
    from rich import box
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.table import Table
    from rich.text import Text
except ImportError as e:
    raise ImportError("Tables and progress bars need `pip install jscope[cli]`.") from e


def renderable(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: bool = False,
    colors: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """Returns a table; long names are folded, never cut.

    `right`: whether all columns but the first are numbers; `colors`: those of rows, by their first cell; `notes`: lines
    below it.
    """
    below = Text("\n".join(notes)) if notes else None
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, caption=below, caption_justify="left")
    for i, title in enumerate(header):
        made.add_column(title, overflow="fold", justify="right" if right and i else "left")
    for row in rows:
        # As they are: a name may have brackets, which rich would take for markup.
        made.add_row(*map(Text, row), style=(colors or {}).get(row[0]))
    return made


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: bool = False,
    colors: Mapping[str, str] | None = None,
) -> None:
    """Prints a table to the terminal."""
    Console().print(renderable(header, rows, right=right, colors=colors))


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar on stderr, and gives the function that moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    # It leaves nothing behind: what was done is told in a line of its own. And not on stdout, which may be a pipe.
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda size: bar.advance(task, size)
