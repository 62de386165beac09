"""The one recipe behind every lift: make it pure, cross with the JAX transform, commit.

A JAX transform takes values in and values out. `pure(fn)` turns a function of a scope that writes into
one that returns what it wrote, as `(out, effects)`; outside, `commit` writes it to the scope there.

While collecting there is nothing to hand out: the body records its variables as in any native transform, and may
"write" because nothing is kept.
"""

from __future__ import annotations

import contextlib
import functools
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import jax

from jscope import _path
from jscope._context import crossing
from jscope._frame import Frame
from jscope._scope import Scope
from jscope._uses import NOTHING, Carried
from jscope._util._same import Same, same
from jscope._util._text import scope_at
from jscope.errors import InvalidArgumentError, JscopeError
from jscope.lift._view import PlaceMattersError, lift_of_block, lifted_view, uses_below, view

P = ParamSpec("P")
R = TypeVar("R")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, slots=True)
class Effects:
    """What a function of a scope wrote, by name below that scope.

    >>> def model(scope):
    ...     out, effects = jscope.pure(lambda scope: scope.assign("n", 5))(scope)
    ...     return effects.state
    >>> jscope.transform_with_state(model).apply({}, {"n": 0})[0]["n"].item()
    5
    """

    state: dict[str, Any]
    sown: dict[str, Any]
    # As `Same`, so that two branches of a `cond` that reduce in the same way have effects of the same structure.
    reduce: tuple[tuple[str, Same], ...] = field(default=(), metadata={"static": True})
    """How to combine sown values with others of the same name."""

    uses: Carried = field(default=NOTHING, metadata={"static": True})
    """Which scopes drew random keys, so that those drawn afterwards are others."""


# JAX's caches hold the functions that they know by weak references. Slots of a generic class leave no place for them in
# Python 3.12.3 (gh-118033), so this one has none.
@dataclass(frozen=True)
class pure(Generic[P, R]):
    """Turns `fn(scope, *args) -> out` into `(scope, *args) -> (out, effects)`, without side effects.

    Equal by `fn`, so that JAX's caches see through it. For any transform that has no lift of its own:

    >>> import jax, jscope
    >>> def count(scope, x):
    ...     n = scope.get_variable("n", initializer=0, trainable=False)
    ...     scope.assign("n", n + 1)
    ...     return x + n
    >>> def model(scope, x):
    ...     out, effects = jax.jit(jscope.pure(count))(scope / "a", x)
    ...     jscope.commit(scope / "a", effects)
    ...     return out
    >>> init, apply = jscope.transform_with_state(model)
    >>> int(apply({}, {"a": {"n": 4}}, 1)[1]["a"]["n"])
    5
    """

    fn: Callable[Concatenate[Scope, P], R]
    all_state: bool = False
    """Whether the effects have all state below the scope, for transforms whose branches must agree in structure."""

    @property
    def __name__(self) -> str:
        return getattr(self.fn, "__name__", "pure")

    def __call__(self, scope: Scope, /, *args: P.args, **kwargs: P.kwargs) -> tuple[R, Effects]:
        if is_collecting(scope):
            return self.fn(lifted_view(scope), *args, **kwargs), Effects({}, {})
        scope = with_values(scope)
        with _inner_frame(scope) as frame:
            out = self.fn(view(scope, scope._params, frame.crossing.state, frame=frame), *args, **kwargs)
        after, old = dict(_path.items(frame.crossing.state)), dict(_path.items(scope._state))
        # Values may be traced, so they are told apart by identity: what was not written is the object that came in.
        state = after if self.all_state else {name: new for name, new in after.items() if new is not old[name]}
        sown = {_name_below(scope, path): value for path, value in frame.sown.items()}
        reduce = tuple((_name_below(scope, path), same(how)) for path, how in frame.reduce.items())
        # Branches have to agree in structure, too, and need not draw the same.
        return out, Effects(state, sown, reduce, NOTHING if self.all_state else frame.crossing.uses.carried())


def run_pure(function: Callable[..., Any], all_state: bool, scope: Scope, /, *args: Any, **kwargs: Any) -> Any:
    """Runs `pure(function)`: what most lifts make of a function."""
    return pure(function, all_state)(scope, *args, **kwargs)


