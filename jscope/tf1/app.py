"""`tf.app`: `tf.app.flags`, and `tf.app.run`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from jscope.tf1 import flags as flags


def run(main: Callable[[list[str]], Any] | None = None, argv: list[str] | None = None) -> None:
    """Calls `main(argv)`."""
    function = main or vars(sys.modules["__main__"])["main"]
    sys.exit(function(argv or sys.argv[:1]))
