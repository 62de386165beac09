"""Loops over a leading axis: `scan`, `map`, and `layers`, the same block many times.

The variables that the body creates are stacked: copy `i` starts with the value, and draws the random numbers, of the
unrolled variable whose path has `i` as one more part. So a model may be scanned or unrolled, and its
checkpoints move between the two by `jscope.tree.stack` and `unstack`.
"""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._scope import Scope
from jscope._spec import StackAxis
from jscope._uses import indexed
from jscope._util import _text
from jscope._util._text import scope_at
from jscope.errors import InvalidArgumentError, MissingVariableError, ShapeMismatchError
from jscope.lift._pure import commit, explaining, is_collecting, pure, with_values
from jscope.lift._slices import placeholder_slices, stacked_values, with_slices
from jscope.lift._view import at_index, copies, lifted_view, view

EVERYTHING = ""


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
      axis: A logical name for the stacked axis, put before the `axes` of stacked variables.

    Returns:
      The last carry, and the `y`s stacked.

    Raises:
      ShapeMismatchError: `xs`, `length` and the stacked variables disagree on the number of iterations.
    """
    _text.pattern(shared or "", "shared=")
    scope = with_values(scope)
    size = _iterations(scope, xs, length, shared)
    loop = {"length": size, "reverse": reverse, "unroll": unroll}
    with explaining(scope, "scan"), restoring(scope, size, shared):
        if is_collecting(scope):
            stack = StackAxis(len(_path.parts(scope.path)), size, axis)
            one = with_slices(scope, placeholder_slices(stacked_values(scope, size, shared)))
            collected = lambda c, x: _pair(scope, body(lifted_view(one, stack, shared=shared), c, x))  # noqa: E731
            return jax.lax.scan(collected, carry, xs, **loop)
        return _scan(pure(body), scope, carry, xs, shared, loop)


def _scan(
    body: Callable[..., Any], scope: Scope, carry: Any, xs: Any, shared: str | None, loop: dict[str, Any]
) -> tuple[Any, Any]:
    (params, own_params), (state, own_state) = (divide(scope, tree, shared) for tree in (scope._params, scope._state))
    index = jnp.arange(loop["length"], dtype=np.uint32) if scope.has_rng else None
    copied, values = copies(scope, tells=True), stacked_values(scope, loop["length"], shared)

    def step(loop: tuple[Any, Any], inputs: tuple[Any, ...]) -> tuple[Any, Any]:
        (carried, carry), (own_params, own_state, own_values, x, i) = loop, inputs
        variables = joined(params, own_params), joined(carried, own_state)
        here = view(with_slices(scope, own_values), *variables, carried=copied.carried, anchor=at_index(scope, i))
        out, effects = body(here, carry, x)
        carry, y = _pair(scope, out)
        written = {name: value for name, value in effects.state.items() if name not in own_state}
        stacked = {name: value for name, value in effects.state.items() if name in own_state}
        return ({**carried, **written}, carry), (y, replace(effects, state=stacked))

    loop_in = (state, carry), (own_params, own_state, values, xs, index)
    (carried, carry), (ys, effects) = jax.lax.scan(step, *loop_in, **loop)
    uses = indexed(effects.uses, copied.number)
    commit(scope, replace(effects, state={**carried, **effects.state}, uses=uses))
    return carry, ys


def _pair(scope: Scope, out: Any) -> tuple[Any, Any]:
    if not isinstance(out, tuple | list) or len(out) != 2:
        raise InvalidArgumentError(
            f"The body of a scan over {scope_at(scope.path)} must return a pair `(carry, y)`, not {out!r}."
        )
    return out[0], out[1]


def map(function: Callable[..., Any], scope: Scope, xs: Any, *, shared: str | None = EVERYTHING) -> Any:
    """Runs `function(scope, x)` for each slice of `xs`, one after the other: `jax.lax.map` for scoped functions.

    Variables are shared, unless `shared` is None (all stacked) or a regex for those that are. State is
    carried from one to the next; each has random keys of its own.
    """
    return scan(lambda s, _, x: (None, function(s, x)), scope, None, xs, shared=shared)[1]


def layers(
    body: Callable[..., Any], n: int, *, scanned: bool = True, unroll: int | bool = 1, axis: str | None = None
) -> Callable[..., Any]:
    """Returns `(scope, x, *args) -> x` that runs `x = body(scope, x, *args)` `n` times, with variables of its own each.

    Scanned, it compiles in constant time, and variables are stacked; unrolled, they stand under `"0"`, `"1"`, ... The
    numbers are the same; `jscope.tree.unstack(params, at=path)` takes the params of the one to the other.
    """

    def scanned_layers(scope: Scope, x: Any, /, *args: Any) -> Any:
        return scan(lambda s, x, _: (body(s, x, *args), None), scope, x, length=n, unroll=unroll, axis=axis)[0]

    def unrolled_layers(scope: Scope, x: Any, /, *args: Any) -> Any:
        for i in range(n):
            x = body(scope / str(i), x, *args)
        return x

    return scanned_layers if scanned else unrolled_layers


def divide(scope: Scope, tree: Any, shared: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the variables below a scope, by name: the shared ones and the stacked ones."""
    flat = dict(_path.items(tree))
    if shared is None:
        return {}, flat
    common = {name for name in flat if re.search(shared, _path.join(scope.path, name))}
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


def one_size(sizes: dict[str, Any], what: str, scope: Scope, shared: str | None) -> int:
    """Returns the leading size on which all agree."""
    if len(set(sizes.values())) == 1 and None not in sizes.values():
        return next(iter(sizes.values()))
    found = ", ".join(f"{what}: {'no axis' if size is None else size}" for what, size in list(sizes.items())[:6])
    advice = stacking_advice(scope, next(iter(sizes.values())) or 0, shared)
    raise ShapeMismatchError(
        "\n".join([f"{what} over {scope_at(scope.path)} needs one leading size, but found {found}.", *advice])
    )


def _iterations(scope: Scope, xs: Any, length: int | None, shared: str | None) -> int:
    """Returns the number of iterations, on which `length`, `xs` and the stacked variables must agree."""
    sizes: dict[str, Any] = {} if length is None else {"length": _checked_length(scope, length)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(xs):
        sizes[f"xs{jax.tree_util.keystr(path)}"] = (*jnp.shape(leaf), None)[0]
    sizes |= variable_sizes(scope, shared)
    if not sizes:
        raise ShapeMismatchError(
            f"scan over {scope_at(scope.path)} does not know how often to run: give it `xs` or `length`."
        )
    return one_size(sizes, "scan", scope, shared)


def _checked_length(scope: Scope, length: Any) -> int:
    try:
        number = operator.index(length)
    except TypeError:
        number = -1
    if number < 0:
        raise InvalidArgumentError(
            f"scan over {scope_at(scope.path)}: length={length!r} must be a Python int, at least 0. "
            "For a number that is computed, use `jscope.while_loop` or `jscope.fori_loop`."
        )
    return number
