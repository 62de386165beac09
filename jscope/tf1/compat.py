"""`tf.compat`: `tf.compat.v1` is `tf1` itself, and strings are strings."""

from __future__ import annotations

import importlib
from typing import Any


def as_text(value: Any, encoding: str = "utf-8") -> str:
    """Returns bytes as a string, and a string as it is."""
    return value.decode(encoding) if isinstance(value, bytes) else value


as_str = as_text


def as_bytes(value: Any, encoding: str = "utf-8") -> bytes:
    """Returns a string as bytes, and bytes as they are."""
    return value.encode(encoding) if isinstance(value, str) else value


def dimension_value(dimension: Any) -> int | None:
    """Returns a dimension as an int."""
    return None if dimension is None else int(dimension)


def __getattr__(name: str) -> Any:
    # Not imported at the top, since `tf1` is above all of its modules.
    if name == "v1":
        return importlib.import_module(__name__.rpartition(".")[0])
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
