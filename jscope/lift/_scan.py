"""Loops over a leading axis: `scan`, `map`, and `layers`, the same block many times.

The variables that the body creates are stacked: copy `i` starts with the value, and draws the random numbers, of the
unrolled variable whose path has `i` as one more part. So a model may be scanned or unrolled, and its
checkpoints move between the two by `jscope.tree.stack` and `unstack`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path, _rng
from jscope._errors import ShapeMismatchError
from jscope._scope import Scope, lifted_view, view
from jscope._spec import StackAxis
from jscope.lift._pure import Effects, commit, explaining, is_collecting, pure, settled

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
    scope = settled(scope)
    size = _size(scope, xs, length, shared)
    loop = {"length": size, "reverse": reverse, "unroll": unroll}
    with explaining(scope, "scan"):
        if is_collecting(scope):
            stack = StackAxis(len(_path.parts(scope.path)), size, axis)
            return jax.lax.scan(lambda c, x: body(lifted_view(scope, stack, shared=shared), c, x), carry, xs, **loop)
        return _scan(pure(body), scope, carry, xs, shared, loop)


def _scan(
    body: Callable[..., Any], scope: Scope, carry: Any, xs: Any, shared: str | None, loop: dict[str, Any]
) -> tuple[Any, Any]:
    (params, own_params), (state, own_state) = (divide(scope, tree, shared) for tree in (scope._params, scope._state))
    index = jnp.arange(loop["length"], dtype=np.uint32) if scope.has_rng else None

    def step(loop: tuple[Any, Any], inputs: tuple[Any, ...]) -> tuple[Any, Any]:
        (carried, carry), (own_params, own_state, x, i) = loop, inputs
        here = view(scope, joined(params, own_params), joined(carried, own_state), anchor=at_index(scope, i))
        (carry, y), effects = body(here, carry, x)
        written = {name: value for name, value in effects.state.items() if name not in own_state}
        stacked = {name: value for name, value in effects.state.items() if name in own_state}
        return ({**carried, **written}, carry), (y, Effects(stacked, effects.sown))

    loop_in = (state, carry), (own_params, own_state, xs, index)
    (carried, carry), (ys, effects) = jax.lax.scan(step, *loop_in, **loop)
    commit(scope, Effects({**carried, **effects.state}, effects.sown))
    return carry, ys


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


def at_index(scope: Scope, index: Any) -> _rng.Anchor | None:
    """Returns the place of one copy of `scope`: its path with `index` as one more part."""
    if index is None:
        return None
    lanes, salt = scope.place()
    return _rng.anchor(scope.path, _rng.extend(lanes, (index,)), salt)


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


def _size(scope: Scope, xs: Any, length: int | None, shared: str | None) -> int:
    """Returns the number of iterations, on which `length`, `xs` and the stacked variables must agree."""
    sizes = {} if length is None else {"length": int(length)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(xs):
        sizes[f"xs{jax.tree_util.keystr(path)}"] = jnp.shape(leaf)[0]
    if not is_collecting(scope):
        stacked = divide(scope, scope._params, shared)[1] | divide(scope, scope._state, shared)[1]
        for name, value in stacked.items():
            sizes[f"variable `{_path.join(scope.path, name)}`"] = (*jnp.shape(value), None)[0]
    if len(set(sizes.values())) == 1 and None not in sizes.values():
        return next(iter(sizes.values()))
    if not sizes:
        raise ShapeMismatchError(f"scan over `{scope.path}` does not know how often to run: give it `xs` or `length`.")
    found = ", ".join(f"{what}: {size}" for what, size in list(sizes.items())[:6])
    raise ShapeMismatchError(
        f"scan over `{scope.path}` runs once per leading index, but these disagree on how many there are: {found}."
        + _stacking_advice(scope)
    )


def _stacking_advice(scope: Scope) -> str:
    if not all(name.isdecimal() for name in scope._params):
        return "\nVariables that all iterations share must be named by `shared=`."
    return (
        f"\nThe params are those of the unrolled model (`{_path.join(scope.path, next(iter(scope._params), '0'))}`, "
        f'...): stack them with `jscope.tree.stack(params, at="{scope.path}")`.'
    )
