"""Loops over a leading axis: `scan`, `map`, and `layers`, the same block many times.

The variables that the body creates are stacked: copy `i` starts with the value, and draws the random numbers, of the
unrolled variable whose path has `i` as one more part. So a model may be scanned or unrolled, and its
checkpoints move between the two by `jscope.tree.stack` and `unstack`.
"""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._scope import Scope
from jscope._spec import StackAxis
from jscope._uses import indexed
from jscope._util import _text
from jscope._util._stack import call_site
from jscope._util._text import scope_at
from jscope.errors import InvalidArgumentError, MissingVariableError, ShapeMismatchError
from jscope.lift._anywhere import anywhere
from jscope.lift._eager import compiled
from jscope.lift._kept import keeping
from jscope.lift._once import once
from jscope.lift._pure import Effects, commit, explaining, is_collecting, run_pure, with_values
from jscope.lift._slices import Slices, placeholder_slices, stacked_values, with_slices
from jscope.lift._view import at_index, copies, lifted_view, shared_streams, sharing, view, whole_path

EVERYTHING = ""
Rng: TypeAlias = "Literal['split', 'shared'] | Collection[str]"
"""Whether copies of a loop draw random numbers of their own, or which streams they share."""

Divided: TypeAlias = tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], Slices]
"""The params that are shared and those that are stacked, the state likewise, and what getters put in their place."""


def scan(
    body: Callable[..., tuple[Any, Any]],
    scope: Scope,
    carry: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    reverse: bool = False,
    unroll: int | bool = 1,
    shared: str | None = None,
    rng: Rng = "split",
    axis: str | None = None,
) -> tuple[Any, Any]:
    """Runs `body(scope, carry, x) -> (carry, y)` over the leading axis of `xs`: `jax.lax.scan` for scoped functions.

    >>> import jax, jax.numpy as jnp, jscope
    >>> def layer(scope, x, _):
    ...     return jnp.tanh(x @ scope.get_variable("w", (3, 3))), None
    >>> def model(scope, x):
    ...     return jscope.scan(layer, scope / "layers", x, length=24)[0]
    >>> jscope.init(model, jax.random.key(0), jnp.ones(3))["layers"]["w"].shape
    (24, 3, 3)

    Args:
      body: A function of a scope, the carry and one slice of `xs`.
      scope: The scope of the body.
      carry: What goes from one iteration to the next.
      xs: A pytree of arrays with a common leading axis, or None.
      length: Number of iterations, where `xs` does not tell.
      reverse: Whether to run from the last to the first.
      unroll: How many iterations one step of the compiled loop takes.
      shared: A regex for the paths of variables that all iterations share; `""` for all. State among them is carried.
      rng: `"split"`: each iteration draws random numbers of its own. `"shared"`: all draw the same. The names of some
        streams: those are shared, such as the mask of a recurrent dropout, `scope.rng("dropout")`.
      axis: A logical name for the stacked axis, put before the `axes` of stacked variables.

    Returns:
      The last carry, and the `y`s stacked.

    Raises:
      ShapeMismatchError: `xs`, `length` and the stacked variables disagree on the number of iterations.
    """
    called = Called("scan", body)
    return _looped(called, body, scope, carry, xs, length, reverse, unroll, shared=shared, rng=rng, axis=axis)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, slots=True)
class Loop:
    """What goes from one iteration to the next; where the user's part differs, JAX says so of `loop.carry`."""

    place: Any
    state: dict[str, Any]
    carry: Any
    index: Any = None


class Called(NamedTuple):
    """What the user called, for messages: which lift, and of which function."""

    lift: str
    function: Any


