"""Messages call things by the same names everywhere, and suggest what a misspelt name may have meant."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable
from typing import Any

from jscope import _path
from jscope.errors import InvalidArgumentError


def scope_at(path: str) -> str:
    """Returns what messages call the scope at a path.

    >>> scope_at("a"), scope_at("")
    ('the scope `a`', 'the root scope')
    """
    return f"the scope `{path}`" if path else "the root scope"


def pattern(regex: str | re.Pattern[str], role: str = "") -> re.Pattern[str]:
    """Compiles a regular expression for paths, or raises an error that says what is wrong with it.

    >>> pattern("w$").search("encoder/w") is not None
    True
    """
    try:
        return re.compile(regex)
    except (re.error, TypeError) as error:
        raise InvalidArgumentError(
            f"{role}{regex!r} is not a regular expression: {error}.\n"
            "It is searched for in paths such as `encoder/w`; a plain name matches wherever it stands."
        ) from error


def nearest(path: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """Returns the candidates that a misspelt `path` may have meant, best first.

    >>> nearest("encoder/W", ["encoder/w", "encoder/b", "decoder/w"], count=1)
    ['encoder/w']
    """
    return difflib.get_close_matches(path, list(candidates), n=count, cutoff=0.6)


def did_you_mean(path: str, candidates: Iterable[str]) -> str:
    """Returns a sentence with the nearest names, or nothing.

    >>> did_you_mean("encoder/W", ["encoder/w", "b"])
    ' Did you mean `encoder/w`?'
    """
    near = nearest(path, candidates)
    return f" Did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""


def not_an_initializer(role: str, value: Any) -> str:
    """Returns a sentence for what looks like an initializer, but was given by position as something else; or nothing.

    >>> not_an_initializer("dtype", "flot32"), not_an_initializer("dtype", 0.5)[1:]
    ('', 'If it is the initializer, pass it by name: `initializer=...`. Here, it stands where the dtype belongs.')
    """
    if isinstance(value, type):
        # Like `str`, every class can be called; the instances of an initializer's class can be, too.
        initializes = "__call__" in vars(value)
    else:
        initializes = callable(value) or isinstance(value, bool | int | float | complex) or hasattr(value, "dtype")
    advice = "If it is the initializer, pass it by name: `initializer=...`. Here, it stands where the"
    return f"\n{advice} {role} belongs." if initializes else ""


def warn_if_useless(regex: re.Pattern[str], paths: Iterable[str], role: str) -> None:
    """Warns where a regular expression that should select something does not: it is a typo more often than not."""
    paths = list(paths)
    if paths and regex.pattern and not any(map(regex.search, paths)):
        # With the parts of paths, too: most expressions are shorter than a path.
        known = {each for path in paths for each in (path, *_path.parts(path))}
        hint = did_you_mean(regex.pattern.strip("^$"), known)
        warnings.warn(f"{role}{regex.pattern!r} does not match any of {len(paths)} paths.{hint}", stacklevel=4)
