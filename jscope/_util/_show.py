"""A printed scope or spec shows names, shapes and dtypes, never values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jscope import _path
from jscope._util._plain import aligned


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of text in aligned columns.

    >>> print(table(("name", "shape"), [("w", "2, 3"), ("bias", "3")]))
    name   shape
    w      2, 3
    bias   3
    """
    return "\n".join(aligned([header, *rows]))


def describe(path: str, rng: bool, specs: Iterable[Any], params: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """Returns the repr of a scope: its path, and the variables below it."""
    # While collecting there are specs, but no params; in `apply` it is the other way round.
    lines = [str(spec) for spec in specs if _path.relative(spec.path, path)]
    for kind, tree in (("param", params), ("state", state)):
        lines += [f"{kind} `{name}`: {_brief(value)}" for name, value in _path.items(tree, path)]
    more = [f"... and {len(lines) - 20} more"] if len(lines) > 20 else []
    return "\n  ".join([f"Scope({path!r}{', with rng' if rng else ''})", *lines[:20], *more])


def _brief(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype.name if hasattr(value.dtype, 'name') else value.dtype}{list(value.shape)}"
    return type(value).__name__
