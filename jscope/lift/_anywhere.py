"""Blocks that are traced for all places at once: the path of one is an argument, and inside, paths begin at the block.

So JAX finds for the second of 48 equal layers what it traced for the first. A block for which it matters where it is
runs at its own place instead: one whose options go by whole paths (`shared=` of `scan`, `wrt=` of `grad`), and under
`remat` also one that looks at `scope.path`. (`jit` tells it the path that begins at the block.)
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from typing import Any

from jscope import _rng
from jscope._scope import Scope
from jscope.lift._pure import is_collecting
from jscope.lift._view import Anywhere, PlaceMattersError, view

_placed: dict[str, weakref.WeakSet[types.CodeType]] = {"jit": weakref.WeakSet(), "remat": weakref.WeakSet()}
"""By lift, the codes of functions that were found to need their place: to try them without it would take time."""


def anywhere(
    lift: str, function: Callable[..., Any], run: Callable[..., Any], scope: Scope, /, *args: Any, **kwargs: Any
) -> Any:
    """Returns `run(scope, *args)`, at no place in particular if `function` can do without."""
    code = getattr(function, "__code__", None)
    # Specs need the full paths, and so do getters, unless they say that they do not.
    free = not is_collecting(scope) and all(getattr(g, "ignores_path", False) for g in scope._context.getters)
    if free and code not in _placed[lift]:
        inside = view(scope, scope._params, scope._state, anchor=_anchor(scope, lift))
        try:
            return run(inside, *args, **kwargs)
        except PlaceMattersError:
            if code is not None:
                _placed[lift].add(code)
        except Exception:
            # Under `remat` it goes wrong again below, where messages have whole paths.
            if lift == "jit":
                raise
    return run(placed(scope), *args, **kwargs)


def placed(scope: Scope) -> Scope:
    """Returns the scope as it is inside: of what is drawn there all is told, so it need not be given up here."""
    return scope if is_collecting(scope) else view(scope, scope._params, scope._state)


def _anchor(scope: Scope, lift: str) -> Anywhere:
    """Returns the anchor of a block, with the hash of its place for who draws inside."""
    outer = scope._context.anchor
    # By hand, `remat` has no such argument. A block that is given a key inside will say so.
    if (lift == "remat" and not scope.has_rng) or (isinstance(outer, Anywhere) and not outer.is_known):
        return Anywhere("", None, lift=lift)
    shared = {} if outer is None else {stream: _rng.anchor("", scope.lanes(stream)) for stream in outer.shared}
    return Anywhere("", _rng.anchor("", scope.lanes()).lanes, shared, lift)
