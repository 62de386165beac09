"""Branches and open loops: `cond`, `switch`, `while_loop`, `fori_loop`. All thread state."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._scope import Scope
from jscope._util._text import scope_at
from jscope.errors import InvalidArgumentError, NativeTransformError, StateError
from jscope.lift._anywhere import anywhere
from jscope.lift._eager import compiled
from jscope.lift._kept import keeping
from jscope.lift._pure import Effects, commit, explaining, is_collecting, pure, run_pure, with_values
from jscope.lift._scan import Loop, Rng, joined
from jscope.lift._view import Streams, at_index, copies, lifted_view, shared_streams, sharing, view


def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], scope: Scope, *operands: Any) -> Any:
    """Runs `true_fn(scope, *operands)` or `false_fn(scope, *operands)`: `jax.lax.cond` for scoped functions.

    >>> import jax, jscope
    >>> def model(scope, x):
    ...     a = scope / "a"
    ...     n = a.get_variable("n", initializer=0, trainable=False)
    ...     jscope.cond(x > 0, lambda s: s.assign("n", n + 1), lambda s: None, a)
    >>> apply = jscope.transform_with_state(model).apply
    >>> [int(apply({}, {"a": {"n": 0}}, x)[1]["a"]["n"]) for x in (-1, 1)]
    [0, 1]

    Raises:
      StateError: The branches create different state, or sow different values for whoever captures them.
    """
    scope = with_values(scope)
    branches = (true_fn, false_fn)
    if is_collecting(scope):
        with explaining(scope, "cond", *branches):
            return jax.lax.cond(pred, *_collecting_branches(scope, branches), *operands)

    # All state, since both branches must return the same variables, whichever they write.
    def run(scope: Scope) -> tuple[Any, Effects]:
        with _sowing_alike(scope, branches, operands), keeping(scope) as keep:
            return compiled(scope, _cond, *(keep(f, run_pure, True) for f in branches))(pred, scope, *operands)

    with explaining(scope, "cond", *branches):
        out, effects = anywhere("cond", branches, run, scope)
    commit(scope, effects)
    return out


def switch(index: Any, branches: Sequence[Callable[..., Any]], scope: Scope, *operands: Any) -> Any:
    """Runs `branches[index](scope, *operands)`: `jax.lax.switch` for scoped functions.

    >>> def chosen(scope, i):
    ...     return jscope.switch(i, [lambda s: s.get_variable("a"), lambda s: s.get_variable("b")], scope)
    >>> jscope.apply(chosen, {"a": 1.0, "b": 2.0}, 1).item()
    2.0

    Raises:
      StateError: The branches create different state, or sow different values for whoever captures them.
    """
    scope = with_values(scope)
    if not isinstance(branches, Sequence):
        raise InvalidArgumentError(
            f"switch over {scope_at(scope.path)}: the branches must be a list of functions, not {branches!r}."
        )
    if is_collecting(scope):
        with explaining(scope, "switch", *branches):
            return jax.lax.switch(index, _collecting_branches(scope, branches), *operands)

    def run(scope: Scope) -> tuple[Any, Effects]:
        with _sowing_alike(scope, branches, operands), keeping(scope) as keep:
            return compiled(scope, _switch, *(keep(f, run_pure, True) for f in branches))(index, (scope, *operands))

    with explaining(scope, "switch", *branches):
        out, effects = anywhere("switch", branches, run, scope)
    commit(scope, effects)
    return out


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], scope: Scope, init: Any, *, rng: Rng = "split"
) -> Any:
    """Runs `val = body_fn(scope, val)` while `cond_fn(scope, val)`: `jax.lax.while_loop` for scoped functions.

    >>> def until_ten(scope, x):
    ...     return jscope.while_loop(lambda s, x: x < 10, lambda s, x: x * s.get_variable("w"), scope, x)
    >>> jscope.apply(until_ten, {"w": 2.0}, 1.0).item()
    16.0

    Variables are shared by all iterations, state is carried, each iteration has random keys of its own, but for what
    `rng` says as in `scan`. The condition may read variables, but neither create nor write any.
    """
    scope, streams = with_values(scope), shared_streams(rng, "while_loop")
    with explaining(scope, "while_loop", cond_fn, body_fn):
        if is_collecting(scope):
            refusal = "in the condition of a while_loop: create it before the loop"
            reading = lambda val: cond_fn(lifted_view(scope, refusal=refusal), val)  # noqa: E731
            return jax.lax.while_loop(reading, lambda val: body_fn(lifted_view(scope), val), init)

        def run(scope: Scope) -> tuple[Any, Effects]:
            # The body first: it draws what the unrolled loop would.
            places = tuple(view(scope, scope._params, {}, carried=copies(scope, tells=False).carried) for _ in range(2))
            # A loop that draws no keys is the loop that one would write by hand.
            count = jnp.uint32(0) if scope.has_rng else None
            loop = Loop(places, dict(_path.items(scope._state)), init, count)
            options = streams, scope._context.sharer
            with keeping(scope) as keep:
                steps = keep(cond_fn, _while_condition, *options), keep(body_fn, _while_body, *options)
                last = compiled(scope, jax.lax.while_loop, *steps)(loop)
            return last.carry, Effects(last.state, {})

        out, effects = anywhere("while_loop", (cond_fn, body_fn), run, scope)
    commit(scope, effects)
    return out


def fori_loop(
    lower: Any,
    upper: Any,
    body_fn: Callable[..., Any],
    scope: Scope,
    init: Any,
    *,
    unroll: int | bool | None = None,
    rng: Rng = "split",
) -> Any:
    """Runs `val = body_fn(scope, i, val)` for `i` from `lower` to `upper`: `jax.lax.fori_loop` for scoped functions.

    >>> def power(scope, n):
    ...     return jscope.fori_loop(0, n, lambda scope, i, x: x * scope.get_variable("w"), scope, 1.0)
    >>> jscope.apply(power, {"w": 2.0}, 3).item()
    8.0

    Variables are shared by all iterations, state is carried, each iteration has random keys of its own, but for what
    `rng` says as in `scan`.
    """
    scope, streams = with_values(scope), shared_streams(rng, "fori_loop")
    with explaining(scope, "fori_loop", body_fn):
        if is_collecting(scope):
            return jax.lax.fori_loop(
                lower, upper, lambda i, val: body_fn(lifted_view(scope), i, val), init, unroll=unroll
            )

        def run(scope: Scope) -> tuple[Any, Effects]:
            place = view(scope, scope._params, {}, carried=copies(scope, tells=False).carried)
            loop = Loop(place, dict(_path.items(scope._state)), init)
            with keeping(scope) as keep:
                step = keep(body_fn, _fori_body, streams, scope._context.sharer)
                # To be unrolled, its bounds must be known to the program.
                known = functools.partial(_fori_loop, step, unroll=unroll)
                last = (known if unroll else compiled(scope, _fori_loop, step))(lower, upper, loop)
            return last.carry, Effects(last.state, {})

        out, effects = anywhere("fori_loop", [body_fn], run, scope)
    commit(scope, effects)
    return out


# JAX's own, as `compiled` calls them: the functions first.


def _cond(true_fn: Callable[..., Any], false_fn: Callable[..., Any], pred: Any, *operands: Any) -> Any:
    return jax.lax.cond(pred, true_fn, false_fn, *operands)


def _switch(*args: Any) -> Any:
    *branches, index, operands = args
    return jax.lax.switch(index, branches, *operands)


def _fori_loop(body_fn: Callable[..., Any], lower: Any, upper: Any, init: Any, unroll: int | bool | None = None) -> Any:
    return jax.lax.fori_loop(lower, upper, body_fn, init, unroll=unroll)


# The scope goes through these loops with what they carry, and comes out as it went in, which JAX makes a constant.


def _while_condition(cond_fn: Callable[..., Any], streams: Streams, sharer: object, loop: Loop) -> Any:
    scope = loop.place[1]
    # Not `all_state`, so that its effects are what it wrote.
    out, effects = run_pure(cond_fn, False, _here(scope, sharer, loop.state, loop.index, streams), loop.carry)
    if effects.state or effects.sown:
        written = ", ".join(f"`{_path.join(scope.path, name)}`" for name in [*effects.state, *effects.sown])
        raise NativeTransformError(
            f"The condition of a while_loop over {scope_at(scope.path)} writes {written}.\n"
            "Only the body may write: move it there, or before or after the loop."
        )
    return out


def _while_body(body_fn: Callable[..., Any], streams: Streams, sharer: object, loop: Loop) -> Any:
    scope, i = loop.place[0], loop.index
    val, effects = run_pure(body_fn, True, _here(scope, sharer, loop.state, i, streams), loop.carry)
    _refuse_sown(scope, effects, "while_loop")
    return Loop(loop.place, effects.state, val, None if i is None else i + np.uint32(1))


def _fori_body(body_fn: Callable[..., Any], streams: Streams, sharer: object, i: Any, loop: Loop) -> Any:
    # `i` may be negative, or of 64 bits; parts of paths are uint32.
    index = jnp.asarray(i).astype(np.uint32) if loop.place.has_rng else None
    val, effects = run_pure(body_fn, True, _here(loop.place, sharer, loop.state, index, streams), i, loop.carry)
    _refuse_sown(loop.place, effects, "fori_loop")
    return Loop(loop.place, effects.state, val)


def _here(scope: Scope, sharer: object, state: dict[str, Any], index: Any, streams: Streams) -> Scope:
    """Returns the scope of one iteration."""
    anchor = None if streams is None else at_index(scope, index, streams)
    return view(sharing(scope, sharer), scope._params, joined(state), anchor=anchor)


def _refuse_sown(scope: Scope, effects: Effects, lift: str) -> None:
    if effects.sown:
        raise NativeTransformError(
            f"`{_path.join(scope.path, next(iter(effects.sown)))}` is sown inside `jscope.{lift}`, "
            "which has no place for one value per iteration.\n"
            "Use `jscope.scan`, or sow the result of the loop."
        )


@contextlib.contextmanager
def _sowing_alike(scope: Scope, branches: Sequence[Callable[..., Any]], operands: Any) -> Iterator[None]:
    """Tells by their names what only some branches sow, where JAX has found that their results differ."""
    try:
        yield
    except TypeError:
        if not scope._context.writes.capturing:
            raise
        # Only now, since it takes another trace of each.
        sown = [{*jax.eval_shape(pure(branch, True), scope, *operands)[1].sown} for branch in branches]
        number = next((i for i, each in enumerate(sown) if each != sown[0]), None)
        if number is None:
            raise
        first, other = ({_path.join(scope.path, name) for name in each} for each in (sown[0], sown[number]))
        raise StateError(
            f"Branches over {scope_at(scope.path)} sow different values: branch 0 {_listed(first)}, "
            f"branch {number} {_listed(other)}.\n"
            "Whichever is taken, there must be one: sow something in each branch, or what the branches return."
        ) from None


def _collecting_branches(scope: Scope, branches: Sequence[Callable[..., Any]]) -> list[Callable[..., Any]]:
    """Returns the branches, each of which must create the state that the first one creates."""
    frame = scope._frame()
    assert frame is not None
    before = set(frame.specs)
    made: dict[int, set[str]] = {}
    call = object()

    def collecting(number: int, branch: Callable[..., Any]) -> Callable[..., Any]:
        # As JAX's messages call it.
        @functools.wraps(branch)
        def run(*operands: Any) -> Any:
            # The branches of another `cond` may be around this one, so what was asked there is put back.
            around, frame.asked = frame.asked, set()
            outside, frame.branches = frame.branches, (*frame.branches, (call, number))
            try:
                out = branch(lifted_view(scope), *operands)
            finally:
                frame.branches = outside
            # Asked for, not created: what an earlier branch has created, a later one only asks for.
            made[number] = {p for p in frame.asked if p not in before and not frame.specs[p].trainable}
            frame.asked |= around
            first = made.get(0, made[number])
            if made[number] != first:
                raise StateError(
                    f"Branches over {scope_at(scope.path)} create different state: branch 0 {_listed(first)}, "
                    f"branch {number} {_listed(made[number])}.\n"
                    "Create state before the branch, so that it exists whichever is taken."
                )
            return out

        return run

    return [collecting(number, branch) for number, branch in enumerate(branches)]


def _listed(paths: set[str]) -> str:
    return ", ".join(f"`{path}`" for path in sorted(paths)) or "none"
