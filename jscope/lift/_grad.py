"""Derivatives with respect to variables: `grad`, `value_and_grad`, `vjp`, `jvp`.

`wrt` is a regex for the paths of the params to differentiate by (`""`: all under the scope). Derivatives come as a
nested dict by name below the scope. Nothing is differentiated by the random key; state is threaded.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._scope import Scope
from jscope._util import _text
from jscope._util._text import scope_at
from jscope.errors import DTypeMismatchError, InvalidArgumentError, MissingVariableError
from jscope.lift._pure import commit, explaining, is_collecting, pure, with_values
from jscope.lift._scan import joined
from jscope.lift._view import lifted_view, view, whole_path


def value_and_grad(
    function: Callable[..., Any],
    wrt: str | None = "",
    *,
    argnums: int | tuple[int, ...] = (),
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Returns `(scope, *args, **kwargs) -> (value, grads)`: `jax.value_and_grad` with respect to variables.

    >>> import jax, jax.numpy as jnp, jscope
    >>> def loss(scope, x):
    ...     return (x * scope.get_variable("w", (), initializer=jscope.initializers.ones)) ** 2
    >>> value, grads = jscope.apply(jscope.value_and_grad(loss), {"w": jnp.asarray(2.0)}, 3.0)
    >>> float(value), float(grads["w"])
    (36.0, 36.0)

    Args:
      function: A function of a scope that returns a scalar, or `(scalar, aux)` with `has_aux`.
      wrt: A regex for the paths of params; None for no variables.
      argnums: Arguments to differentiate by as well; the first after the scope is 1. As in `jax.grad`, one number gives
        one gradient, a tuple gives a tuple.
      has_aux: Whether `function` returns more than the scalar.

    Returns:
      `(value, grads)`, or `((value, aux), grads)`. `grads` is a nested dict of params; with `argnums` it is
      `(params, arguments)`; only those of the arguments if `wrt` is None.

    Raises:
      DTypeMismatchError: A variable that `wrt` selects is not of a floating-point or complex dtype.
      MissingVariableError: `wrt` selects no param.
    """

    @functools.wraps(function)
    def lifted(scope: Scope, /, *args: Any, **kwargs: Any) -> Any:
        scope = with_values(scope)
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        by_args = tuple(args[n - 1] for n in _checked_argnums(scope, numbers, len(args)))
        # Collecting finds out which params there are, so it cannot differentiate by them; zeros have their structure.
        if is_collecting(scope):
            out = function(lifted_view(scope), *args, **kwargs)
            _check_aux(scope, out, has_aux)
            return out, _shaped(_zero_grads(scope, wrt), jax.tree.map(jnp.zeros_like, by_args), wrt, argnums)
        chosen, rest = _chosen(scope, wrt)

        # Everything else of the scope is closed over: a random key as an argument would have to be left out.
        def value(chosen: dict[str, Any], by_args: tuple[Any, ...]) -> Any:
            given = list(args)
            for n, arg in zip(numbers, by_args, strict=True):
                given[n - 1] = arg
            out, effects = pure(function)(view(scope, joined(rest, chosen), scope._state), *given, **kwargs)
            _check_aux(scope, out, has_aux)
            # The output goes along as auxiliary data: with `has_aux`, it is more than the value.
            return (out[0], (out, effects)) if has_aux else (out, (out, effects))

        with explaining(scope, "value_and_grad", function):
            (_, (out, effects)), grads = jax.value_and_grad(value, (0, 1), has_aux=True)(chosen, by_args)
        commit(scope, effects)
        return out, _shaped(joined(grads[0]), grads[1], wrt, argnums)

    return lifted


def grad(
    function: Callable[..., Any], wrt: str | None = "", *, argnums: int | tuple[int, ...] = (), has_aux: bool = False
) -> Callable[..., Any]:
    """Returns `(scope, *args) -> grads`, or `(grads, aux)`: `jax.grad` with respect to variables.

    >>> slope = jscope.grad(lambda scope, x: x * scope.get_variable("w") ** 2)
    >>> jscope.apply(slope, {"w": jnp.float32(3)}, 2.0)["w"].item()
    12.0

    See `value_and_grad`.
    """
    both = value_and_grad(function, wrt, argnums=argnums, has_aux=has_aux)

    @functools.wraps(function)
    def lifted(scope: Scope, /, *args: Any, **kwargs: Any) -> Any:
        out, grads = both(scope, *args, **kwargs)
        return (grads, out[1]) if has_aux else grads

    return lifted


def vjp(
    function: Callable[..., Any], scope: Scope, *args: Any, wrt: str | None = "", **kwargs: Any
) -> tuple[Any, Callable[..., Any]]:
    """Returns `function(scope, *args)` and its pullback: `jax.vjp` with respect to variables and arguments.

    The pullback takes a cotangent of the output and gives `(params, *arguments)`, params as a nested dict. It is a
    pytree, as that of JAX is: it may leave `jax.jit`, enter `cond`, or be a residual. Keywords are passed on.

    >>> import jax.numpy as jnp, jscope
    >>> def model(scope, x):
    ...     out, pullback = jscope.vjp(lambda s, x: x * s.get_variable("w"), scope, x)
    ...     return pullback(jnp.ones_like(out))
    >>> grads, dx = jscope.apply(model, {"w": jnp.asarray(2.0)}, jnp.asarray(3.0))
    >>> float(grads["w"]), float(dx)
    (3.0, 2.0)
    """
    scope = with_values(scope)
    if is_collecting(scope):
        out = function(lifted_view(scope), *args, **kwargs)
        zeros = (_zero_grads(scope, wrt), *jax.tree.map(_zero_tangent, args))
        return out, jax.tree_util.Partial(_zeros, zeros)
    chosen, rest = _chosen(scope, wrt)

    def value(chosen: dict[str, Any], *args: Any) -> Any:
        return pure(function)(view(scope, joined(rest, chosen), scope._state), *args, **kwargs)

    with explaining(scope, "vjp", function):
        out, pullback, effects = jax.vjp(value, chosen, *args, has_aux=True)
    commit(scope, effects)

    return out, jax.tree_util.Partial(_pulled, pullback)


