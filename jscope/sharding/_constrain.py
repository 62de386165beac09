"""Activations are sharded by the same names and rules as variables.

A layer names the axes of what it computes; it knows neither the mesh nor the rules. The mesh is JAX's ambient one
(`jax.set_mesh`). The rules are an argument, or ambient too: `with jscope.sharding.using(rules):`. JAX's caches can see
the ambient rules (`jax.make_user_context`), so what was traced under other rules is traced anew.

Over *Auto* mesh axes, the compiler decides where everything goes, and `constrain` is an instruction to it. Over
*Explicit* ones, shardings are part of types: `constrain` moves the array, and `out_sharding` is the answer where JAX
asks for one. A layer that uses both runs over either kind; where there is no mesh or no rules, both do nothing.
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

# Not a `ContextVar`, which JAX's caches would not see: they would return what was traced under other rules.
_ambient = jax.make_user_context(None)


@contextlib.contextmanager
def using(rules: Rules) -> Iterator[Rules]:
    """Gives `rules` to every `constrain` and `out_sharding` inside that has none of its own.

    >>> with using(jscope.sharding.fsdp()):
    ...     y = jscope.sharding.constrain(jnp.zeros((8, 4)), ("batch", None))  # No mesh here: nothing happens.

    Raises:
      InvalidArgumentError: `rules` are not `Rules`.
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

    Afterwards, an axis that has no name, or whose rule is None, is whole on every device. Over *Manual* mesh axes
    (inside `jax.shard_map`) nothing happens.

    Args:
      x: An array.
      axes: A logical name, or None, for each of its axes.
      rules: Which name goes where. None takes those of `using`.

    Raises:
      ShardingError: The rules do not fit the array or the mesh; see `Rules`.
    """
    mesh, rules = jax.sharding.get_abstract_mesh(), _current(rules)
    if mesh.empty or rules is None:
        return x
    shape = jax.numpy.shape(x)
    split = rules.split(axes, mesh, shape, f"an array of shape {shape}")
    # A mesh may have axes of both kinds, and JAX takes each kind by a function of its own.
    explicit, auto = (_only(split, mesh, kind) for kind in (AxisType.Explicit, AxisType.Auto))
    if AxisType.Explicit in mesh.axis_types:
        x = jax.sharding.reshard(x, PartitionSpec(*explicit))
        # What is split over explicit axes only is settled, so the compiler is told nothing of it.
        auto = [PartitionSpec.UNCONSTRAINED if e and not a else a for e, a in zip(explicit, auto, strict=True)]
    if AxisType.Auto in mesh.axis_types:
        x = jax.lax.with_sharding_constraint(x, PartitionSpec(*auto))
    return x


def out_sharding(axes: Axes, rules: Rules | None = None) -> PartitionSpec | None:
    """Returns what `jnp.dot`, `jnp.einsum` and others take as `out_sharding`, for a result with axes of these names.

    >>> x, w = jnp.ones((8, 4)), jnp.ones((4, 2))
    >>> y = jnp.dot(x, w, out_sharding=out_sharding(("batch", None)))

    They need it where an axis that is summed over is split over an *Explicit* mesh axis: the result could then be
    whole, or split in another way. Returns None where there is nothing to say: no rules, no mesh, or no Explicit axis.

    Args:
      axes: A logical name, or None, for each axis of the result.
      rules: Which name goes where. None takes those of `using`.

    Raises:
      ShardingError: The rules do not fit the axes or the mesh; see `Rules`.
    """
    mesh, rules = jax.sharding.get_abstract_mesh(), _current(rules)
    if rules is None or AxisType.Explicit not in mesh.axis_types:
        return None
    # The shape of the result is not known here, so it is for JAX to refuse sizes that cannot be divided.
    return PartitionSpec(*_only(rules.split(axes, mesh, None, "a result"), mesh, AxisType.Explicit))


@dataclass(frozen=True, slots=True)
class Gathered:
    """A custom getter: variables are stored by one set of rules and computed with by another.

    >>> def model(scope, x):
    ...     scope = scope.with_defaults(custom_getter=Gathered(jscope.sharding.tensor_parallel()))
    ...     return x @ scope.get_variable("w", (4, 2), axes=("embed", "mlp"))
    >>> jscope.apply(model, {"w": jnp.ones((4, 2))}, jnp.ones((8, 4))).shape  # No mesh here: nothing is gathered.
    (8, 2)

    Variables that are stored by `tensor_parallel() | fsdp()` are put together over the data axis where they are read,
    one layer at a time, and their gradients are summed and split again on the way back. That is fully sharded data
    parallelism. Over Auto axes the compiler may find it by itself; over Explicit ones it must be asked for.

    A variable's axes are those of its `get_variable` call, or those of a path rule; a variable without is read whole.
    """

    rules: Rules

    @property
    def ignores_path(self) -> bool:
        """Whether it does the same at any path, so that `jscope.jit` may share compiled functions between paths."""
        return not self.rules.paths

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        """Returns the variable, split by `rules`."""
        value = getter(name, **options)
        return constrain(value, axes_for(name, self.rules, options.get("axes"), jax.numpy.ndim(value)), self.rules)


def _only(split: list[tuple[str, ...]], mesh: AnyMesh, kind: AxisType) -> list[Any]:
    """Returns the entries of a `PartitionSpec` that mentions only the mesh axes of one kind."""
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    return [entry(tuple(axis for axis in axes if kinds[axis] == kind)) for axes in split]


def _current(rules: Rules | None) -> Rules | None:
    return _ambient.value if rules is None else checked_rules(rules)