def _looped(
    called: Called,
    body: Callable[..., tuple[Any, Any]],
    scope: Scope,
    carry: Any,
    xs: Any,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    *,
    shared: str | None = None,
    rng: Rng = "split",
    axis: str | None = None,
) -> tuple[Any, Any]:
    _text.pattern("" if shared is None else shared, "shared=")
    check_name(axis, called.lift)
    scope, streams = with_values(scope), shared_streams(rng, "scan")
    size = _iterations(scope, xs, length, shared)
    # A size that is symbolic, as in `jax.export`, JAX takes from `xs` only.
    loop = {"length": size if isinstance(size, int) else None, "reverse": reverse, "unroll": unroll}
    with explaining(scope, *called), restoring(scope, size, shared):
        if is_collecting(scope):
            stack = StackAxis(len(_path.parts(scope._path)), size, axis)
            one = with_slices(scope, placeholder_slices(stacked_values(scope, size, shared)))
            collected = lambda c, x: _pair(scope, body(lifted_view(one, stack, shared=shared), c, x))  # noqa: E731
            return jax.lax.scan(collected, carry, xs, **loop)

        def run(scope: Scope) -> tuple[Any, Effects]:
            place = index_of_copies(scope, size, streams)
            return _scan(body, scope, carry, xs, divided(scope, shared, size), place, loop)

        by_paths = shared not in (None, EVERYTHING)
        out, effects = run(scope) if by_paths else anywhere(called.lift, [called.function], run, scope)
        commit(scope, effects)
    return out


def _scan(
    body: Callable[..., Any],
    scope: Scope,
    carry: Any,
    xs: Any,
    variables: Divided,
    place: tuple[Any, tuple[str, ...]],
    loop: dict[str, Any],
) -> tuple[Any, Effects]:
    params, own_params, state, own_state, values = variables
    index, streams = place
    copied = None if index is None else copies(scope, tells=True)
    shared = view(scope, joined(params), {}, carried=None if copied is None else copied.carried)
    # What all iterations share goes in with the carry, and comes out as it went in: JAX makes a constant of it.
    loop_in = Loop(shared, state, carry), (own_params, own_state, values, xs, index)
    with keeping(scope) as keep:
        step = keep(body, _step, streams, scope._context.sharer)
        last, (ys, effects) = compiled(scope, jax.lax.scan, step, **loop)(*loop_in)
    uses = effects.uses if copied is None else indexed(effects.uses, copied.number)
    return (last.carry, ys), replace(effects, state={**last.state, **effects.state}, uses=uses)


def _step(
    body: Callable[..., Any], streams: tuple[str, ...], sharer: object, loop: Loop, inputs: tuple[Any, ...]
) -> tuple[Any, Any]:
    """Runs one iteration: the body of JAX's loop."""
    own_params, own_state, own_values, x, i = inputs
    trees = joined(dict(_path.items(loop.place._params)), own_params), joined(loop.state, own_state)
    scope = with_slices(sharing(loop.place, sharer), own_values)
    out, effects = run_pure(body, False, view(scope, *trees, anchor=at_index(scope, i, streams)), loop.carry, x)
    carry, y = _pair(scope, out)
    written = {name: value for name, value in effects.state.items() if name not in own_state}
    stacked = {name: value for name, value in effects.state.items() if name in own_state}
    return Loop(loop.place, {**loop.state, **written}, carry), (y, replace(effects, state=stacked))


def index_of_copies(scope: Scope, size: int, streams: tuple[str, ...] | None) -> tuple[Any, tuple[str, ...]]:
    """Returns the indices that tell copies apart, or None where they draw the same, and the streams that they share."""
    if streams is None or not scope.has_rng:
        return None, ()
    return jnp.arange(size, dtype=np.uint32), streams


def _pair(scope: Scope, out: Any) -> tuple[Any, Any]:
    if not isinstance(out, tuple | list) or len(out) != 2:
        raise InvalidArgumentError(
            f"The body of a scan over {scope_at(scope.path)} must return a pair `(carry, y)`, not {out!r}."
        )
    return out[0], out[1]


def map(
    function: Callable[..., Any], scope: Scope, xs: Any, *, shared: str | None = EVERYTHING, rng: Rng = "split"
) -> Any:
    """Runs `function(scope, x)` for each slice of `xs`, one after the other: `jax.lax.map` for scoped functions.

    >>> def model(scope, xs):
    ...     return jscope.map(lambda scope, x: x * scope.get_variable("w"), scope, xs)
    >>> jscope.apply(model, {"w": 2.0}, jnp.arange(3.0)).tolist()
    [0.0, 2.0, 4.0]

    Variables are shared, unless `shared` is None (all stacked) or a regex for those that are. State is
    carried from one to the next; each has random keys of its own, but for what `rng` says as in `scan`.
    """
    each = lambda s, _, x: (None, function(s, x))  # noqa: E731
    return _looped(Called("map", function), each, scope, None, xs, shared=shared, rng=rng)[1]


