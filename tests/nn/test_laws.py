"""What is true of every layer: under every lift, with every getter, in every dtype, for every batch."""

from __future__ import annotations

import functools
import inspect
import math
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors, getters, nn
from tests.crossed import mostly_slow
from tests.nn.layers import FUNCTIONS, LAYERS, X

KEY = jax.random.key(0)


MAIN = {name: LAYERS[name] for name in ("dense", "conv", "embedding", "layer_norm", "batch_norm", "dropout")}
"""One of each kind: these are compiled and run, which takes long; the others are traced, which finds most faults."""


def everything(scope, x):
    """Every layer on one input; what each gives, by name."""
    return {name: layer(scope / name, x) for name, layer in LAYERS.items()}


def main(scope, x):
    """The layers that are run."""
    return {name: layer(scope / name, x) for name, layer in MAIN.items()}


def block(scope, x):
    """The layers that are run, as one that keeps the shape of its input."""
    return sum(main(scope, x).values()) / len(MAIN)


def x_of(shape=X.shape, dtype=X.dtype):
    return jax.random.normal(jax.random.key(7), shape).astype(dtype)


@functools.cache
def start(function):
    """Returns the model and its params and state."""
    model = jscope.transform_with_state(function)
    return model.with_rng(jax.random.key(1)), *model.init(KEY, X)


