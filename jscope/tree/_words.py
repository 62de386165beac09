"""How messages speak of trees."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from jscope import _path
from jscope._util import _text


def quoted(paths: Iterable[str]) -> str:
    """Returns paths for a message, at most eight of them."""
    names = [f"`{path}`" for path in paths]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def suggestion(asked: str, paths: Collection[str]) -> str:
    """Returns a sentence with what a path or pattern may have meant: a path, a prefix, or a single name."""
    known = dict.fromkeys(each for path in paths for each in (path, *_path.prefixes(path), *_path.parts(path)))
    near = _text.nearest(asked.strip("^$"), known)
    return f"Did you mean {quoted(near)}?" if near else f"There is {quoted(paths) or 'nothing'}."


def place(path: str) -> str:
    """Returns a path for a message, which the root has no name for."""
    return f"`{path}`" if path else "the root"
