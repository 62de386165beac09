"""The scopes that lifts hand to a body: the scope they were given, with other variables or at another place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jscope import _rng
from jscope._context import Crossing, Lifted
from jscope._frame import Frame
from jscope._scope import Scope
from jscope._spec import StackAxis
from jscope._write import running


def view(
    scope: Scope,
    params: Mapping[str, Any],
    state: Mapping[str, Any],
    *,
    anchor: _rng.Anchor | None = None,
    frame: Frame | None = None,
) -> Scope:
    """Returns the scope with other variables, as if it had just crossed a boundary: what lifts hand to a body.

    With an `anchor`, it is at that place.
    """
    context = scope._context
    path, entry = (scope._path, scope._entry) if anchor is None else (anchor.path, ())
    context = replace(
        context,
        collecting=False,
        crossing=Crossing(path, params, state) if frame is None else frame.crossing,
        call=context.call if frame is None else frame.number,
        anchor=anchor or context.anchor,
        lifted=None,
    )
    return Scope(path, params, state, entry, context)


def lifted_view(scope: Scope, *stack: StackAxis, shared: str | None = None, refusal: str | None = None) -> Scope:
    """Returns a collecting scope for the body of a lift, which may write, and whose variables get the axes `stack`."""
    context = scope._context
    frame, before = running(context, "was given to a lift"), context.lifted
    outer = before.stack if before is not None else ()
    # The trace that runs now is the one that the lift's JAX transform made for the body.
    lifted = Lifted(frame.trace(), (*outer, *((axis, shared) for axis in stack)), refusal)
    own = replace(context, crossing=Crossing(scope._path, scope._params, {}), lifted=lifted)
    return Scope(scope._path, scope._params, {}, scope._entry, own)
