"""Compiling and placing: `remat`, `jit`, `shard_map`. Names stay what they are; state is threaded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from jscope._scope import Scope
from jscope.lift._anywhere import anywhere, placed
from jscope.lift._kept import Body, body_of, giving, keeping, may_share
from jscope.lift._once import once
from jscope.lift._pure import commit, explaining, pure, run_pure, with_values


def remat(
    function: Callable[..., Any],
    *,
    policy: Callable[..., bool] | None = None,
    prevent_cse: bool = True,
    static_argnums: int | tuple[int, ...] = (),
) -> Callable[..., Any]:
    """Returns `function(scope, *args)` that recomputes in the backward pass: `jax.checkpoint` for scoped functions.

    Its variables, value and gradient are those of `function`. `static_argnums` counts the scope as 0.

    >>> import jax, jax.numpy as jnp, jscope
    >>> def layer(scope, x):
    ...     return jnp.sin(x * scope.get_variable("w", ()))
    >>> jscope.tree.names(jscope.init(jscope.remat(layer), jax.random.key(0), 1.0))
    ['w']
    """
    own = pure(function)

    def run(scope: Scope, /, *args: Any, **kwargs: Any) -> Any:
        with keeping(scope) as keep:
            # JAX keeps static arguments as long as the function.
            body = own if static_argnums else keep(function, run_pure, False)
            recomputed = jax.checkpoint(body, policy=policy, prevent_cse=prevent_cse, static_argnums=static_argnums)
            return recomputed(scope, *args, **kwargs)

    return _finished("remat", function, once(function, ("remat", static_argnums), run, traced=not static_argnums))


def jit(
    function: Callable[..., Any],
    *,
    static_argnums: int | tuple[int, ...] = (),
    static_argnames: str | tuple[str, ...] = (),
    donate_argnums: int | tuple[int, ...] = (),
) -> Callable[..., Any]:
    """Returns `function(scope, *args)` compiled on its own: `jax.jit` for scoped functions.

    In `apply`, paths inside start at the boundary, and what depends on the path is an argument: so 48 equal layers
    share one trace, one lowering and one compiled function. (A custom getter that looks at paths switches
    this off.) `static_argnums` and `donate_argnums` count the scope as 0.

    >>> import jax, jax.numpy as jnp, jscope
    >>> traces = []
    >>> @jscope.jit
    ... def layer(scope, x):
    ...     traces.append(scope.path)
    ...     return x * scope.get_variable("w")
    >>> def model(scope, x):
    ...     return layer(scope / "b", layer(scope / "a", x))
    >>> float(jscope.apply(model, {"a": {"w": 2.0}, "b": {"w": 3.0}}, 1.0)), traces
    (6.0, [''])
    """
    given: dict[str, Any] = {
        "static_argnums": static_argnums,
        "static_argnames": static_argnames,
        "donate_argnums": donate_argnums,
    }
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    traced = not (static_argnums or static_argnames)
    run = once(function, ("jit", *options.values()), _compiling(function, options), traced=traced)
    return _finished("jit", function, run)


def _compiling(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """Returns what runs a compiled function: one for all that are made of the same parts, wherever that may be."""
    # JAX keeps static arguments as long as the function.
    static = options["static_argnums"] or options["static_argnames"]
    body = None if static else body_of(function, run_pure, False)
    if body is None:
        return jax.jit(pure(function), **options)
    shared, own = _shared(body, options["donate_argnums"]), []

    def run(scope: Scope, /, *args: Any, **kwargs: Any) -> Any:
        if may_share(scope):
            with giving({shared.__wrapped__: function}):
                return shared(scope, *args, **kwargs)
        # Made when it is needed, which takes as long as a call, and kept for the next one.
        own[:] = own or [jax.jit(pure(function), **options)]
        return own[0](scope, *args, **kwargs)

    return run


@functools.lru_cache(maxsize=512)
def _shared(body: Body, donate_argnums: int | tuple[int, ...]) -> Any:
    return jax.jit(body, donate_argnums=donate_argnums)


def shard_map(
    function: Callable[..., Any],
    *,
    mesh: Any = None,
    in_specs: Any,
    out_specs: Any,
    variables: Any = None,
    **options: Any,
) -> Callable[..., Any]:
    """Returns `function(scope, *args)` run on the shards of its arguments: `jax.shard_map` for scoped functions.

    >>> mesh, rows = jax.sharding.Mesh(jax.devices()[:1], ("data",)), jax.P("data")
    >>> def scaled(scope, x):
    ...     return x * scope.get_variable("w")
    >>> split = jscope.shard_map(scaled, mesh=mesh, in_specs=(rows,), out_specs=rows)
    >>> jscope.apply(split, {"w": jnp.float32(2)}, jnp.arange(3.0)).tolist()
    [0.0, 2.0, 4.0]

    Args:
      function: A function of a scope and arrays.
      mesh: As in `jax.shard_map`.
      in_specs: A tuple with a `PartitionSpec` (or a tree of them) for each argument after the scope.
      out_specs: Of the output.
      variables: A `PartitionSpec` for all variables; by default each device sees them whole. State that is written must
        come out the same on all devices (averaged by `lax.pmean`, say).
      **options: Others of `jax.shard_map`, such as `axis_names` and `check_vma`.
    """
    # Effects come out whole: there is one value of each variable to commit, not one for each device.
    whole = jax.sharding.PartitionSpec()
    specs = {"in_specs": (variables or whole, *in_specs), "out_specs": (out_specs, whole)}
    if mesh is not None:
        specs["mesh"] = mesh
    return _finished("shard_map", function, jax.shard_map(pure(function), **specs, **options))


def _finished(lift: str, function: Callable[..., Any], run: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the lifted function: crosses with `run`, commits, returns the output."""

    @functools.wraps(function)
    def lifted(scope: Scope, /, *args: Any, **kwargs: Any) -> Any:
        # The note names the path that the caller knows, so it goes by the scope out here.
        scope = with_values(scope)
        with explaining(scope, lift, function):
            crossed = lambda scope: run(scope, *args, **kwargs)  # noqa: E731
            at_its_place = lift == "shard_map"
            out, effects = crossed(placed(scope)) if at_its_place else anywhere(lift, [function], crossed, scope)
        commit(scope, effects)
        return out

    return lifted