def shapes(function):
    """Returns the same without values, for what is only traced."""
    model = jscope.transform_with_state(function)
    specs = model.specs(X)
    return model.with_rng(jax.random.key(1)), specs.params.shape_dtype(), specs.state.shape_dtype()


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_the_program_by_hand(name):
    """The jaxprs are equal, and so are the names that stand beside each equation."""
    layer = LAYERS[name]
    model, params, state = shapes(lambda scope, x: layer(scope / "block/layer", x))
    model = model if layer.random else model.with_rng(None)

    def by_hand(params, state, x):
        x = layer.prepare(x)
        with jax.named_scope("block/layer"):
            ours = {name: value for tree in (params, state) if tree for name, value in tree["block"]["layer"].items()}
            return layer.hand(ours, x, None)

    def with_a_key(scope, x):
        scope, x = scope / "block/layer", layer.prepare(x)
        v = jscope.tree.map_with_path(
            lambda path, leaf: scope.get_variable(path, leaf.shape),
            (params or {"block": {"layer": {}}})["block"]["layer"],
        )
        with jax.named_scope("block/layer"):
            return layer.hand(v, x, scope.rng)

    if layer.random:
        by_hand = jscope.transform_with_state(with_a_key).with_rng(jax.random.key(1)).apply

    def scoped(params, state, x):
        y, after = model.apply(params, state, x)
        return (y, after["block"]["layer"]) if layer.stateful else y

    def hand(params, state, x):
        y = by_hand(params, state, x)
        y, after = y if layer.random or layer.stateful else (y, None)
        return (layer.finish(y), after) if layer.stateful else layer.finish(y)

    with jax.numpy_rank_promotion("allow"):
        found, expected = (jax.make_jaxpr(f)(params, state, X) for f in (scoped, hand))
    show = functools.partial(type(found).pretty_print, name_stack=True, use_color=False)
    assert show(found) == show(expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_the_program_by_hand(name):
    """The same holds for layers without variables."""
    with jax.numpy_rank_promotion("allow"):
        function, hand = (str(jax.make_jaxpr(f)(X)) for f in FUNCTIONS[name])
    assert function == hand


ACTIVATED = {
    "dense": lambda s, x, f: nn.dense(s, x, 3, activation=f),
    "einsum": lambda s, x, f: nn.einsum(s, "bd,du->bu", x, 3, activation=f),
    "conv": lambda s, x, f: nn.conv(s, x, 3, (1,), activation=f),
    "depthwise_conv": lambda s, x, f: nn.depthwise_conv(s, x, (1,), activation=f),
    "separable_conv": lambda s, x, f: nn.separable_conv(s, x, 3, (1,), activation=f),
    "conv_transpose": lambda s, x, f: nn.conv_transpose(s, x, 3, (1,), activation=f),
    "rnn": lambda s, x, f: nn.rnn(s, None, x, 3, activation=f),
    "lstm": lambda s, x, f: nn.lstm(s, None, x, 3, activation=f),
    "gru": lambda s, x, f: nn.gru(s, None, x, 3, recurrent_activation=f),
    "conv_lstm": lambda s, x, f: nn.conv_lstm(s, None, x[:, None], 3, (1,), recurrent_activation=f),
    "lstm gates": lambda s, x, f: nn.lstm(s, None, x, 3, recurrent_activation=f),
    "gru candidate": lambda s, x, f: nn.gru(s, None, x, 3, activation=f),
    "conv_lstm candidate": lambda s, x, f: nn.conv_lstm(s, None, x[:, None], 3, (1,), activation=f),
}


@pytest.mark.parametrize("case", mostly_slow(ACTIVATED, "dense", "gru", "conv_lstm"))
def test_an_activation_is_a_function_and_not_its_name(case):
    """As Keras takes it; the error has the function of that name."""
    call, x = ACTIVATED[case], jnp.ones((2, 4))
    where = rf"`nn.{case.split()[0]}` in the scope `a`: `\w*activation` is"
    for given, known in (("gelu", "gelu"), ("lineer", "relu"), (3, "relu"))[: 3 if case == "dense" else 1]:
        with pytest.raises(errors.InvalidArgumentError, match=rf"{where} {given!r}, .*\n.*activation=jax.nn.{known}`"):
            jscope.specs(lambda s, given=given: call(s / "a", x, given))


XS = jnp.ones((2, 6, 8))
IMAGE = jnp.ones((1, 4, 4, 2))
SQUARE = lambda s, x: nn.dense(s, x, x.shape[-1])  # noqa: E731

MISTAKES = {
    "a list for an image": (lambda s: nn.conv(s, [[1.0]], 3, (1,)), "conv` .* the input is a `list`"),
    "a list to pool": (lambda s: nn.avg_pool([[1.0]], (1,)), "avg_pool`: the input is a `list`"),
    "a list of ids": (lambda s: nn.embedding(s, [1, 2], 3, 4), "embedding` .* the input is a `list`"),
    "a list to drop from": (lambda s: nn.dropout(s, [1.0], 0.5, training=False), "dropout` .* the input is a `list`"),
    "a list for noise": (lambda s: nn.gaussian_noise(s, [1.0], 0.5, training=False), "noise` .* the input is a `list`"),
    "a list for a mask of pixels": (
        lambda s: nn.global_avg_pool(IMAGE, mask=[True]),
        "the mask is a `list`, the input",
    ),
    "no input of an equation": (lambda s: nn.einsum(s, "bd,du->bu", None, 3), "einsum` .* the input is a `NoneType`"),
    "half a size": (lambda s: nn.einsum(s, "btd,du->btu", XS, 2.5), "einsum` .*`sizes` is 2.5"),
    "no padding": (lambda s: nn.conv(s, IMAGE, 3, (1, 1), padding=None), "conv` .*`padding` is None"),
    "one axis for several": (
        lambda s: nn.dropout(s, XS, 0.5, training=True, broadcast_axes=1),
        r"dropout` .*`broadcast_axes` is 1.\nGive a tuple",
    ),
    "a rate as text": (lambda s: nn.dropout(s, XS, "0.5", training=True), r"`rate` is '0.5'.\n.* from 0 to 1"),
    "a rate for each": (
        lambda s: nn.dropout(s, XS, np.array([0.5, 0.5]), training=True),
        r"`rate` is array.*\n.*a number from 0 to 1",
    ),
    "a rate of None": (lambda s: nn.lstm(s, None, XS, 3, dropout=None, training=True), r"`dropout` is None.\n.*to 1"),
    "a negative rate": (lambda s: nn.attention(s, XS, 2, dropout=-0.1, training=True), "`dropout` is -0.1"),
    "a rate that is not a number": (
        lambda s: nn.attention(s, XS, 2, dropout=math.nan, training=True),
        "`dropout` is nan",
    ),
    "a rate beyond 1": (lambda s: nn.attention(s, XS, 2, dropout=1.5, training=False), r"`dropout` is 1.5.\n.* to 1"),
    "a cap as text": (lambda s: nn.attention(s, XS, 2, soft_cap="30"), r"`soft_cap` is '30'.\n.*number"),
    "a cap without room": (
        lambda s: nn.attention(s, XS, 2, soft_cap=np.zeros(())),
        r"`soft_cap` is 0.0.\n.*positive",
    ),
    "a momentum beyond 1": (
        lambda s: nn.batch_norm(s, XS, training=True, momentum=99),
        r"`momentum` is 99.\n.* 0 to 1",
    ),
    "an epsilon as text": (
        lambda s: nn.layer_norm(s, XS, epsilon="1e-5"),
        r"layer_norm` .*`epsilon` is '1e-5'.\n.*number",
    ),
    "a negative epsilon": (lambda s: nn.rms_norm(s, XS, epsilon=-1e-6), r"`epsilon` is -1e-06.\nIt should .* least 0"),
    "epsilon of a batch": (
        lambda s: nn.batch_norm(s, XS, epsilon=None, training=True),
        "batch_norm` .*`epsilon` is None",
    ),
    "an epsilon of lengths": (lambda s: nn.l2_normalize(XS, epsilon=None), "l2_normalize`: `epsilon` is None"),
    "no epsilon": (lambda s: nn.group_norm(s, IMAGE, 2, epsilon=None), "group_norm` .*`epsilon` is None"),
    "a length below 0": (
        lambda s: nn.alibi(2, -1, 3),
        r"alibi`: `positions` is -1.\nIt should be an int of at least 0",
    ),
    "half a position": (
        lambda s: nn.sinusoidal(1.5, 4),
        r"sinusoidal`: the positions are a `float`.\n.* an array of integers",
    ),
    "a base below 0": (lambda s: nn.rotary(jnp.ones((1, 2, 3, 4)), base=-1.0), "rotary`: `base` is -1.0"),
    "no base": (lambda s: nn.sinusoidal(3, 4, base=None), "sinusoidal`: `base` is None"),
    "more of the features than all": (lambda s: nn.rotary(jnp.ones((1, 2, 3, 4)), fraction=2.0), "`fraction` is 2.0"),
    "no room for far distances": (
        lambda s: nn.relative_bias(s, 2, 3, 3, max_distance=8),
        r"`max_distance` is 8.\nIt should be an int of at least 9",
    ),
    "rotary switched on": (
        lambda s: nn.attention(s, XS, 2, rotary=True),
        r"`rotary` is True, .*\n.*`rotary=nn.rotary`",
    ),
    "a bias that is no array": (
        lambda s: nn.attention(s, XS, 2, logit_bias=lambda q, k: None),
        "the bias of the logits is a `NoneType`, and",
    ),
    "a cache that is none": (lambda s: nn.attention(s, XS, 2, cache={}), r"`cache` is a `dict`.\nIt .* `nn.KVCache`"),
    "a mask that is no array": (
        lambda s: nn.batch_norm(s, XS, training=True, mask=[True]),
        "the mask is a `list`, the input",
    ),
    "a number for the expert": (
        lambda s: nn.mixture_of_experts(s, XS, 64, 2),
        "`expert` is 64, which is not a function",
    ),
    "an expert that returns nothing": (
        lambda s: nn.mixture_of_experts(s, XS, lambda s, x: None, 2),
        "the experts returned a `NoneType`",
    ),
    "an expert that returns too few": (
        lambda s: nn.mixture_of_experts(s, XS, lambda s, x: x[1:], 2, capacity_factor=None),
        r"the experts returned an array of shape \(2, 11, 8\).\nThat should be an array of shape \(2, 12, units\)",
    ),
    "a capacity as text": (
        lambda s: nn.mixture_of_experts(s, XS, SQUARE, 2, capacity_factor="1.25"),
        "`capacity_factor` is '1.25'",
    ),
    "a capacity that is not known": (
        lambda s: nn.mixture_of_experts(s, XS, SQUARE, 2, capacity_factor=XS.sum()),
        r"`capacity_factor` is .*\n.*known and positive",
    ),
    "a size for the feed-forward network": (
        lambda s: nn.transformer_block(s, XS, 2, 64),
        r"`feed_forward` is 64, which is not a function.\nIt should be a function of a scope and tokens",
    ),
    "a network that returns nothing": (
        lambda s: nn.transformer_block(s, XS, 2, lambda s, x: None),
        r"`feed_forward` returned a `NoneType`.\nThat should be an array of shape \(2, 6, 8\)",
    ),
    "a network whose output would be broadcast": (
        lambda s: nn.transformer_block(s, XS, 2, lambda s, x: nn.mlp(s, x, 5, units=1)),
        r"`feed_forward` returned an array of shape \(2, 6, 1\)",
    ),
    "a token for a batch": (
        lambda s: nn.transformer_block(s, XS[0], 2, SQUARE),
        "transformer_block` .*rank 3 is needed",
    ),
    "a norm switched off": (
        lambda s: nn.transformer_block(s, XS, 2, SQUARE, norm=False),
        "`norm` is False, which is not",
    ),
    "a norm of sums that takes a mean": (
        lambda s: nn.transformer_block(s, XS, 2, SQUARE, norm=lambda s, x: x.mean(-1), norm_first=False),
        r"`norm` returned an array of shape \(2, 6\)",
    ),
    "a norm that takes a mean": (
        lambda s: nn.transformer_block(s, XS, 2, SQUARE, norm=lambda s, x: x.mean(-1)),
        r"`norm` returned an array of shape \(2, 6\)",
    ),
    "an attention of another size": (
        lambda s: nn.transformer_block(s, XS, 2, SQUARE, units=1),
        r"the attention returned an array of shape \(2, 6, 1\)",
    ),
    "the scope before the cell": (
        lambda s: nn.recurrent(s, nn.lstm, XS, 3),
        r"recurrent`: it is given a `Scope` and a `function` first.\n.*`nn.recurrent\(nn.lstm, scope, xs, 32\)`",
    ),
    "a cell by its name": (
        lambda s: nn.recurrent("lstm", s, XS, 3),
        r"it is given a `str` and a `Scope` first\.\nGive the cell",
    ),
    "the inputs before the scope": (
        lambda s: nn.bidirectional(nn.lstm, XS, s, 3),
        r"it is given a `function` and an array of shape \(2, 6, 8\) first",
    ),
    "the first carry before the inputs": (
        lambda s: nn.recurrent(nn.lstm, s, (XS, XS), XS, 3),
        "the input is a `tuple`",
    ),
    "no units": (lambda s: nn.recurrent(nn.gru, s, XS), "`nn.gru` is not told its `units`"),
    "no kernel": (
        lambda s: nn.recurrent(nn.conv_lstm, s, IMAGE[None], 3),
        r"not told its `kernel_size`.\n.*nn.conv_lstm, scope, xs, filters, kernel_size\)`",
    ),
    "half a unit": (lambda s: nn.recurrent(nn.gru, s, XS, 2.5), r"gru` .*`units` is 2.5.\nIt should be an int"),
    "a kernel without axes": (
        lambda s: nn.recurrent(nn.conv_lstm, s, IMAGE[None], 3, 1),
        "in the scope `a`: `kernel_size` is 1, and the input has shape",
    ),
    "a padding of steps": (
        lambda s: nn.recurrent(nn.conv_lstm, s, IMAGE[None], 3, (1, 1), padding=None),
        "conv_lstm` .*`padding` is None",
    ),
    "one first carry for two directions": (
        lambda s: nn.bidirectional(nn.gru, s, XS, 3, initial=jnp.ones((2, 3))),
        "`initial` is .*\nGive a pair",
    ),
    "three first carries": (
        lambda s: nn.bidirectional(nn.gru, s, XS, 3, initial=(None,) * 3),
        "`initial` is .*\nGive a pair",
    ),
    "a cell that returns three": (
        lambda s: nn.recurrent(lambda s, c, x: (c, x, x), s, XS, initial=XS[:, 0]),
        r"the cell returned a `tuple`.\nIt should return a pair",
    ),
    "a cell that returns its output only": (
        lambda s: nn.recurrent(lambda s, c, x: x, s, XS, initial=XS[:, 0], lengths=jnp.array([6, 6])),
        r"the cell returned an array of shape \(2, 8\).\nIt should return a pair, `\(carry, y\)`",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_a_layer_cannot_take_is_refused(case):
    """Rather than ending in JAX's words somewhere inside, or in numbers that are wrong: layer, found and asked."""
    call, message = MISTAKES[case]
    with pytest.raises(errors.InvalidArgumentError, match=message):
        jscope.specs(lambda s: call(s / "a"))


def test_a_step_is_called_by_the_name_of_its_cell():
    """Where its carry changes, which only JAX finds."""

    def cell(s, carry, x):
        return x, carry

    where = r"`jscope.scan` of `cell` \(.*test_laws.py:\d+\) over the scope `a`"
    with pytest.raises(TypeError, match=rf"equal types(.|\n)*{where}"):
        jscope.specs(lambda s: nn.recurrent(cell, s / "a", XS, initial=jnp.ones((2, 3))))


def test_numbers_are_taken_from_wherever_they_come():
    """Python, NumPy or JAX, traced or not."""
    for rate in (0, 0.5, np.float32(0.5), np.array(0.5), jnp.float32(0.5)):
        jscope.specs(lambda s, rate=rate: nn.dropout(s, XS, rate, training=True))
        jscope.specs(lambda s, rate=rate: nn.batch_norm(s, XS, training=True, momentum=rate, epsilon=rate))
    jscope.specs(lambda s: nn.dropout(s, XS, jnp.bfloat16.dtype.type(0.5), training=True))
    jax.eval_shape(
        jscope.transform(lambda s, rate: nn.layer_norm(s, XS, epsilon=rate, scale=False, center=False)).apply, {}, 0.5
    )


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
    """Whether a layer has to be told; those with None as default are told where they drop."""
    training = inspect.signature(value).parameters.get("training") if inspect.isfunction(value) else None
    return training is not None and training.default is inspect.Parameter.empty


def run_layer(name, args, training, scope, x):
    return getattr(nn, name)(scope / "layer", x, *args, training=training)


LIFTS = {
    "cond in remat in jit": lambda f, s, x: jscope.jit(
        jscope.remat(lambda s, x: jscope.cond(x.sum() < 1e9, f, f, s, x))
    )(s, x),
    "vjp": lambda f, s, x: jscope.vjp(f, s, x)[0],
}


@functools.cache
def plain():
    model, params, state = start(lambda scope, x: main(scope / "a", x))
    return params, state, jax.jit(model.apply)(params, state, x_of())


@pytest.mark.parametrize("lift", LIFTS)
def test_lifts_change_nothing(lift):
    """Names, initial values, outputs, masks and state are those of the plain layers."""
    model, params, state = start(lambda scope, x: LIFTS[lift](main, scope / "a", x))
    chex.assert_trees_all_equal((params, state), plain()[:2])
    chex.assert_trees_all_close(jax.jit(model.apply)(params, state, x_of()), plain()[2], atol=1e-5)


def test_native_transforms_change_nothing():
    """Where nothing is written, JAX's own transforms will do."""

    def reading(scope, x):
        return {name: layer(scope / name, x) for name, layer in MAIN.items() if not layer.stateful}

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


def traced(function, dtype=jnp.float32, *, backwards=True):
    """Returns the shapes of the variables, of the gradients and of what the layers give, without compiling anything."""
    model = jscope.transform_with_state(function).with_rng(jax.random.key(1))
    x = jax.ShapeDtypeStruct(X.shape, dtype)
    specs = model.specs(x)

    def loss(params, state, x):
        ys, after = model.apply(params, state, x)
        return sum(jnp.sum(y.astype(jnp.float32)) for y in ys.values()), (ys, after)

    params, state = specs.params.shape_dtype(), specs.state.shape_dtype()
    return params, state, *jax.eval_shape(jax.grad(loss, has_aux=True) if backwards else loss, params, state, x)


TRACED = {
    **LIFTS,
    "scan": lambda f, s, x: jscope.scan(lambda s, c, x: (c, f(s, x)), s, 0, x[None])[1],
    "vmap": lambda f, s, x: jscope.vmap(f)(s, x[None]),
    "map": lambda f, s, x: jscope.map(f, s, x[None]),
    "switch": lambda f, s, x: jscope.switch(1, [f, f], s, x),
    "jvp": lambda f, s, x: jscope.jvp(f, s, (x,), (x,))[0],
    "value_and_grad": lambda f, s, x: jscope.value_and_grad(with_outputs(f), has_aux=True)(s, x)[0][1],
    "shard_map": lambda f, s, x: jscope.shard_map(
        f, mesh=one_device(), in_specs=(jax.P(),), out_specs=jax.P(), check_vma=False
    )(s, x),
    "while_loop": lambda f, s, x: once(jscope.while_loop, f, s, x),
    "fori_loop": lambda f, s, x: once(jscope.fori_loop, f, s, x),
}


def with_outputs(f):
    """Returns a loss, with the outputs on the side."""

    def loss(s, x):
        ys = f(s, x)
        return sum(jnp.sum(y.astype(jnp.float32)) for y in ys.values()), ys

    return loss


def one_device():
    return jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))


def once(loop, f, s, x):
    """Runs the body of a loop one time; what it carries has the shape of the input."""
    zeros = dict.fromkeys(LAYERS, jnp.zeros(x.shape, x.dtype))
    if loop is jscope.fori_loop:
        return loop(0, 1, lambda s, i, ys: f(s, x), s, zeros)
    return loop(lambda s, carry: carry[0] < 1, lambda s, carry: (carry[0] + 1, f(s, x)), s, (0, zeros))[1]


@pytest.mark.parametrize("lift", mostly_slow(TRACED, "scan"))
def test_every_layer_goes_under_every_lift(lift):
    """Forwards and backwards; variables have the names and shapes of the plain ones, with one more axis if stacked."""
    # JAX does not differentiate a loop whose length is not known backwards.
    backwards = lift != "while_loop"
    f = lambda scope, x: TRACED[lift](everything, scope / "a", x)  # noqa: E731
    params, state, grads, (ys, after) = traced(f, backwards=backwards)
    grads = grads if backwards else params
    chex.assert_trees_all_equal_shapes_and_dtypes((grads, after), (params, state))
    stack = (1,) if lift in ("scan", "vmap") else ()
    more = (1,) if lift in ("scan", "vmap", "map") else ()
    assert {name: y.shape for name, y in ys.items()} == dict.fromkeys(LAYERS, (*more, *X.shape))
    expected = traced(lambda scope, x: everything(scope / "a", x))[:2]
    assert (params, state) == jax.tree.map(lambda x: x.update(shape=(*stack, *x.shape)), expected)


GETTERS = {
    "cast": getters.cast(jnp.bfloat16),
    "lora": getters.lora(2),
    "ema": getters.ema(0.9),
    "weight_norm": getters.weight_norm(),
    "spectral_norm": getters.spectral_norm(training=True),
    "freeze": getters.freeze("kernel$"),
    "substitute": getters.substitute({}),
}


@pytest.mark.parametrize("name", mostly_slow(GETTERS, "cast", "ema"))
def test_every_layer_takes_every_getter(name):
    """Outputs have the shape and the dtype of the input; gradients and state those of the variables."""
    dtype = jnp.bfloat16 if name == "cast" else jnp.float32
    out = traced(lambda scope, x: everything(scope.with_defaults(custom_getter=GETTERS[name]), x), dtype)
    params, state, grads, (ys, after) = out
    chex.assert_trees_all_equal_shapes_and_dtypes((grads, after), (params, state))
    assert {name: (y.shape, y.dtype) for name, y in ys.items()} == dict.fromkeys(LAYERS, (X.shape, dtype))


def test_every_layer_reads_kernels_of_eight_bits():
    """Outputs are those of the same layers; there is no gradient by integers."""
    int8 = getters.quantized(jnp.int8)
    f = lambda scope, x: everything(scope.with_defaults(custom_getter=int8), x)  # noqa: E731
    params, _, _, (ys, _) = traced(f, backwards=False)
    kernels = [leaf for name, leaf in jscope.tree.flatten(params).items() if name.endswith("kernel")]
    assert {kernel.dtype for kernel in kernels} == {jnp.dtype(jnp.int8)}
    assert {name: (y.shape, y.dtype) for name, y in ys.items()} == dict.fromkeys(LAYERS, (X.shape, X.dtype))


@pytest.mark.parametrize("dtype", mostly_slow(["bfloat16", "float16", "float32"], "bfloat16"))
def test_outputs_have_the_dtype_of_the_input(dtype):
    """Variables and state stay in float32. Only an embedding has the dtype of its table."""
    dtype = jnp.dtype(dtype)
    params, state, _, (ys, after) = traced(everything, dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, state, after))} == {jnp.dtype(jnp.float32)}
    assert {name for name, y in ys.items() if y.dtype != dtype} <= {"embedding", "unembed"}