def layers(
    body: Callable[..., Any], n: int, *, scanned: bool = True, unroll: int | bool = 1, axis: str | None = None
) -> Callable[..., Any]:
    """Returns `(scope, x, *args, **kwargs) -> x` that runs `x = body(scope, x, *args, **kwargs)` `n` times.

    >>> def block(scope, x):
    ...     return x * scope.get_variable("w", ())
    >>> jscope.apply(jscope.layers(block, 3), {"w": jnp.array([1.0, 2.0, 4.0])}, 1.0).item()
    8.0

    Each has variables of its own. Scanned, it compiles in constant time, and variables are stacked; unrolled, they
    stand under `"0"`, `"1"`, ... The numbers are the same; `jscope.tree.unstack(params, at=path)` takes the params of
    the one to the other.
    """
    n = checked_count(n, "layers", "n")

    def scanned_layers(scope: Scope, x: Any, /, *args: Any, **kwargs: Any) -> Any:
        # Arrays among the arguments are operands, like `x`: held by the body, they would make another one of it.
        flat, structure = jax.tree.flatten((args, kwargs), is_leaf=lambda leaf: isinstance(leaf, Scope))
        given = {number: leaf for number, leaf in enumerate(flat) if isinstance(leaf, jax.Array)}
        rest = jax.tree.unflatten(structure, [_Given if n in given else leaf for n, leaf in enumerate(flat)])

        def layer(scope: Scope, carry: Any, _: None) -> Any:
            args, kwargs = _filled(rest, carry[1])
            return (body(scope, carry[0], *args, **kwargs), carry[1]), None

        loop = {"length": n, "unroll": unroll, "axis": axis}
        return _looped(Called("layers", body), layer, scope, (x, list(given.values())), None, **loop)[0][0]

    def unrolled_layers(scope: Scope, x: Any, /, *args: Any, **kwargs: Any) -> Any:
        # Variables of a body that is jscope's own, such as a layer, are said to be created where this is called.
        one = once(body, call_site(), body, traced=False) if scope.collecting else body
        for i in range(n):
            x = one(scope / str(i), x, *args, **kwargs)
        return x

    return scanned_layers if scanned else unrolled_layers


class _Given:
    """Stands where an argument was that is an operand of the loop."""


def _filled(tree: Any, arrays: list[Any]) -> Any:
    """Returns the arguments with their arrays again."""
    rest = iter(arrays)
    is_leaf = lambda leaf: isinstance(leaf, Scope)  # noqa: E731
    return jax.tree.map(lambda leaf: next(rest) if leaf is _Given else leaf, tree, is_leaf=is_leaf)


def divided(scope: Scope, shared: str | None, size: Any) -> Divided:
    """Returns the variables below a scope, without those that no copy can have a slice of: they are of other code."""
    params, own_params = divide(scope, scope._params, shared)
    state, own_state = divide(scope, scope._state, shared)
    own_params, own_state = (
        {name: value for name, value in own.items() if jnp.shape(value)[:1] == (size,)}
        for own in (own_params, own_state)
    )
    return params, own_params, state, own_state, stacked_values(scope, size, shared)


