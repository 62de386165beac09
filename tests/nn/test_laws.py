"""What is true of every layer: under every lift, with every getter, in every dtype, for every batch."""

from __future__ import annotations

import functools
import inspect
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import getters, nn
from tests.nn.layers import LAYERS, X

KEY = jax.random.key(0)


def everything(scope, x):
    """Every layer on one input; what each gives, by name."""
    return {name: layer(scope / name, x) for name, layer in LAYERS.items()}


def reading(scope, x):
    """The layers that write no state."""
    return {name: layer(scope / name, x) for name, layer in LAYERS.items() if not layer.stateful}


def block(scope, x):
    """All layers as one, which keeps the shape of its input."""
    return sum(everything(scope, x).values()) / len(LAYERS)


def x_of(shape=X.shape, dtype=X.dtype):
    return jax.random.normal(jax.random.key(7), shape).astype(dtype)


@functools.cache
def start(function):
    """Returns the model and its params and state."""
    model = jscope.transform_with_state(function)
    return model.with_rng(jax.random.key(1)), *model.init(KEY, X)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_the_program_by_hand(name):
    """The jaxprs are equal, and so are the names that stand beside each equation."""
    layer = LAYERS[name]
    model, params, state = start(lambda scope, x: layer(scope / "block/layer", x))

    def by_hand(params, state, x):
        x = layer.prepare(x)
        with jax.named_scope("block/layer"):
            ours = {name: value for tree in (params, state) if tree for name, value in tree["block"]["layer"].items()}
            return layer.hand(ours, x, None)

    def with_a_key(scope, x):
        with jax.named_scope("block/layer"):
            return layer.hand({}, x, (scope / "block/layer").rng())

    if layer.random:
        by_hand = jscope.transform_with_state(with_a_key).with_rng(jax.random.key(1)).apply

    def scoped(params, state, x):
        y, after = model.apply(params, state, x)
        return (y, after["block"]["layer"]) if layer.stateful else y

    def hand(params, state, x):
        return by_hand(params, state, x)[0] if layer.random else by_hand(params, state, x)

    with jax.numpy_rank_promotion("allow"):
        found, expected = (jax.make_jaxpr(f)(params, state, X) for f in (scoped, hand))
    show = functools.partial(type(found).pretty_print, name_stack=True, use_color=False)
    assert show(found) == show(expected)


@pytest.mark.parametrize("training", [True, False])
def test_a_layer_that_is_not_training_needs_no_key_and_writes_nothing(training):
    """Layers that have `training` return their input, or leave state as it is."""
    noisy = {"dropout": (0.5,), "drop_path": (0.5,), "gaussian_noise": (0.5,), "batch_norm": ()}
    assert noisy.keys() == {name for name, f in vars(nn).items() if takes_training(f)}
    for name, args in noisy.items():
        model = jscope.transform_with_state(functools.partial(run_layer, name, args, training))
        params, state = model.init(KEY, X)
        if training and name != "batch_norm":
            with pytest.raises(jscope.errors.MissingRngError, match="In the scope `layer`"):
                model.apply(params, state, x_of())
        elif not training:
            _, after = model.apply(params, state, x_of())
            chex.assert_trees_all_equal(after, state)


def takes_training(value):
    return inspect.isfunction(value) and "training" in inspect.signature(value).parameters


def run_layer(name, args, training, scope, x):
    return getattr(nn, name)(scope / "layer", x, *args, training=training)


SAME = {
    "cond in remat in jit": lambda s, x: jscope.jit(
        jscope.remat(lambda s, x: jscope.cond(x.sum() < 1e9, everything, everything, s, x))
    )(s, x),
    "vjp": lambda s, x: jscope.vjp(everything, s, x)[0],
}


@functools.cache
def plain():
    model, params, state = start(lambda scope, x: everything(scope / "a", x))
    return params, state, jax.jit(model.apply)(params, state, x_of())


@pytest.mark.parametrize("lift", SAME)
def test_lifts_change_nothing(lift):
    """Names, initial values, outputs, masks and state are those of the plain layers."""
    model, params, state = start(lambda scope, x: SAME[lift](scope / "a", x))
    chex.assert_trees_all_equal((params, state), plain()[:2])
    chex.assert_trees_all_close(jax.jit(model.apply)(params, state, x_of()), plain()[2], atol=1e-5)


def test_native_transforms_change_nothing():
    """Where nothing is written, JAX's own transforms will do."""
    lifted = jax.jit(jax.checkpoint(jax.vmap(reading, (None, 0))))
    model, params, state = start(lambda scope, x: lifted(scope / "a", x[None]))
    ys, _ = jax.tree.map(lambda y: y[0], model.apply(params, state, x_of()))
    chex.assert_trees_all_close(ys, {name: plain()[2][0][name] for name in ys}, atol=1e-5)