def test_narrow_inputs_give_nearly_the_same():
    """As near as the input is to the one in float32."""
    params, state, (expected, _) = plain()
    model = jscope.transform_with_state(lambda scope, x: main(scope / "a", x)).with_rng(jax.random.key(1))
    ys, _ = jax.jit(model.apply)(params, state, x_of(dtype=jnp.bfloat16))
    for name in MAIN.keys() - {"embedding", "dropout"}:
        assert np.allclose(ys[name].astype(jnp.float32), expected[name], atol=0.05), name


def test_statistics_are_taken_in_float32():
    """A large mean does not drown the differences of a bfloat16 input."""
    x = (64 + x_of() * 4).astype(jnp.bfloat16)
    norms = [name for name in LAYERS if "norm" in name]
    model, params, state = start(lambda scope, x: {name: LAYERS[name](scope / name, x) for name in norms})
    narrow, wide = jax.jit(lambda *xs: [model.apply(params, state, x)[0] for x in xs])(x, x.astype(jnp.float32))
    chex.assert_trees_all_equal(narrow, jax.tree.map(lambda y: y.astype(jnp.bfloat16), wide))


@pytest.mark.parametrize("layers", mostly_slow({"main": main, "everything": everything}, "main"))
def test_an_empty_batch_is_a_batch(layers):
    """Outputs are empty, gradients are zeros, and state stays."""
    model, params, state = start(lambda scope, x: globals()[layers](scope / "a", x))
    x = jnp.zeros((0, *X.shape[1:]))

    def loss(params):
        ys, after = model.apply(params, state, x)
        return sum(jnp.sum(y) for y in ys.values()), (ys, after)

    grads, (ys, after) = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert {y.shape for y in ys.values()} == {x.shape}
    chex.assert_trees_all_equal((grads, after), (jax.tree.map(jnp.zeros_like, params), state))


