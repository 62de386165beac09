"""Writing: state and sown values, the two things that a scope can write, and where it may.

A value that is written goes to the frame, so it must be one of the frame's own trace: one made inside a JAX transform
would leak out of it. Lifts take such values along, and write them outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jscope import _path, errors
from jscope._context import Context
from jscope._frame import Frame
from jscope._types import Reduce
from jscope._util import _text
from jscope._util._stack import lift_for_here


def running(context: Context, action: str) -> Frame:
    """Returns the frame of the call that a scope belongs to, or raises an error that says what was tried."""
    frame = Frame.running(context.call)
    if frame is None:
        raise errors.ScopeEndedError(
            f"A scope {action}, outside the `init` or `apply` call it belongs to (that call has "
            "ended, or runs in another thread or asyncio task, or another call runs inside it).\n"
            "Use a scope only in the call that made it; hand results out as return values."
        )
    return frame


def writable(context: Context, action: str) -> Frame:
    """Returns the frame if what is written through a scope can reach it."""
    frame = running(context, action)
    # While collecting nothing is kept, so a lift lets its body "write" in the trace that it made for it.
    if frame.trace() != (context.lifted.trace if context.lifted is not None else 0):
        if Frame.current() is not frame:
            raise errors.NativeTransformError(
                f"A scope {action}, inside the body of a lift, but not through the scope that the lift was given.\n"
                "Give the lift a scope around all that its body writes, and enter what is below it inside."
            )
        lift = lift_for_here()
        raise errors.NativeTransformError(
            f"A scope {action}, inside a JAX transform, from where the value cannot get out.\n"
            f"Use `{lift}` in place of `jax`'s, and write through the scope that the body is given: it takes what is "
            "written along. Or return the value and write it outside."
        )
    # A copy has a state of its own, which nobody would look at again.
    if context.crossing is not frame.crossing and not frame.collecting:
        raise errors.NativeTransformError(
            f"A scope {action}, but it is a copy that went through a JAX function such as `jax.tree.map`.\n"
            "Write through the scope that the model was given."
        )
    return frame


def assign(context: Context, path: str, value: Any) -> None:
    """Writes a state variable, after checking that there is one of this shape (less its stacked axes) and dtype."""
    frame = writable(context, f"assigned `{path}`")
    shape, dtype = _kind_of_state(frame, path, len(context.stack_of(path)))
    if isinstance(value, bool | int | float | complex):
        value = jnp.asarray(value, dtype)
    found = getattr(value, "shape", None), getattr(value, "dtype", None)
    for what, old, new, error in zip(("shape", "dtype"), (shape, dtype), found, _MISMATCH, strict=True):
        if old != new:
            raise error(
                f"State variable `{path}` has {what} {old}, assigned a value of {what} {new}.\n"
                "State keeps its shape and dtype from one call to the next: reshape or cast the value first."
            )
    if not frame.collecting:
        assert isinstance(frame.crossing.state, dict)
        _path.insert(frame.crossing.state, _parts(frame, path), value)
    elif frame.replay is not None and path in frame.replay.values:
        frame.replay.values[path] = value


def sow(context: Context, path: str, value: Any, reduce: Reduce | None) -> None:
    """Keeps a sown value if anybody captures, combined with an earlier one of the same path."""
    frame = writable(context, f"sowed `{path}`")
    if not frame.capturing:
        return
    for other in frame.sown:
        if other != path and (_path.relative(path, other) or _path.relative(other, path)):
            raise errors.NameConflictError(
                f"`{path}` was sown, and so was `{other}`: one is a prefix of the other. Sow under another name."
            )
    if path in frame.sown:
        if reduce is None:
            raise errors.MismatchError(
                f"`{path}` was sown twice in one call.\nSay how to combine the values, such as "
                "`reduce=lambda old, new: old + new`, or sow under another name."
            )
        value = reduce(frame.sown[path], value)
    frame.sown[path] = value
    if reduce is not None:
        frame.reduce[path] = reduce


_MISMATCH = errors.ShapeMismatchError, errors.DTypeMismatchError


def _parts(frame: Frame, path: str) -> tuple[str, ...]:
    below = _path.relative(path, frame.crossing.path)
    assert below is not None
    return _path.parts(below)


def _kind_of_state(frame: Frame, path: str, stacked: int) -> tuple[Any, Any]:
    """Returns shape and dtype of the state variable at `path`, or raises an error that says what is there instead."""
    spec = frame.specs.get(path) or (frame.replay.specs.get(path) if frame.replay is not None else None)
    params, state = frame.crossing.params, frame.crossing.state
    if spec is not None:
        param, old = spec.trainable, spec
    else:
        param, old = (_path.walk(tree, _parts(frame, path)) for tree in (params, state))
        param = old is None and param is not None
    if param:
        raise errors.StateError(
            f"`{path}` was assigned, but it is a param. Only state can be written: create it with "
            "`trainable=False`, and let the optimizer update params outside `apply`."
        )
    if not frame.collecting and not frame.stateful:
        raise errors.StateError(
            f"`{path}` was assigned, but this call has no state.\nUse `jscope.transform_with_state(f)`: its "
            "`apply(params, state, ...)` returns `(out, new_state)`."
        )
    if old is None or isinstance(old, Mapping):
        known = [*frame.specs, *(name for name, _ in _path.items(state, frame.crossing.path))]
        raise errors.MissingVariableError(
            f"`{path}` was assigned, but there is no such variable.{_text.did_you_mean(path, known)}\n"
            "Create it first: `scope.get_variable(name, ..., trainable=False)`."
        )
    # A spec has the axes of the lifts around, of which the body sees none.
    return jnp.shape(old)[stacked if spec is not None else 0 :], jnp.result_type(old)
