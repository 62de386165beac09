"""Tables and progress bars by rich, for people at a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

try:
    from rich import box
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.table import Table
    from rich.text import Text
except ImportError as e:
    raise ImportError("Tables and progress bars need `pip install jscope[cli]`.") from e


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table to the terminal; long names are folded, never cut."""
    printed = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in header:
        printed.add_column(title, overflow="fold")
    for row in rows:
        # As they are: a name may have brackets, which rich would take for markup.
        printed.add_row(*map(Text, row))
    Console().print(printed)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar on stderr, and gives the function that moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda size: bar.advance(task, size)
