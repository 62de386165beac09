"""`jscope specs`: what the variables of a model are, as a contract that is kept in a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jscope._contract import compare_specs
from jscope._specs import Specs
from jscope._transform import Transformed, TransformedWithState
from jscope._transform import specs as specs_of
from jscope.cli import _model, _output


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("specs", help="list the variables of a model; write them to a file, or check them")
    _model.add_options(parser)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--out", metavar="FILE", help="write them as JSON")
    group.add_argument("--check", metavar="FILE", help="tell what differs from such a file; exit status 1 if anything")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints, writes or checks the specs."""
    model, args, kwargs = _model.loaded(arguments)
    # Many modules have only the function: it is transformed where it is trained.
    is_model = isinstance(model, Transformed | TransformedWithState)
    found = model.specs(*args, **kwargs) if is_model else specs_of(model, *args, **kwargs)
    if arguments.check is not None:
        return _check(arguments.check, found)
    if arguments.out is not None:
        Path(arguments.out).write_text(found.to_json() + "\n", encoding="utf8")
        _output.note(f"wrote {_output.count(len(found), 'variable')} to {arguments.out}")
    else:
        _output.line(str(found))
    return 0


def _check(path: str, found: Specs) -> int:
    # Not the two texts: a file that an older jscope wrote may say the same in other words.
    changes = compare_specs(Specs.from_json(Path(path).read_text(encoding="utf8")), found)
    _output.line(str(changes) if changes else f"no difference in {_output.count(len(found), 'variable')}")
    if changes:
        _output.note(f"{path} is another; where this is meant, write it anew by `--out {path}`")
    return int(bool(changes))