def _pulled(pullback: Callable[..., Any], cotangent: Any) -> tuple[Any, ...]:
    grads, *by_args = pullback(cotangent)
    return joined(grads), *by_args


def _zeros(zeros: tuple[Any, ...], cotangent: Any) -> tuple[Any, ...]:
    return zeros


def jvp(
    function: Callable[..., Any], scope: Scope, args: tuple[Any, ...], tangents: tuple[Any, ...], variables: Any = None
) -> tuple[Any, Any]:
    """Returns `function(scope, *args)` and its tangent: `jax.jvp` with respect to variables and arguments.

    >>> def model(scope, x):
    ...     return jscope.jvp(lambda scope, x: x * scope.get_variable("w"), scope, (x,), (1.0,), {"w": 1.0})
    >>> [each.item() for each in jscope.apply(model, {"w": 2.0}, 3.0)]
    [6.0, 5.0]

    `variables` is a nested dict of tangents by name below the scope; variables that it leaves out have none.
    """
    scope = with_values(scope)
    if is_collecting(scope):
        out = function(lifted_view(scope), *args)
        return out, jax.tree.map(_zero_tangent, out)
    moving = dict(_path.items(variables or {}))
    params = dict(_path.items(scope._params))
    unknown = [name for name in moving if name not in params]
    if unknown:
        raise MissingVariableError(
            f"jvp over {scope_at(scope.path)}: tangents are given for {unknown}, which are not params."
        )
    chosen = {name: params.pop(name) for name in moving}

    def value(chosen: dict[str, Any], *args: Any) -> Any:
        return pure(function)(view(scope, joined(params, chosen), scope._state), *args)

    with explaining(scope, "jvp", function):
        out, tangent, effects = jax.jvp(value, (chosen, *args), (moving, *tangents), has_aux=True)
    commit(scope, effects)
    return out, tangent


def _check_aux(scope: Scope, out: Any, has_aux: bool) -> None:
    if has_aux and not (isinstance(out, tuple | list) and len(out) == 2):
        raise InvalidArgumentError(
            f"value_and_grad over {scope_at(scope.path)} with has_aux=True needs a function that returns a pair "
            f"`(value, aux)`, not {out!r}."
        )


def _chosen(scope: Scope, wrt: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the params below a scope, by name: those to differentiate by and the rest."""
    flat = dict(_path.items(scope._params))
    chosen = _select(scope, flat, wrt)
    return chosen, {name: value for name, value in flat.items() if name not in chosen}


def _select(scope: Scope, params: dict[str, Any], wrt: str | None) -> dict[str, Any]:
    """Returns the params that `wrt` selects, after checking that there are derivatives by them."""
    if wrt is None:
        return {}
    _text.pattern(wrt, "wrt=")
    path = whole_path(scope)
    chosen = {name: value for name, value in params.items() if re.search(wrt, _path.join(path, name))}
    if not chosen:
        names = ", ".join(f"`{_path.join(scope.path, name)}`" for name in list(params)[:8])
        raise MissingVariableError(f"wrt={wrt!r} selects no param of {scope_at(scope.path)}. It has {names or 'none'}.")
    for name, value in chosen.items():
        if not jnp.issubdtype(jnp.result_type(value), jnp.inexact):
            raise DTypeMismatchError(
                f"`{_path.join(scope.path, name)}` has dtype {jnp.result_type(value)}; "
                "derivatives need floating point.\n"
                "Leave it out by a narrower `wrt=`, or make it state with `trainable=False`."
            )
    return chosen


def _zero_grads(scope: Scope, wrt: str | None) -> dict[str, Any]:
    """Returns placeholders for the gradients of the params that were just collected."""
    frame = scope._frame()
    assert frame is not None
    found = {}
    for path, spec in frame.specs.items():
        name = _path.relative(path, scope._path)
        if name and spec.trainable:
            # A spec has the axes of the lifts around, of which the body sees none.
            found[name] = frame.placeholder(spec, spec.shape[len(scope._context.stack_of(path)) :])
    return joined(_select(scope, found, wrt))


def _zero_tangent(value: Any) -> Any:
    """Returns a zero of the dtype that JAX gives tangents of `value`: `float0` for an int or a bool."""
    if jnp.issubdtype(jnp.result_type(value), jnp.inexact):
        return jnp.zeros_like(value)
    return np.zeros(jnp.shape(value), jax.dtypes.float0)


def _shaped(variables: Any, by_args: tuple[Any, ...], wrt: str | None, argnums: int | tuple[int, ...]) -> Any:
    if isinstance(argnums, int):
        by_args = by_args[0]
    if wrt is None:
        return by_args
    return variables if argnums == () else (variables, by_args)


def _checked_argnums(scope: Scope, argnums: tuple[int, ...], count: int) -> tuple[int, ...]:
    # 0 is the scope, and a negative number could reach it.
    for n in argnums:
        if not 1 <= n <= count:
            raise InvalidArgumentError(
                f"argnums={n} over {scope_at(scope.path)}: the arguments after the scope are 1 to {count}. "
                "For variables, use `wrt`."
            )
    return argnums
