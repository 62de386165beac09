"""Arguments in, exit status out.

As with diff(1), 0 is success or no difference, 1 is a difference, and 2 is an error, told in one paragraph on stderr.
What is asked for goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from jscope.cli import _diff, _ls, _output, _plan, _rewrite, _specs, _summary, _view
from jscope.errors import JscopeError

_EPILOG = """\
A checkpoint is a safetensors file, a directory of a `jscope.checkpoint.Checkpointer` or one step of it, an Orbax
directory, or a TensorFlow checkpoint: its prefix, its `.index` file, or the directory with the file `checkpoint`.

exit status: 0 success, or no difference; 1 a difference; 2 an error.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command, and returns the exit status.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> jscope.checkpoint.safetensors.save(path, {"enc": {"w": np.zeros((2, 3), "float32")}})
    >>> main(["ls", path])
    name    shape   dtype
    enc/w   2, 3    float32
    1 variable, 6 elements, 24 bytes
    0
    """
    arguments = _parser().parse_args(argv)
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of the output has left, as in `| head`. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (JscopeError, ImportError, OSError) as error:
        _output.error(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception:
        # An error of a user's module or model, told as Python tells it: the line of code is what is looked for. Not
        # left to Python, whose exit status would be that of a difference.
        traceback.print_exc()
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jscope",
        description="Look at models and checkpoints; compare, convert and rename what is in them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"jscope {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (_ls, _diff, _view, _plan, _rewrite, _summary, _specs):
        module.add_to(commands)
    return parser


def _version() -> str:
    try:
        return version("jscope")
    except PackageNotFoundError:
        return "(not installed)"