def test_scanned_layers_are_the_unrolled_ones():
    """Variables are stacked, everything else is the same."""
    scanned, unrolled = (
        start(lambda scope, x, how=how: jscope.layers(block, 2, scanned=how)(scope / "layers", x))
        for how in (True, False)
    )
    (y, after), (expected, expected_after) = (jax.jit(m.apply)(p, s, x_of()) for m, p, s in (scanned, unrolled))
    unstack = functools.partial(jscope.tree.unstack, at="layers")
    chex.assert_trees_all_close(y, expected, atol=1e-5)
    chex.assert_trees_all_close(unstack(after), expected_after, atol=1e-5)
    chex.assert_trees_all_equal(unstack(scanned[1]), unrolled[1])


GETTERS = {
    "cast": getters.cast(jnp.bfloat16),
    "lora": getters.lora(2),
    "ema": getters.ema(0.9),
    "weight_norm": getters.weight_norm(),
}


@pytest.mark.parametrize("name", GETTERS)
def test_getters_work_with_every_layer(name):
    """Outputs have the shape and the dtype of the input, and gradients are finite."""
    getter = GETTERS[name]
    dtype = jnp.bfloat16 if name == "cast" else jnp.float32
    model, params, state = start(lambda scope, x: everything(scope.with_defaults(custom_getter=getter), x))

    def loss(params, x):
        ys, _ = model.apply(params, state, x)
        return sum(jnp.sum(y.astype(jnp.float32)) for y in ys.values()), ys

    grads, ys = jax.jit(jax.grad(loss, has_aux=True))(params, x_of(dtype=dtype))
    chex.assert_tree_all_finite((grads, ys))
    chex.assert_trees_all_equal_shapes_and_dtypes(ys, {name: x_of(dtype=dtype) for name in LAYERS})


def test_narrow_inputs_give_narrow_outputs():
    """They are near those in float32; variables and statistics stay in float32."""
    model, params, state = start(lambda scope, x: everything(scope / "a", x))
    assert {leaf.dtype for leaf in jax.tree.leaves((params, state))} == {jnp.dtype(jnp.float32)}
    dtypes = (jnp.bfloat16, jnp.float16)
    out = jax.jit(lambda *xs: [model.apply(params, state, x) for x in xs])(*(x_of(dtype=dtype) for dtype in dtypes))
    for dtype, (ys, after) in zip(dtypes, out, strict=True):
        for name in LAYERS.keys() - {"embedding"}:
            assert ys[name].dtype == dtype, name
            if not LAYERS[name].random:
                assert np.allclose(ys[name].astype(jnp.float32), plain()[2][0][name], atol=0.05), name
        chex.assert_trees_all_equal_dtypes(after, state)


def test_statistics_are_taken_in_float32():
    """A large mean does not drown the differences of a bfloat16 input."""
    x = (64 + x_of() * 4).astype(jnp.bfloat16)
    norms = [name for name in LAYERS if "norm" in name]
    model, params, state = start(lambda scope, x: {name: LAYERS[name](scope / name, x) for name in norms})
    narrow, wide = jax.jit(lambda *xs: [model.apply(params, state, x)[0] for x in xs])(x, x.astype(jnp.float32))
    chex.assert_trees_all_equal(narrow, jax.tree.map(lambda y: y.astype(jnp.bfloat16), wide))


def test_an_empty_batch_is_a_batch():
    """Outputs are empty, gradients are zeros, and state stays."""
    model, params, state = start(lambda scope, x: everything(scope / "a", x))
    x = jnp.zeros((0, *X.shape[1:]))

    def loss(params):
        ys, after = model.apply(params, state, x)
        return sum(jnp.sum(y) for y in ys.values()), (ys, after)

    grads, (ys, after) = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert {y.shape for y in ys.values()} == {x.shape}
    chex.assert_trees_all_equal((grads, after), (jax.tree.map(jnp.zeros_like, params), state))


def lowered_names(function):
    model, params, state = start(function)
    text = jax.jit(model.apply).lower(params, state, X).as_text(debug_info=True)
    return set(re.findall(r'"jit\(apply\)/([^"]*)/dot_general', text))


def test_names_are_those_of_the_scopes():
    """In the lowered program, each layer adds the name that the enclosing one lacks, also in the bodies of lifts."""

    @jscope.named
    def net(scope, x):
        return jscope.layers(lambda s, x: nn.dense(s / "dense", x, 6), 2, scanned=False)(scope / "layers", x)

    @jscope.named
    def remat(scope, x):
        return jscope.remat(lambda s, x: nn.dense(s / "dense", x, 6))(scope / "layer", x)

    assert lowered_names(lambda s, x: net(s / "net", x)) == {"net/layers/0/dense", "net/layers/1/dense"}
    assert lowered_names(lambda s, x: remat(s / "net", x)) == {"net/checkpoint/layer/dense"}


def test_equal_blocks_share_one_trace():
    """Under `jscope.jit`, a block that enters its names is traced once, wherever it stands."""
    traces = []

    @jscope.jit
    @jscope.named
    def layer(scope, x):
        traces.append(scope.path)
        return nn.dense(scope / "dense", x, 6)

    @jscope.named
    def net(scope, x):
        return layer(scope / "b", layer(scope / "a", x))

    model, params, state = start(lambda scope, x: net(scope / "net", x))
    traces.clear()
    jax.make_jaxpr(model.apply)(params, state, X)
    assert traces == [""]
