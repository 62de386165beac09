"""`jscope ls`: what is in a checkpoint."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from jscope.checkpoint._reader import Reader
from jscope.cli import _output
from jscope.cli._contents import Item, add_options, items, opened
from jscope.cli._values import is_number, values_of

_STATS = {"mean": "mean", "std": "std", "min": "least", "max": "greatest", "not finite": "not_finite"}

Stats: TypeAlias = dict[str, float | None]


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("ls", help="list names, shapes and dtypes")
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("--stats", action="store_true", help="read the values: mean, deviation, least, greatest, NaNs")
    parser.add_argument("--metadata", action="store_true", help="print what is stored beside the arrays, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints one line for each array, and one for all of them."""
    with opened(arguments.checkpoint) as reader:
        found = items(reader, arguments)
        # Without it no array is read, so that a checkpoint of any size is listed at once.
        stats = _all_stats(reader, found) if arguments.stats else [{}] * len(found)
        if arguments.json:
            _output.line(_as_json(found, stats, reader.metadata))
            return 0
        header = ("name", "shape", "dtype", *(_STATS if arguments.stats else ()))
        shown = [(item.name, ", ".join(map(str, item.shape)) or "()", item.dtype_name) for item in found.values()]
        _output.table(header, [(*row, *map(_shown, its.values())) for row, its in zip(shown, stats, strict=True)])
        _output.line(_summary(found))
        if arguments.metadata:
            for key, value in reader.metadata.items():
                _output.line(f"{key}: {value}")
    return 0


def _as_json(found: dict[str, Item], stats: Sequence[Stats], metadata: Mapping[str, str]) -> str:
    """Returns what is in a checkpoint as JSON; statistics that there are not, of text or of no elements, are null."""
    variables = {
        item.name: {"shape": list(item.shape), "dtype": item.dtype_name, "bytes": item.nbytes} | its
        for item, its in zip(found.values(), stats, strict=True)
    }
    # ASCII only, so that no name steers a terminal, and every encoding can print it.
    return json.dumps({"variables": variables, "metadata": dict(metadata)}, indent=2)


def _summary(found: dict[str, Item]) -> str:
    size, nbytes = (sum(getattr(item, name) for item in found.values()) for name in ("size", "nbytes"))
    return f"{_output.count(len(found), 'variable')}, {_output.count(size, 'element')}, {_output.count(nbytes, 'byte')}"


def _all_stats(reader: Reader, found: dict[str, Item]) -> list[Stats]:
    with _output.progress("reading", sum(item.nbytes for item in found.values())) as advance:
        rows = []
        for item in found.values():
            rows.append(_stats(reader.get_tensor(item.key)) if is_number(item.dtype) else dict.fromkeys(_STATS))
            advance(item.nbytes)
    return rows


def _stats(array: np.ndarray) -> Stats:
    """Returns mean, standard deviation, least, greatest and how many are not finite; of absolutes, if complex."""
    found = values_of(array)
    return {name: getattr(found, field) for name, field in _STATS.items()}


def _shown(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"
