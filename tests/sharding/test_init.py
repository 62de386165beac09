"""Laws of sharded models: initial values in place, and training."""

import contextlib
import gc
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jscope
from jscope import sharding
from tests.models import KEY
from tests.sharding.network import MODEL, SPECS, SPLIT, TYPES, X, equal, is_placed, mesh_of, network


@pytest.fixture(scope="module")
def plain():
    """Params and state as one device makes them."""
    return MODEL.init(KEY(1), X)


@pytest.mark.parametrize(
    ("types", "ambient"),
    [(TYPES[0], False), (TYPES[1], True), pytest.param(TYPES[2], True, marks=pytest.mark.slow)],
    ids=str,
)
def test_sharded_init_gives_the_same_values_in_place(types, ambient, plain):
    """Params and state, stacked or not; over Auto and Explicit axes; eager and under `jit`."""
    mesh = mesh_of(*types)
    placed = sharding.shardings(SPECS, mesh, SPLIT)
    init = MODEL.sharded(placed).init
    with jax.set_mesh(mesh) if ambient else contextlib.nullcontext():
        for params, state in (init(KEY(1), X), jax.jit(init)(KEY(1), X)):
            assert is_placed(jscope.tree.merge(params, state), placed)
            assert equal((params, state), plain)


def wide(scope):
    """A megabyte in one variable, two in two stacked ones, and a value."""
    scope.get_variable("w", (512, 512), axes=("embed", "mlp"))
    scope.get_variable("v", axes=("embed", "mlp"), initializer=np.ones((512, 512), np.float32))
    jscope.layers(lambda s, x: (s.get_variable("w", (512, 512), axes=("embed", "mlp")), x)[1], 2)(scope / "layers", 0.0)


def held():
    """The number of bytes of each piece of an array that a device holds."""
    gc.collect()
    return [shard.data.nbytes for array in jax.live_arrays() for shard in array.addressable_shards]


@pytest.mark.parametrize("types", [TYPES[0], pytest.param(TYPES[1], marks=pytest.mark.slow)], ids=str)
def test_no_device_ever_holds_a_whole_copy(types):
    """Neither afterwards, nor (as the compiler tells) on the way."""
    mesh, specs, before = mesh_of(*types), jscope.specs(wide), max(held(), default=0)
    placed = sharding.shardings(specs, mesh, SPLIT)
    whole, total = 512 * 512 * 4, specs["w"].nbytes * 4
    with jax.set_mesh(mesh):
        values = specs.materialize(KEY(0), sharding=placed)
        assert max(held()) <= max(before, 2 * whole // 8)
        program = jax.jit(lambda key: specs.select("w$").materialize(key, sharding=placed)).lower(KEY(0)).compile()
    memory = program.memory_analysis()
    assert memory.output_size_in_bytes <= 1.01 * (total - whole) / 8
    assert memory.temp_size_in_bytes <= total / 2
    assert sum(x.nbytes for x in jax.tree.leaves(values)) == total


def test_one_device_needs_no_other_code(plain):
    """A mesh of one device: everything is whole, and values are the same."""
    mesh = mesh_of(shape=(1, 1))
    placed = sharding.shardings(SPECS, mesh, SPLIT)
    params, state = MODEL.sharded(placed).init(KEY(1), X)
    assert equal((params, state), plain)
    with jax.set_mesh(mesh), sharding.using(SPLIT):
        out, _ = jax.jit(MODEL.apply)(params, state, X)
    chex.assert_trees_all_close(out, MODEL.apply(*plain, X)[0], rtol=1e-6)


def train(model, optimizer, *variables, places=None):
    """Returns the losses, what is left in the end, and how often the step was compiled."""

    def loss_of(params, state, x_bd):
        y_bd, state = model.apply(params, state, x_bd)
        return jnp.mean((y_bd - jnp.sin(x_bd)) ** 2), state

    @partial(jax.jit, out_shardings=(None, places))
    def step(params, state, opt_state, x_bd):
        (loss, state), grads = jax.value_and_grad(loss_of, has_aux=True)(params, state, x_bd)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return loss, (optax.apply_updates(params, updates), state, opt_state)

    losses = []
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(3):
            loss, variables = step(*variables, X)
            losses.append(float(loss))
    return losses, variables, step._cache_size()


@pytest.fixture(scope="module")
def losses(plain):
    """Those of a few steps on one device."""
    return train(MODEL, optax.adam(1e-2), *plain, optax.adam(1e-2).init(plain[0]))[0]


STORED = {
    "fsdp": sharding.fsdp(min_size=0),
    "tensor-parallel": sharding.tensor_parallel(),
    "both": sharding.tensor_parallel() | sharding.fsdp(min_size=0),
}


@pytest.mark.parametrize(
    ("types", "stored"),
    [
        (TYPES[0], "both"),
        (TYPES[1], "both"),
        pytest.param(TYPES[0], "fsdp", marks=pytest.mark.slow),
        pytest.param(TYPES[2], "tensor-parallel", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_training_keeps_shardings_and_losses(types, stored, plain, losses):
    """The same numbers as on one device; everything stays where it is; one compilation."""
    optimizer, mesh = optax.adam(1e-2), mesh_of(*types)
    computed = sharding.fsdp() if stored == "fsdp" else sharding.tensor_parallel()
    getter = sharding.Gathered(computed)
    model = jscope.transform_with_state(lambda scope, x: network(scope.with_defaults(custom_getter=getter), x))
    placed = tuple(sharding.shardings(specs, mesh, STORED[stored]) for specs in (SPECS.params, SPECS.state))
    with jax.set_mesh(mesh), sharding.using(computed):
        params, state = jax.device_put(plain, placed)
        opt_placed = sharding.like(jax.eval_shape(optimizer.init, params), params)
        opt_state = jax.jit(optimizer.init, out_shardings=opt_placed)(params)
        places = (*placed, opt_placed)
        found, variables, compilations = train(model, optimizer, params, state, opt_state, places=places)
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    assert is_placed(variables, places)
    assert compilations == 1


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_values_that_depend_on_data_are_placed_too(kind):
    """Eagerly and under `jit`, with the mesh ambient."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    place = NamedSharding(mesh, P("data"))
    model = jscope.transform(lambda s: s.get_variable("n", initializer=jnp.arange(8.0) + 1)).sharded(place)
    with jax.set_mesh(mesh):
        for init in (model.init, jax.jit(model.init)):
            made = init(jax.random.key(0))["n"]
            assert made.sharding.is_equivalent_to(place, 1)
            assert made.tolist() == list(range(1, 9))
