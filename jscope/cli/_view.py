"""`jscope view`: a checkpoint, or what changed between two, as one page to look at in a browser."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jscope.checkpoint._reader import Reader
from jscope.cli import _output
from jscope.cli._contents import Item, add_options, items, opened
from jscope.cli._page import page
from jscope.cli._values import distance, histogram, is_number, values_of
from jscope.errors import InvalidArgumentError

MOST = 100_000
"""Variables on one page: with more, browsers take their time."""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("view", help="make a page to look at in a browser, of one checkpoint or of two")
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("--against", metavar="OTHER", help="show what changed since this one")
    parser.add_argument("--html", metavar="FILE", required=True, help="where to write the page")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes the page."""
    target = Path(arguments.html)
    if target.exists() and not arguments.force:
        raise InvalidArgumentError(f"`{target}` exists. `--force` replaces it.")
    with opened(arguments.checkpoint) as reader:
        found = items(reader, arguments)
        _check_number(len(found))
        total = sum(item.nbytes for item in found.values())
        if arguments.against is None:
            with _output.progress("reading", total) as advance:
                rows = [_row(reader, item, advance) for item in found.values()]
        else:
            with opened(arguments.against) as other, _output.progress("comparing", total) as advance:
                rows = _compared(reader, found, other, items(other, arguments), advance)
        told = {"name": os.path.basename(os.path.normpath(arguments.checkpoint)), "metadata": dict(reader.metadata)}
    # Without its slashes at the end, of which the last would leave no name.
    against = arguments.against and os.path.basename(os.path.normpath(arguments.against))
    # Whole or not at all: a page that is half written would look like half a model.
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_text(page(told | {"against": against, "variables": rows}), encoding="utf8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    _output.note(f"wrote {_output.count(len(rows), 'variable')} to {target}")
    return 0


def _check_number(number: int) -> None:
    if number > MOST:
        raise InvalidArgumentError(
            f"There are {number:,} variables, and a page can show {MOST:,}. Choose some of them with `--select REGEX`."
        )


def _row(reader: Reader, item: Item, advance: Callable[[int], None]) -> dict[str, Any]:
    """Returns what the page says of one variable."""
    row: dict[str, Any] = {"name": item.name, "shape": item.shape, "dtype": item.dtype_name, "bytes": item.nbytes}
    advance(item.nbytes)
    if not is_number(item.dtype):
        return row
    array = reader.get_tensor(item.key)
    values = values_of(array)
    row |= _known(dataclasses.asdict(values))
    if values.least is not None and values.greatest is not None:
        row["histogram"] = histogram(array, values.least, values.greatest)
    return row


def _compared(
    reader: Reader,
    found: Mapping[str, Item],
    other: Reader,
    before: Mapping[str, Item],
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Returns the rows of both, each with what became of the variable."""
    _check_number(len({**found, **before}))
    rows = []
    for name, item in found.items():
        row = _row(reader, item, advance)
        rows.append(row | _change(reader, item, other, before.get(name), row))
    gone = [item for name, item in before.items() if name not in found]
    return rows + [_row(other, item, advance) | {"change": "removed"} for item in gone]


def _change(reader: Reader, item: Item, other: Reader, old: Item | None, row: Mapping[str, Any]) -> dict[str, Any]:
    if old is None:
        return {"change": "added"}
    if (item.shape, item.dtype) != (old.shape, old.dtype):
        return {"change": "retyped", "was": str(old)}
    new, before = reader.get_tensor(item.key), other.get_tensor(old.key)
    if not is_number(item.dtype):
        return {"change": "same" if np.array_equal(new, before) else "changed"}
    # By bytes first: what was frozen is most of a fine-tuned model, and needs no float64.
    if new.tobytes() == before.tobytes():
        return {"change": "same", "moved": 0.0, "most": 0.0}
    moved, most = distance(new, before)
    return {"change": "changed"} | _known({"moved": moved, "most": most, "before": values_of(before).norm})


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
