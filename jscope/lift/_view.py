"""The scopes that lifts hand to a body: the scope they were given, with other variables or at another place."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jscope import _rng
from jscope._frame import Crossing, Frame, Lifted
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
    shared = scope._shared
    path, entry = (scope._path, scope._entry) if anchor is None else (anchor.path, ())
    own = Crossing(path, params, state) if frame is None else frame.crossing
    ref = shared.frame if frame is None else weakref.ref(frame)
    shared = replace(shared, collecting=False, crossing=own, frame=ref, anchor=anchor or shared.anchor, lifted=None)
    return Scope(path, params, state, entry, shared)


def lifted_view(scope: Scope, *stack: StackAxis, shared: str | None = None, refusal: str | None = None) -> Scope:
    """Returns a collecting scope for the body of a lift, which may write, and whose variables get the axes `stack`."""
    frame, before = running(scope._frame(), "was given to a lift"), scope._shared.lifted
    outer = before.stack if before is not None else ()
    lifted = Lifted(frame.trace(), (*outer, *((axis, shared) for axis in stack)), refusal)
    own = replace(scope._shared, crossing=Crossing(scope._path, scope._params, {}), lifted=lifted)
    return Scope(scope._path, scope._params, {}, scope._entry, own)
