"""Laws of shardings, abstract values and the states of optimizers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, SingleDeviceSharding

import jscope
from jscope import errors, sharding
from jscope.sharding import Rules, ShardingError
from tests.sharding.network import MESH, SPECS, SPLIT, STRUCTS, P


def test_shardings_mirror_params_and_state():
    """One for each variable, of the axes as they are stacked; without names, whole."""
    placed = sharding.shardings(SPECS, MESH, SPLIT)
    layers = {"up": P(None, "data", "model"), "down": P(None, "model", "data"), "n": P(None, None)}
    assert jax.tree.map(lambda place: place.spec, placed) == {"b": P("data"), "layers": layers}
    assert jax.tree.structure(placed) == jax.tree.structure(SPECS.shape_dtype())


def test_the_stacked_axis_has_a_name_of_its_own():
    """So that stages of a pipeline may hold layers."""

    def layer(scope, carry, _):
        return carry, (scope.get_variable("w", (3,)), scope.get_variable("g", (), axes=()))

    specs = jscope.specs(lambda scope: jscope.scan(layer, scope, None, length=8, axis="layers"))
    placed = sharding.shardings(specs, MESH, Rules({"layers": "data"}))
    assert placed["w"].spec == P("data", None)
    assert placed["g"].spec == P("data")


def test_abstract_values_carry_shardings():
    """For all variables one, or one for each; names that differ are one report."""
    placed = sharding.shardings(SPECS, MESH, SPLIT)
    structs = sharding.shape_dtype(SPECS, placed)
    assert jax.tree.map(lambda x: x.sharding, structs) == placed
    chex.assert_trees_all_equal_shapes_and_dtypes(structs, SPECS.shape_dtype())
    one = SingleDeviceSharding(jax.devices()[3])
    assert {x.sharding for x in jax.tree.leaves(sharding.shape_dtype(SPECS, one))} == {one}
    placed["layers"]["upp"] = placed["layers"].pop("up")
    with pytest.raises(
        errors.StructureMismatchError,
        match=r"no sharding: `layers/up` Did you mean `layers/upp`\?\n  no variable: `layers/upp`",
    ):
        sharding.shape_dtype(SPECS, placed)


OPTIMIZERS = {
    "adam": optax.adam(1e-3),
    "chain": optax.chain(optax.clip(1.0), optax.sgd(1e-3, momentum=0.9), optax.ema(0.9)),
    "masked": optax.masked(optax.adam(1e-3), {"enc": {"w": True, "b": False}, "w": True, "scale": False}),
    "multi_transform": optax.multi_transform(
        {"a": optax.adam(1e-3), "b": optax.sgd(1e-3, momentum=0.9)},
        {"enc": {"w": "a", "b": "b"}, "w": "b", "scale": "a"},
    ),
    "multi_steps": optax.MultiSteps(optax.adamw(1e-3), 2).gradient_transformation(),
    "injected": optax.inject_hyperparams(optax.adam)(1e-3),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_what_an_optimizer_keeps_of_a_param_goes_where_it_is(optimizer):
    """However it is wrapped or masked; counts are everywhere."""
    state = jax.eval_shape(optimizer.init, STRUCTS)
    placed = sharding.like(state, STRUCTS)
    assert jax.tree.structure(placed) == jax.tree.structure(state)
    places = {x.shape: x.sharding for x in jax.tree.leaves(STRUCTS) if x.shape}
    for leaf, place in zip(jax.tree.leaves(state), jax.tree.leaves(placed), strict=True):
        assert place == places.get(leaf.shape, NamedSharding(MESH, P())), leaf
    assert any(leaf.shape in places for leaf in jax.tree.leaves(state)), "it keeps something"


def test_like_knows_params_by_their_whole_path():
    """Not by a name or a shape alone; leading axes stay whole, and what has another shape is everywhere."""
    w, other, memory = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((8, 16), (8,), (5, 8, 16)))
    found = sharding.like(
        {"mu": {"enc": {"w": w}}, "row": {"enc": {"w": other}}, "lbfgs": {"enc": {"w": memory}}, "x": w}, STRUCTS
    )
    assert jax.tree.map(lambda place: place.spec, found) == {
        "mu": {"enc": {"w": P("data", "model")}},
        "row": {"enc": {"w": P()}},
        "lbfgs": {"enc": {"w": P(None, "data", "model")}},
        "x": P(),
    }


def test_like_works_where_there_is_no_mesh():
    """Params on one device: so is all that belongs to them. No params: nothing is said."""
    params = {"w": jnp.zeros(3)}
    state = optax.adam(1e-3).init(params)
    assert set(jax.tree.leaves(sharding.like(state, params))) == {params["w"].sharding}
    assert jax.tree.leaves(sharding.like({"count": 0}, {})) == []
    with pytest.raises(ShardingError, match=r"params\['w'\] has no sharding: its type is ndarray"):
        sharding.like(state, {"w": np.zeros(3)})
