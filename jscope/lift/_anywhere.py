"""Blocks that are traced for all places at once: inside, paths begin there, and the place is an argument, or none.

So JAX finds for the second of 48 equal layers what it traced for the first. A block for which it matters where it is
runs at its own place instead: one whose options go by whole paths (`shared=` of `scan`, `wrt=` of `grad`), and one that
looks at `scope.path`. (But `jit` tells it the path that begins at the block.)
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from jscope import _rng
from jscope._scope import Scope
from jscope._util._same import same
from jscope.lift._pure import Effects, is_collecting
from jscope.lift._view import Anywhere, PlaceMattersError, view

_BLOCKS = "jit", "remat"
"""The lifts whose blocks are given the hash of their place. In others a place means more for those who draw."""

_placed: set[Hashable] = set()
"""What the functions are made of that were found to need their place, with the lift: to try again would take time."""

_suspects: weakref.WeakSet[types.CodeType] = weakref.WeakSet()
"""Their codes. Only functions of such a code are taken apart."""


def anywhere(
    lift: str, functions: Sequence[Callable[..., Any]], run: Callable[[Scope], tuple[Any, Effects]], scope: Scope
) -> tuple[Any, Effects]:
    """Returns `run(scope)`, at no place in particular if the user's `functions` can do without."""
    codes = [function.__code__ for function in functions if hasattr(function, "__code__")]
    needs_place = any(code in _suspects for code in codes) and (lift, same(functions).parts) in _placed
    if _may_be_anywhere(lift, scope) and not needs_place:
        inside = view(scope, scope._params, scope._state, anchor=_anchor(scope, lift))
        try:
            return run(inside)
        except PlaceMattersError:
            _remember(lift, functions, codes)
        except Exception:
            # It goes wrong again below, where messages have whole paths.
            if lift == "jit":
                raise
    return run(placed(scope) if lift in _BLOCKS else scope)


def _remember(lift: str, functions: Sequence[Callable[..., Any]], codes: list[types.CodeType]) -> None:
    found = same(functions)
    if found.by_value:
        # The limit is for programs that make functions without end, each of other parts.
        if len(_placed) >= 512:
            _placed.clear()
        _placed.add((lift, found.parts))
        _suspects.update(codes)


def _may_be_anywhere(lift: str, scope: Scope) -> bool:
    # Specs need the full paths, and so do getters, unless they say that they do not.
    getters = scope._context.getters
    blind = not getters or all(getattr(getter, "ignores_path", False) for getter in getters)
    return blind and not is_collecting(scope) and (lift in _BLOCKS or not scope.has_rng)


def placed(scope: Scope) -> Scope:
    """Returns the scope as it is inside: of what is drawn there all is told, so it need not be given up here."""
    return scope if is_collecting(scope) else view(scope, scope._params, scope._state)


def _anchor(scope: Scope, lift: str) -> Anywhere:
    """Returns the anchor of a block, with the hash of its place for who draws inside."""
    outer = scope._context.anchor
    # By hand, only a compiled one could have such an argument. A block that is given a key inside will say so.
    if (lift != "jit" and not scope.has_rng) or (isinstance(outer, Anywhere) and not outer.is_known):
        return Anywhere("", None, lift=lift)
    shared = {} if outer is None else {stream: _rng.anchor("", scope.lanes(stream)) for stream in outer.shared}
    return Anywhere("", _rng.anchor("", scope.lanes()).lanes, shared, lift)
