"""Names that are found on first use, so that who needs only scopes imports only scopes.

`tf1.matmul` and `tf1.nn.relu` are not in the modules: their `__getattr__` asks the table of operations. What is not in
the table either raises an error that says what to use.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

PACKAGE = __name__.rpartition(".")[0]
NAMESPACES = (
    "app",
    "compat",
    "errors",
    "flags",
    "gfile",
    "image",
    "layers",
    "linalg",
    "logging",
    "math",
    "nest",
    "nn",
    "python",
    "random",
    "summary",
)
"""The modules of `jscope.tf1` that are imported on first use."""


def finder(prefix: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the `__getattr__` and `__dir__` of a namespace: `"nn"` for `tf1.nn`, `""` for `tf1` itself."""
    module = f"{PACKAGE}.{prefix}".rstrip(".")

    def find(name: str) -> Any:
        """Returns what TensorFlow has under this name; afterwards it is an attribute like any other."""
        if not prefix and name in NAMESPACES:
            return importlib.import_module(f"{PACKAGE}.{name}")
        if name.startswith("_") and name != "__version__":
            raise AttributeError(f"module `{module}` has no attribute `{name}`")
        found = importlib.import_module(f"{PACKAGE}._ops._find").find(prefix, name)
        setattr(sys.modules[module], name, found)
        return found

    def names() -> list[str]:
        """Lists what is there, found or not yet."""
        known = importlib.import_module(f"{PACKAGE}._ops._find").names(prefix)
        return sorted({*vars(sys.modules[module]), *known, *(() if prefix else NAMESPACES)})

    return find, names


__getattr__, __dir__ = finder("")