def divide(scope: Scope, tree: Any, shared: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the variables below a scope, by name: the shared ones and the stacked ones."""
    flat = dict(_path.items(tree))
    if shared is None or shared == EVERYTHING:
        return ({}, flat) if shared is None else (flat, {})
    path = whole_path(scope)
    common = {name for name in flat if re.search(shared, _path.join(path, name))}
    return {name: flat[name] for name in flat if name in common}, {n: v for n, v in flat.items() if n not in common}


def joined(*flat: dict[str, Any]) -> dict[str, Any]:
    """Returns flat dicts by name as one nested dict."""
    return _path.nested(item for part in flat for item in part.items())


@contextlib.contextmanager
def restoring(scope: Scope, size: int, shared: str | None) -> Iterator[None]:
    """Adds to an error about variables that do not fit which of `tree.stack` and `unstack` may make them fit."""
    try:
        yield
    except (MissingVariableError, ShapeMismatchError) as error:
        missing = isinstance(error, MissingVariableError)
        others = {name: found for name, found in variable_sizes(scope, shared).items() if found != size}
        # What was left out may be what is missing.
        if missing and others:
            one_size({"this loop": size, **others}, "The loop", scope, shared, cause=error)
        for note in _unrolled_advice(scope) if missing else stacking_advice(scope, size, shared):
            error.add_note(note)
        raise


def stacking_advice(scope: Scope, size: int, shared: str | None) -> list[str]:
    """Returns what to do about the variables of another form of a model: unrolled, stacked or shared."""
    advice = _unrolled_advice(scope)
    if advice or is_collecting(scope):
        return advice
    common, own = divide(scope, scope._params, shared)
    if any(jnp.shape(value)[:1] == (size,) for value in common.values()):
        advice.append(
            "If the params are those of a model that stacks what is shared here, leave `shared=` out; "
            f'`jscope.tree.unstack(params, at="{scope.path}")` gives one copy for each of the {size}.'
        )
    if own:
        advice.append(
            "If the params are those of a model that shares what is stacked here, name them by `shared=`, or "
            f"give each of the {size} a copy: `jscope.tree.stack` of `{{str(i): copy for i in range({size})}}`."
        )
    return advice


def _unrolled_advice(scope: Scope) -> list[str]:
    if is_collecting(scope) or not scope._params or not all(name.isdecimal() for name in scope._params):
        return []
    first = _path.join(scope.path, next(iter(scope._params)))
    fix = f'`jscope.tree.stack(params, at="{scope.path}")`'
    return [f"If the params (`{first}`, ...) are those of the unrolled model: {fix}."]


def variable_sizes(scope: Scope, shared: str | None) -> dict[str, int | None]:
    """Returns the leading size of each stacked variable, by how a message calls it."""
    if is_collecting(scope):
        return {}
    stacked = divide(scope, scope._params, shared)[1] | divide(scope, scope._state, shared)[1]
    named = ((f"variable `{_path.join(scope.path, name)}`", value) for name, value in stacked.items())
    return {what: (*jnp.shape(value), None)[0] for what, value in named}


def one_size(sizes: dict[str, Any], what: str, scope: Scope, shared: str | None, cause: Exception | None = None) -> int:
    """Returns the leading size on which all agree."""
    if len(set(sizes.values())) == 1 and None not in sizes.values():
        return next(iter(sizes.values()))
    found = ", ".join(f"{what}: {'no axis' if size is None else size}" for what, size in list(sizes.items())[:6])
    advice = stacking_advice(scope, next(iter(sizes.values())) or 0, shared)
    raise ShapeMismatchError(
        "\n".join([f"{what} over {scope_at(scope.path)} needs one leading size, but found {found}.", *advice])
    ) from cause


def _iterations(scope: Scope, xs: Any, length: int | None, shared: str | None) -> int:
    """Returns the number of iterations, on which `length`, `xs` and the stacked variables must agree."""
    sizes: dict[str, Any] = {} if length is None else {"length": checked_count(length, "scan", "length", scope)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(xs):
        sizes[f"xs{jax.tree_util.keystr(path)}"] = (*jnp.shape(leaf), None)[0]
    # Where neither tells, the variables do; else those of another size are of other code.
    sizes = sizes or variable_sizes(scope, shared)
    if not sizes:
        raise ShapeMismatchError(
            f"scan over {scope_at(scope.path)} does not know how often to run: give it `xs` or `length`."
        )
    return one_size(sizes, "scan", scope, shared)


def checked_count(number: Any, lift: str, name: str, scope: Scope | None = None) -> int:
    """Returns a number of iterations or copies as an int, after checking that it is one."""
    try:
        count = operator.index(number)
    except TypeError:
        count = -1
    if count < 0:
        # Only here: what a block does is not known to be the same elsewhere if somebody looked at its path.
        where = "" if scope is None else f" over {scope_at(scope.path)}"
        raise InvalidArgumentError(
            f"{lift}{where}: {name}={number!r} must be a Python int, at least 0. "
            "For a number that is computed, use `jscope.while_loop` or `jscope.fori_loop`."
        )
    return count


def check_name(axis: Any, lift: str) -> None:
    """Raises unless a stacked axis has a name or none."""
    if not (axis is None or isinstance(axis, str)):
        raise InvalidArgumentError(
            f"{lift}: axis={axis!r} must be the logical name of the stacked axis, a string, which is always the first."
        )