def commit(scope: Scope, effects: Effects) -> None:
    """Writes what a `pure` function of `scope` wrote.

    >>> def model(scope):
    ...     out, effects = jscope.pure(lambda scope: scope.assign("n", 5))(scope)
    ...     jscope.commit(scope, effects)
    >>> jscope.transform_with_state(model).apply({}, {"n": 0})[1]["n"].item()
    5
    """
    for name, value in effects.state.items():
        scope.assign(name, value)
    reduce = dict(effects.reduce)
    for name, value in effects.sown.items():
        scope.sow(name, value, reduce[name].function if name in reduce else None)
    if effects.uses != NOTHING:
        outside = scope._context.crossing
        outside.reserve(outside.uses.merge(scope.below(), scope._entry, effects.uses))


def is_collecting(scope: Scope) -> bool:
    """Whether the body of a lift records variables now, and does not know their values already."""
    frame = scope._frame()
    return scope.collecting and not (frame is not None and frame.replay is not None)


def with_values(scope: Scope) -> Scope:
    """Returns the scope to apply a lift to: where initial values that depend on data are computed, one with values."""
    if not isinstance(scope, Scope):
        raise InvalidArgumentError(
            f"A lift needs a scope first, `lifted(scope, *args)`, not a `{type(scope).__name__}`."
        )
    frame = scope._frame()
    if not scope.collecting or frame is None:
        return scope
    if frame.replay is None:
        # Each call of a lift is another entry, so that what two of them create is told from what JAX traces twice.
        # As in `Scope`, only calls of one trace are counted.
        call = scope._context.crossing.count(("lift", scope._path, scope._entry, frame.trace()))
        return Scope(scope._path, scope._params, scope._state, (*scope._entry, -1 - call), scope._context)
    replay = frame.replay
    for path, spec in replay.specs.items():
        # What the lift would have collected is there from now on, for `reuse=True` and for reads.
        if _path.relative(path, scope._path):
            frame.specs.setdefault(path, spec)
    params, state = replay.below(scope._path)
    return view(scope, params, state)


def _inner_frame(scope: Scope) -> Frame:
    """Makes the frame for one run of a body, which commits to the frame of `scope`."""
    outer = scope._frame()
    stateful, capturing = scope._context.writes
    # A copy, so that writes stay in this frame until they are committed. Whether there is state, the scope knows: in a
    # cached backward pass there is no outer frame to ask.
    state = _path.copy(scope._state) if stateful else {}
    inside = crossing(scope._path, scope._params, state, uses_below(scope), keyed=scope.has_rng)
    frame = Frame if lift_of_block(scope) in (None, "jit") else _Blindfold
    return frame(crossing=inside, stateful=stateful, capturing=capturing, parent=outer)


class _Blindfold(Frame):
    """The frame of a block that runs for many places, which ends where somebody looks at its path.

    At once: what JAX traces inside must not be found later by another block, in which nobody would look any more.
    """

    @property
    def looked(self) -> bool:
        """Whether anybody looked at a path: nobody did."""
        return False

    @looked.setter
    def looked(self, value: bool) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  # To know when it is set.
        if value:
            raise PlaceMattersError


def _name_below(scope: Scope, path: str) -> str:
    name = _path.relative(path, scope._path)
    assert name is not None
    return name


@contextlib.contextmanager
def explaining(scope: Scope, lift: str, *functions: Any) -> Iterator[None]:
    """Enters the name of the scope around a lift, and adds to an error of JAX in which lift and where it happened.

    `functions` are the user's: JAX sees what a lift makes of them, and names that, or nothing.
    """
    try:
        # Outside of the boundary: what the transform itself does is named, too, and a body says only what is below.
        with scope:
            yield
    except Exception as error:
        # Inside `jit`, names begin at the boundary, in errors of every kind. Elsewhere, jscope's own errors have full
        # paths, and what JAX says of the structure of values is of these two types.
        if lift == "jit" or (isinstance(error, TypeError | ValueError) and not isinstance(error, JscopeError)):
            where = f"`jscope.{lift}` of {', '.join(map(_called, functions))} over {scope_at(scope.path)}"
            error.add_note(f"jscope: in {where}{'; names inside begin there' if lift == 'jit' else ''}.")
        raise


def _called(function: Any) -> str:
    """Returns what messages call a function of the user: its name, and where it is defined."""
    while hasattr(function, "__wrapped__") or isinstance(function, functools.partial):
        function = function.func if isinstance(function, functools.partial) else function.__wrapped__
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", None) or reprlib.repr(function)
    return f"`{name}`" if code is None else f"`{name}` ({code.co_filename}:{code.co_firstlineno})"
