"""`jscope diff`: how two checkpoints differ, in names, shapes, dtypes and values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from jscope import tree
from jscope.checkpoint._reader import Reader
from jscope.cli import _output
from jscope.cli._contents import PIECE, Item, add_options, items, opened
from jscope.tree import _diff


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("diff", help="compare names, shapes, dtypes and values")
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    parser.add_argument("--tolerance", type=float, default=0.0, help="absolute difference that counts as none")
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints one line for each difference; returns 1 if there is one."""
    with opened(arguments.a) as a, opened(arguments.b) as b:
        found = items(a, arguments), items(b, arguments)
        total = sum(item.nbytes for item in found[0].values())
        with _output.progress("comparing", total) as advance:
            report = _diff.compare(*found, _comparison(a, b, advance), tolerance=arguments.tolerance)
    if report:
        _output.table(("what", "name", "difference"), _rows(report, *found))
    else:
        _output.line(f"no difference in {_output.count(len(found[0]), 'variable')}")
    return int(bool(report))


def _comparison(a: Reader, b: Reader, advance: Callable[[int], None]) -> Callable[[Item, Item], Any]:
    def change(x: Item, y: Item) -> tuple[str, str] | float:
        """Compares what is known of two arrays first, and reads their values only where that agrees."""
        advance(x.nbytes)
        # Whatever differs here is a difference, so neither array needs to be read.
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            return str(x), str(y)
        return _distance(a.get_tensor(x.key), b.get_tensor(y.key))

    return change


def _distance(x: np.ndarray, y: np.ndarray) -> tuple[str, str] | float:
    """Returns how two arrays differ, looking at some elements at a time."""
    flat, most = (x.reshape(-1), y.reshape(-1)), 0.0
    for start in range(0, x.size, PIECE):
        pieces = [array[start : start + PIECE] for array in flat]
        if _same_bytes(*pieces):
            continue
        # `tree.diff` defines what is equal (a NaN to a NaN), so there is one definition.
        report = tree.diff({"x": pieces[0]}, {"x": pieces[1]})
        if report.changed:
            return report.changed[0][1:]
        most = max([most, *(gap for _, gap in report.values)])
    return most


def _same_bytes(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether two arrays are equal bit by bit: quicker than to compute differences."""
    return not x.dtype.hasobject and np.array_equal(x.view(np.uint8), y.view(np.uint8))


def _rows(report: _diff.Diff, a: dict[str, Item], b: dict[str, Item]) -> list[tuple[str, str, str]]:
    return [
        *(("only in A", name, str(a[name])) for name in report.only_in_a),
        *(("only in B", name, str(b[name])) for name in report.only_in_b),
        *(("changed", name, f"{old} -> {new}") for name, old, new in report.changed),
        *(("values", name, f"up to {gap:g}") for name, gap in report.values),
    ]
