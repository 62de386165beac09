"""The command line, `python -m jscope`: looking at checkpoints, comparing, converting and renaming them."""

from jscope.cli._main import main as main
