"""Laws of activations, and of variables that are computed with by other rules."""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding

import jscope
from jscope import sharding
from jscope.sharding import Rules, ShardingError
from tests.models import KEY
from tests.sharding.network import EXPLICIT, MESH, SPLIT, TYPES, P, X, equal, mesh_of


def test_constrain_does_nothing_without_mesh_or_rules():
    """A layer may say it always."""
    x = jnp.zeros((8, 4))
    assert sharding.constrain(x, ("batch", None), SPLIT) is x
    with jax.set_mesh(MESH):
        assert sharding.constrain(x, ("batch", None)) is x
    assert sharding.out_sharding(("batch",), SPLIT) is None


@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("compiled", [False, True])
def test_constrain_splits_over_any_kind_of_axis(types, compiled):
    """By ambient rules or given ones; twice is once."""
    with jax.set_mesh(mesh_of(*types)):
        x = jnp.arange(32.0).reshape(8, 4)

        def f(x):
            return sharding.constrain(sharding.constrain(x, (None, "batch"), SPLIT), ("batch", "mlp"))

        with sharding.using(SPLIT):
            y = (jax.jit(f) if compiled else f)(x)
        assert y.sharding.spec == P("data", "model")
        assert equal(y, x)


def test_constrain_leaves_manual_axes_alone():
    """Inside `shard_map`, what is left is split."""
    with jax.set_mesh(MESH), sharding.using(SPLIT):
        f = jax.shard_map(
            lambda x: sharding.constrain(x, ("batch", "mlp")),
            in_specs=P("data"),
            out_specs=P("data"),
            axis_names={"data"},
        )
        y = jax.jit(f)(jnp.zeros((8, 4)))
    assert y.sharding.is_equivalent_to(NamedSharding(MESH, P("data", "model")), 2)


def test_caches_see_the_ambient_rules():
    """Other rules: another trace; the same again: none."""
    f = jax.jit(chex.assert_max_traces(lambda x: sharding.constrain(x, ("batch", "mlp")), 2))
    with jax.set_mesh(MESH):
        for _ in range(2):
            for rules, expected in ((SPLIT, P("data", "model")), (sharding.fsdp(), P("data", None))):
                with sharding.using(rules):
                    y = f(jnp.zeros((8, 4)))
                assert y.sharding.is_equivalent_to(NamedSharding(MESH, expected), 2)


def test_gradients_pass_a_constraint():
    """Those of the identity."""
    with jax.set_mesh(MESH), sharding.using(SPLIT):
        grad = jax.jit(jax.grad(lambda x: jnp.sum(sharding.constrain(x, ("batch", None)) ** 2)))(X)
    chex.assert_trees_all_close(grad, 2 * X)


def test_what_cannot_be_split_is_named():
    """The shape, the axis, and why."""
    with jax.set_mesh(MESH), sharding.using(SPLIT):
        with pytest.raises(
            ShardingError, match=r"Axis 0 \(`batch`\) of an array of shape \(7, 4\) .* 7 is not a multiple of 4"
        ):
            sharding.constrain(jnp.zeros((7, 4)), ("batch", None))
        with pytest.raises(ShardingError, match=r"axes=\('batch', None\) of an array of shape \(8,\) does not fit"):
            sharding.constrain(jnp.zeros(8), ("batch", None))


def test_out_sharding_speaks_of_explicit_axes_only():
    """JAX refuses it for others."""
    for types, expected in zip(TYPES, (None, P("data", "model"), P(None, "model")), strict=True):
        with jax.set_mesh(mesh_of(*types)):
            assert sharding.out_sharding(("batch", "mlp"), SPLIT) == expected


def test_gathered_variables_are_computed_with_by_other_rules():
    """By the axes of the call or by path; others are whole; names, values and specs stay."""
    rules = replace(sharding.tensor_parallel(), paths=(("c$", ("mlp",)),))
    getter, seen = sharding.Gathered(rules), {}

    def model(scope):
        scope = scope.with_defaults(custom_getter=getter)
        for name, axes in (("a", ("embed", "mlp")), ("b", None), ("c", None)):
            shape = (8,) if name == "c" else (8, 8)
            seen[name] = scope.get_variable(name, shape, axes=axes)
        return seen

    mesh = mesh_of(EXPLICIT, EXPLICIT)
    with jax.set_mesh(mesh):
        specs = jscope.specs(model)
        params = specs.materialize(
            KEY(0), sharding=sharding.shardings(specs, mesh, Rules({...: None}, fsdp="data", min_size=0))
        )
        assert params["a"].sharding.spec == P("data", None)
        read = jscope.apply(model, params)
    assert {name: value.sharding.spec for name, value in read.items()} == {
        "a": P(None, "model"),
        "b": P(None, None),
        "c": P("model"),
    }
    assert equal(read, params)
    assert getter == sharding.Gathered(rules)
    assert sharding.Gathered(sharding.fsdp()).ignores_path
    assert not getter.ignores_path
