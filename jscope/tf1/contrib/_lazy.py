"""The namespaces of `tf1.contrib` are imported on first use: who needs only scopes imports only scopes."""

from __future__ import annotations

import importlib
from typing import Any

PACKAGE = __name__.rpartition(".")[0]
NAMESPACES = (
    *("data", "framework", "layers", "legacy_seq2seq", "mixed_precision", "rnn", "seq2seq", "slim", "training", "util"),
)


def __getattr__(name: str) -> Any:
    """Imports `tf1.contrib.<name>`; afterwards it is an attribute like any other."""
    if name in NAMESPACES:
        return importlib.import_module(f"{PACKAGE}.{name}")
    # Python asks for names of its own (`__path__`); that is no reason to import the operations.
    if not name.startswith("_"):
        found = importlib.import_module("jscope.tf1._ops._absent").stand_in(f"contrib.{name}")
        if found is not None:
            return found
    known = ", ".join(f"`{each}`" for each in NAMESPACES)
    raise AttributeError(f"`tf1.contrib` has no `{name}`; it has {known}.")


def __dir__() -> list[str]:
    """Lists the namespaces."""
    return list(NAMESPACES)
