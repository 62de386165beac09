"""`jscope plan`: proposes the table that `jscope convert --rules` takes, from names and shapes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from jscope._specs import Specs
from jscope.checkpoint import plan
from jscope.cli import _output
from jscope.cli._contents import opened, table

_COLORS = {"certain": "green", "likely": "yellow", "undecided": "red", "unused": "dim", "note": "dim"}


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("plan", help="propose a table from the names of a checkpoint to those of a model")
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("specs", metavar="SPECS", help="what `Specs.to_json` of the model has written")
    parser.add_argument(
        "--table",
        action="append",
        default=[],
        metavar="TOML",
        help="a table that SRC may be of; several times for more",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the proposal as TOML; on a terminal, as a table."""
    with open(arguments.specs, encoding="utf8") as file:
        specs = Specs.from_json(file.read())
    with opened(arguments.source) as reader:
        proposal = plan(specs, reader, tables={path: table(path) for path in arguments.table})
    # Eyes want a table; a file wants what `convert --rules` can read.
    if sys.stdout.isatty():
        _output.table(("grade", "ours", "theirs", "axes", "reason"), proposal.table(), colors=_COLORS)
    else:
        _output.line(proposal.to_toml().rstrip())
    rows = proposal.rows
    counts = ", ".join(
        f"{sum(row.grade == grade for row in rows)} {grade}" for grade in ("certain", "likely", "undecided")
    )
    _output.note(f"{_output.count(len(rows), 'row')}: {counts}; {len(proposal.unused)} of theirs unused")
    # As for a difference: a script must see that something is left to be done by hand.
    return 0 if proposal.is_decided else 1