def lowered_names(function):
    model, params, state = shapes(function)
    text = jax.jit(model.apply).lower(params, state, X).as_text(debug_info=True)
    return set(re.findall(r'"jit\(apply\)/([^"]*)/dot_general', text))


def test_names_are_those_of_the_scopes():
    """In the lowered program, each layer adds the name that the enclosing one lacks, and lifts enter theirs outside."""

    @jscope.named
    def net(scope, x):
        return jscope.layers(lambda s, x: nn.dense(s / "dense", x, 6), 2, scanned=False)(scope / "layers", x)

    @jscope.named
    def remat(scope, x):
        return jscope.remat(lambda s, x: nn.dense(s / "dense", x, 6))(scope / "layer", x)

    assert lowered_names(lambda s, x: net(s / "net", x)) == {"net/layers/0/dense", "net/layers/1/dense"}
    assert lowered_names(lambda s, x: remat(s / "net", x)) == {"net/layer/checkpoint/dense"}


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

    model, params, state = shapes(lambda scope, x: net(scope / "net", x))
    traces.clear()
    jax.make_jaxpr(model.apply)(params, state, X)
    assert traces == [""]


@pytest.mark.parametrize(
    ("layer", "module", "name"),
    [
        (nn.rms_norm, jax.lax, "rsqrt"),
        (lambda s, x: nn.conv(s, x, 5, 3, padding="same"), jax.lax, "conv_general_dilated"),
        (lambda s, x: nn.conv_transpose(s, x, 5, 3, padding="same"), jax.lax, "conv_transpose"),
        (lambda s, x: nn.dropout(s, x, 0.5, training=True), jax.random, "bernoulli"),
        (lambda s, x: nn.gaussian_noise(s, x, 0.5, training=True), jax.random, "normal"),
        (lambda s, x: nn.mixture_of_experts(s, x, nn.rms_norm, 3), jax.lax, "top_k"),
        (lambda s, x: x + nn.embedding(s, jnp.zeros((2, 13), jnp.int32), 7, 5), jnp, "take"),
    ],
    ids=["rms_norm", "conv", "conv_transpose", "dropout", "gaussian_noise", "mixture_of_experts", "embedding"],
)
def test_what_layers_compute_is_traced_once_for_each_shape(monkeypatch, layer, module, name):
    """Also by `jax.grad`, which derives every operation anew wherever it meets it, unless a kept `jit` holds it."""
    calls, function = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **kwargs: calls.append(name) or function(*args, **kwargs))
    x = jnp.ones((2, 13, 5))  # A shape that no other test has.

    def net(scope, x):
        for place in "abc":
            x = layer(scope / place, x)
        return x.sum()

    model = jscope.transform(net).with_rng(jax.random.key(0))
    params = model.specs(x).shape_dtype()
    jax.make_jaxpr(jax.grad(model.apply, 1))(params, x)
    assert calls == [name]
