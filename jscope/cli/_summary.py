"""`jscope summary`: what a model has and does, scope by scope."""

from __future__ import annotations

import argparse
import json
from typing import Any

from jscope._summary import summary
from jscope.cli import _model, _output


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("summary", help="show sizes, output shapes and FLOPs of a model, by scope")
    _model.add_options(parser)
    parser.add_argument("--depth", type=int, help="how many parts of a path to show")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    parser.add_argument("--dot", action="store_true", help="print a picture of the scopes, as Graphviz text")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints one line for each scope."""
    model, args, kwargs = _model.loaded(arguments)
    made = summary(model, *args, depth=arguments.depth, **kwargs)
    if arguments.json:
        _output.line(json.dumps(made.to_dict(), indent=2))
    elif arguments.dot:
        _output.line(made.graph().dot.rstrip("\n"))
    else:
        _output.table(*made.table(), right=True)
        for note in made.notes:
            _output.note(note)
    return 0
