"""What is slow to import is imported on first use, so that `import jscope` takes a few hundredths of a second.

Namespaces that not every model needs are found here by `jscope.__getattr__`. `jax.extend` imports Pallas, which takes
as long as all of jscope, so it is imported by the first call of a model.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

NAMESPACES = (
    "checkpoint",
    "constraints",
    "errors",
    "getters",
    "initializers",
    "nn",
    "partitioners",
    "regularizers",
    "sharding",
    "testing",
    "tf1",
    "tree",
)

FUNCTIONS = {"summary": "jscope._summary"}
"""Functions that take long to import, with the modules that define them."""


def __getattr__(name: str) -> Any:
    """Imports the namespace or function `jscope.<name>`; afterwards it is an attribute like any other."""
    if name in NAMESPACES:
        return importlib.import_module(f"jscope.{name}")
    if name in FUNCTIONS:
        function = getattr(importlib.import_module(FUNCTIONS[name]), name)
        # Importing `jscope` here would be a cycle.
        setattr(sys.modules["jscope"], name, function)
        return function
    raise AttributeError(f"module `jscope` has no attribute `{name}`")


def __dir__() -> list[str]:
    """Lists what `jscope` has, including the namespaces, so that completion finds them."""
    return sorted({*vars(sys.modules["jscope"]), *NAMESPACES, *FUNCTIONS})


def later(module: str) -> Any:
    """Returns a module of jscope that stands above whoever asks, and is needed only where an option asks for it."""
    return importlib.import_module(f"jscope.{module}")


def trace_state() -> Any:
    """Returns a token of the running JAX trace, to compare with `==`. It does not keep the trace alive."""
    return _opaque_trace_state()()


# Collecting asks for every variable, and even to find a module that is imported already takes longer than the answer.
@functools.cache
def _opaque_trace_state() -> Callable[[], Any]:
    return importlib.import_module("jax.extend.core").get_opaque_trace_state
