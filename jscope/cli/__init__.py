"""The command line, `python -m jscope`: looking at models and checkpoints, comparing, converting and renaming."""

from jscope.cli._main import main as main
