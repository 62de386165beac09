"""Where activations go, by the same names and rules as variables.

A layer names the axes of what it computes, and knows neither mesh nor rules. The mesh is JAX's ambient one
(`jax.set_mesh`); the rules are given, or ambient too: `with jscope.sharding.using(rules):`. They are ambient in a way
that JAX's caches can see (`jax.make_user_context`), so what was traced under other rules is traced anew.

Over *Auto* mesh axes, the compiler decides where everything goes, and `constrain` tells it. Over *Explicit* ones,
shardings are part of types: `constrain` moves, and `out_sharding` answers where JAX asks. A layer that says both runs
over either; where there is no mesh or no rules, both do nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec

from jscope._types import Axes
from jscope.sharding._rules import AnyMesh, Rules, axes_for, checked_rules, entry

_ambient = jax.make_user_context(None)


@contextlib.contextmanager
def using(rules: Rules) -> Iterator[Rules]:
    """Makes `rules` those of every `constrain` and `out_sharding` inside that is given none.

    >>> with using(jscope.sharding.fsdp()):
    ...     y = jscope.sharding.constrain(jnp.zeros((8, 4)), ("batch", None))  # No mesh here: nothing happens.
    """
    with _ambient(checked_rules(rules)):
        yield rules


def constrain(x: jax.Array, axes: Axes, rules: Rules | None = None) -> jax.Array:
    """Returns `x`, split over the ambient mesh as the rules say for axes of these names.

    >>> mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    >>> with jax.set_mesh(mesh), using(jscope.sharding.tensor_parallel()):
    ...     y = jax.jit(lambda x: constrain(x, ("batch", "mlp")))(jnp.zeros((8, 4)))
    >>> y.sharding.spec == jax.sharding.PartitionSpec("data", "model")
    True

    An axis without a name, or whose rule is None, is whole on every device afterwards. Over *Manual* mesh axes (inside
    `jax.shard_map`) nothing happens.

    Args:
      x: An array.
      axes: A logical name, or None, for each of its axes.
      rules: What goes where; those of `using` if None.

    Raises:
      ShardingError: The array does not go where the rules say; see `Rules`.
    """
    mesh, rules = jax.sharding.get_abstract_mesh(), _current(rules)
    if mesh.empty or rules is None:
        return x
    shape = jax.numpy.shape(x)
    placed = rules.place(axes, mesh, shape, f"an array of shape {shape}")
    explicit, auto = (_only(placed, mesh, kind) for kind in (AxisType.Explicit, AxisType.Auto))
    if AxisType.Explicit in mesh.axis_types:
        x = jax.sharding.reshard(x, PartitionSpec(*explicit))
        # What is split over explicit axes alone is settled.
        auto = [PartitionSpec.UNCONSTRAINED if e and not a else a for e, a in zip(explicit, auto, strict=True)]
    if AxisType.Auto in mesh.axis_types:
        x = jax.lax.with_sharding_constraint(x, PartitionSpec(*auto))
    return x


def out_sharding(axes: Axes, rules: Rules | None = None) -> PartitionSpec | None:
    """Returns what `jnp.dot`, `jnp.einsum` and others take as `out_sharding`, for a result with axes of these names.

    They need it where an axis that is summed over is split over an *Explicit* mesh axis: the result may then be whole,
    or split anew. None where there is nothing to say: no rules, no mesh, no Explicit axis.

    >>> x, w = jnp.ones((8, 4)), jnp.ones((4, 2))
    >>> y = jnp.dot(x, w, out_sharding=out_sharding(("batch", None)))

    Args:
      axes: A logical name, or None, for each axis of the result.
      rules: What goes where; those of `using` if None.
    """
    mesh, rules = jax.sharding.get_abstract_mesh(), _current(rules)
    if rules is None or AxisType.Explicit not in mesh.axis_types:
        return None
    return PartitionSpec(*_only(rules.place(axes, mesh, None, "a result"), mesh, AxisType.Explicit))


@dataclass(frozen=True, slots=True)
class Gathered:
    """A custom getter: variables are stored by one set of rules and computed with by another.

    With `scope.with_defaults(custom_getter=Gathered(tensor_parallel()))`, variables that are stored under
    `tensor_parallel() | fsdp()` are put together over the data axis where they are read, a layer at a time, and their
    gradients are summed and split again on the way back: fully sharded data parallelism as it is meant. Over Auto axes
    the compiler may find this out by itself; over Explicit ones it must be said.

    Variables are known by the `axes` of their `get_variable` call, or by path rules; others are read whole.
    """

    rules: Rules

    @property
    def ignores_path(self) -> bool:
        """Whether it does the same at any path, so that `jscope.jit` may share compiled functions between paths."""
        return not self.rules.paths

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        """Returns the variable, constrained."""
        value = getter(name, **options)
        return constrain(value, axes_for(name, self.rules, options.get("axes"), jax.numpy.ndim(value)), self.rules)


def _only(placed: list[tuple[str, ...]], mesh: AnyMesh, kind: AxisType) -> list[Any]:
    """Returns the entries of a `PartitionSpec` that speaks of the mesh axes of one kind."""
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    return [entry(tuple(axis for axis in axes if kinds[axis] == kind)) for axes in placed]


def _current(rules: Rules | None) -> Rules | None:
    return _ambient.value if rules is None else checked_rules(rules)
