"""Backward passes of one's own: `custom_vjp` for functions of a scope."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from jscope import _path
from jscope._scope import Scope
from jscope._uses import NOTHING, Carried
from jscope._util._text import scope_at
from jscope.errors import InvalidArgumentError, MissingVariableError
from jscope.lift._pure import commit, explaining, is_collecting, pure, with_values
from jscope.lift._scan import joined
from jscope.lift._view import lifted_view, view


class custom_vjp:
    """A function of a scope with a backward pass of its own: `jax.custom_vjp` for scoped functions.

    `defvjp(forward, backward)`: `forward(scope, *args) -> (out, residuals)`, and `backward(residuals, cotangent) ->
    (params, *arguments)`, where `params` is a nested dict by name below the scope; what it leaves out has no gradient.
    Arguments that `nondiff_argnums` names (the scope is 0) are static: they need not be arrays, `backward` gets them
    first, and gives no gradient for them.

    >>> import jax, jax.numpy as jnp, jscope
    >>> @jscope.custom_vjp
    ... def scale(scope, x):
    ...     return x * scope.get_variable("w", ())
    >>> scale.defvjp(lambda s, x: (scale.function(s, x), x), lambda x, ct: ({"w": 10.0 * ct * x}, ct))
    >>> grads = jax.grad(lambda params: jscope.apply(scale, params, 3.0))({"w": jnp.asarray(2.0)})
    >>> float(grads["w"])
    30.0
    """

    def __init__(self, function: Callable[..., Any], *, nondiff_argnums: int | tuple[int, ...] = ()) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.nondiff_argnums = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        self._rules: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Sets the forward and the backward pass."""
        self._rules = forward, backward

    def __call__(self, scope: Scope, /, *args: Any, **kwargs: Any) -> Any:
        if self._rules is None:
            raise InvalidArgumentError(
                "A custom_vjp needs its rules before it is called: `f.defvjp(forward, backward)`."
            )
        scope = with_values(scope)
        if kwargs:
            # The backward pass gives a gradient for each argument, so all of them need a place in order.
            bound = inspect.signature(self.function).bind(scope, *args, **kwargs)
            bound.apply_defaults()
            args = bound.args[1:]
        if is_collecting(scope):
            return self.function(lifted_view(scope), *args)
        drawn: list[Carried] = []
        run = self._crossing(scope, args, drawn)
        with explaining(scope, "custom_vjp", self.function):
            out, effects = run(scope._params, *self._split(args)[1])
        commit(scope, replace(effects, uses=drawn[-1]))
        return out

    def _split(self, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Returns the arguments that are static and those that are differentiated."""
        static = tuple(arg for n, arg in enumerate(args, 1) if n in self.nondiff_argnums)
        return static, tuple(arg for n, arg in enumerate(args, 1) if n not in self.nondiff_argnums)

    def _crossing(self, scope: Scope, args: tuple[Any, ...], drawn: list[Carried]) -> Callable[..., Any]:
        """Returns the function of params and arguments that JAX differentiates by these rules."""
        assert self._rules is not None
        # To look at the path ends a block that runs for many places: rules may run when it is over, and look as well.
        (forward, backward), where, static = self._rules, scope_at(scope.path), self._split(args)[0]
        # JAX flattens arguments once more inside, by which a scope would be given up: its leaves go there one by one.
        leaves, treedef = jax.tree.flatten(view(scope, {}, scope._state))
        numbers = range(1, len(args) + 1)

        def told(function: Callable[..., Any], params: Any, leaves: Any, by_args: tuple[Any, ...]) -> Any:
            given, fixed = iter(by_args), iter(static)
            inside = jax.tree.unflatten(treedef, leaves)
            here = view(inside, params, inside._state)
            all_args = (next(fixed if n in self.nondiff_argnums else given) for n in numbers)
            out, effects = pure(function)(here, *all_args)
            # JAX runs one pass or the other, and wants both to agree in structure; they need not draw the same keys.
            drawn.append(effects.uses)
            return out, replace(effects, uses=NOTHING)

        # Params stand beside the scope, since their cotangents come from `backward`, and the rest of it has none.
        @jax.custom_vjp
        def run(params: Any, leaves: Any, by_args: tuple[Any, ...]) -> Any:
            return told(self.function, params, leaves, by_args)

        def fwd(params: Any, leaves: Any, by_args: tuple[Any, ...]) -> Any:
            (out, residuals), effects = told(forward, params, leaves, by_args)
            # `_completed` needs the params for the shapes of its zeros.
            return (out, effects), (residuals, params)

        def bwd(saved: Any, cotangents: Any) -> Any:
            # Runs when the call is over, so it may hold no scope.
            residuals, params = saved
            # The other cotangent is that of what was written, of which the user's rule does not know.
            grads, *by_args = backward(*static, residuals, cotangents[0])
            return _completed(where, grads, params), None, tuple(by_args)

        run.defvjp(fwd, bwd)
        return lambda params, *by_args: run(params, leaves, by_args)


def _completed(where: str, grads: Any, params: Any) -> dict[str, Any]:
    """Returns the gradients that a backward pass gave, with zeros for the params it left out."""
    given = dict(_path.items(grads))
    known = dict(_path.items(params))
    if unknown := given.keys() - known:
        raise MissingVariableError(
            f"The backward pass over {where} gives gradients of {sorted(unknown)}, but the params are {sorted(known)}."
        )
    return joined({name: given[name] if name in given else jnp.zeros_like(value) for name, value in known.items()})
