"""Blocks, and what is true of all layers for sequences: any dtype, any lift, any getter."""

from __future__ import annotations

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import getters, nn
from jscope.errors import InvalidArgumentError, MissingRngError
from tests.crossed import mostly_slow
from tests.nn.filled import filled
from tests.nn.sequence_cases import numbers

KEY = jax.random.key(0)
X = jnp.asarray(numbers("x", (2, 4, 8)))


def feed_forward(scope, x):
    return nn.glu(scope, x, 6)


def block(scope, x, feed_forward=feed_forward, **options):
    return nn.transformer_block(scope, x, 2, feed_forward, norm=nn.rms_norm, **options)


def everything(scope, x):
    """Attention, experts and a recurrent layer."""
    x = block(scope / "block", x, lambda scope, x: nn.mixture_of_experts(scope, x, feed_forward, 3), causal=True)
    lengths = jnp.asarray([2, 4])[: x.shape[0]]
    return x + nn.recurrent(nn.lstm, scope / "lstm", x, 8, lengths=lengths)[0]


LIFTS = {
    "remat": jscope.remat,
    "jit": jscope.jit,
    "vmap": lambda f: lambda scope, x: jscope.vmap(f, variables="shared")(scope, x[None])[0],
    "fori_loop": lambda f: lambda scope, x: jscope.fori_loop(0, 1, lambda scope, i, x: f(scope, x), scope, x),
}


@pytest.mark.slow
def test_layers_work_under_every_lift():
    """Scanned or unrolled as well."""
    params = filled(jscope.specs(everything, X))
    layers = {scanned: jscope.layers(everything, 2, scanned=scanned) for scanned in (False, True)}
    stacked = filled(jscope.specs(layers[True], X))

    @jax.jit
    def run(params, stacked, x):
        lifted = {name: jscope.apply(lift(everything), params, x) for name, lift in LIFTS.items()}
        twice = [jscope.apply(layers[True], stacked, x), jscope.apply(layers[False], jscope.tree.unstack(stacked), x)]
        return jscope.apply(everything, params, x), lifted, twice

    plain, lifted, twice = run(params, stacked, X)
    for name, out in lifted.items():
        np.testing.assert_allclose(out, plain, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(*twice, atol=1e-5)


def test_layers_take_any_dtype_and_no_examples():
    """The output has the dtype of the input."""
    params = jscope.specs(everything, X).shape_dtype()
    for shape, dtype in ((X.shape, jnp.bfloat16), (X.shape, jnp.float16), ((0, 4, 8), jnp.float32)):
        out = jax.eval_shape(partial(jscope.apply, everything), params, jax.ShapeDtypeStruct(shape, dtype))
        assert (out.shape, out.dtype) == (shape, dtype)


def test_layers_work_with_every_getter():
    """Averages are written inside loops as well; low-rank factors start at no effect; casting changes no dtype."""
    chosen = {"lora": getters.lora(1), "ema": getters.ema(0.9), "cast": getters.cast(jnp.bfloat16)}

    params = filled(jscope.specs(everything, X))

    @jax.jit
    def run(params, x):
        outs = {"plain": jscope.apply(everything, params, x)}
        for name, getter in chosen.items():
            f = lambda scope, x, g=getter: everything(scope.with_defaults(custom_getter=g), x)  # noqa: E731
            model = jscope.transform_with_state(f)
            specs = model.specs(x)
            own = jax.tree.map(lambda struct: jnp.zeros(struct.shape, struct.dtype), specs.params.shape_dtype())
            own = jscope.tree.unflatten(jscope.tree.flatten(own) | jscope.tree.flatten(params))
            outs[name], after = model.apply(own, specs.state.materialize(KEY), x)
            chex.assert_trees_all_equal_structs(after, specs.state.shape_dtype())
        return outs

    outs = run(params, X)
    for name, out in outs.items():
        assert out.dtype == X.dtype
        np.testing.assert_allclose(out, outs["plain"], atol=1.0 if name == "cast" else 1e-5, err_msg=name)


def test_a_block_is_what_it_says():
    """Before the norm or after it, with a context or without."""

    def by_hand(scope, x, context, *, norm_first):
        branches = {
            "attention": lambda scope, x: nn.attention(scope, x, 2),
            "cross_attention": lambda scope, x: nn.attention(scope, x, 2, context=context),
            "mlp": feed_forward,
        }
        for name, branch in branches.items():
            norm = partial(nn.rms_norm, scope / f"{name}_norm")
            x = x + branch(scope / name, norm(x)) if norm_first else norm(x + branch(scope / name, x))
        return x

    def both(x, context):
        for first in (True, False):
            params = filled(jscope.specs(by_hand, X, X[:, :3], norm_first=first))
            expected = jscope.apply(by_hand, params, x, context, norm_first=first)
            yield expected, jscope.apply(block, params, x, context=context, norm_first=first)

    for expected, out in jax.jit(lambda *args: list(both(*args)))(X, X[:, :3] + 1):
        np.testing.assert_allclose(out, expected, atol=1e-6)


def test_a_block_drops_in_training_only():
    """Training without a key is an error, and so is not to say whether it is training."""
    model, params = jscope.transform(partial(block, dropout=0.5)), filled(jscope.specs(block, X))

    @jax.jit
    def run(params, x, key):
        trained = model.with_rng(key).apply(params, x, training=True)
        return jscope.apply(block, params, x), model.apply(params, x, training=False), trained

    plain, evaluated, trained = run(params, X, KEY)
    np.testing.assert_allclose(evaluated, plain, atol=1e-6)
    assert (trained != plain).any()
    with pytest.raises(MissingRngError):
        jax.eval_shape(partial(model.apply, training=True), params, X)
    with pytest.raises(InvalidArgumentError, match="`training` is None"):
        jax.eval_shape(model.apply, params, X)


@pytest.mark.parametrize("which", ["dropout", "recurrent_dropout"])
def test_a_recurrent_network_drops_the_same_in_all_steps(which):
    """Of inputs or of states, which one identity matrix passes on: what is kept is doubled, once or in each step."""
    eye, zeros = jnp.eye(8), jnp.zeros((8, 8))
    kernels = (eye, zeros) if which == "dropout" else (zeros, eye)
    params = dict(zip(("kernel", "recurrent_kernel"), kernels, strict=True))
    options = {"activation": lambda x: x, "use_bias": False, which: 0.5}
    run = partial(nn.recurrent, nn.rnn, initial=jnp.ones((2, 8)), **options)
    model = jscope.transform(lambda scope, xs, **options: run(scope, xs, 8, **options)[0])
    xs = jnp.ones((2, 3, 8))
    ys, others = (model.with_rng(jax.random.key(i)).apply(params, xs, training=True) for i in (1, 2))
    steps = [2, 2, 2] if which == "dropout" else [2, 4, 8]
    np.testing.assert_array_equal(ys, (ys[:, :1] / 2) * jnp.asarray(steps, jnp.float32)[None, :, None])
    assert set(np.unique(ys[:, 0])) == {0.0, 2.0}
    assert (ys != others).any()
    np.testing.assert_array_equal(model.apply(params, xs, training=False), jnp.ones((2, 3, 8)))


CELLS = {
    "lstm": nn.lstm,
    "conv_lstm": nn.conv_lstm,
    "rnn": nn.rnn,
    "gru": nn.gru,
    "gru that resets before": partial(nn.gru, reset_after=False),
}


@pytest.mark.parametrize("name", mostly_slow(CELLS, "lstm"))
def test_cells_drop_in_training_only(name):
    """Inputs and states, with a key each; and say what is missing."""
    cell = CELLS[name]
    x, size = (X.reshape(2, 4, 2, 2, 2), (5, (2, 1))) if cell is nn.conv_lstm else (X, (5,))
    options = {"padding": "same"} if cell is nn.conv_lstm else {}
    run = lambda scope, x, **more: nn.recurrent(cell, scope, x, *size, **options, **more)[0]  # noqa: E731
    model, params = jscope.transform(run), filled(jscope.specs(run, x))
    for rates in ({"dropout": 0.5}, {"recurrent_dropout": 0.5}):
        plain, dropped = jax.jit(
            lambda params, x, rates=rates: (
                model.apply(params, x, training=False, **rates),
                model.with_rng(KEY).apply(params, x, training=True, **rates),
            )
        )(params, x)
        np.testing.assert_array_equal(plain, model.apply(params, x))
        assert (plain != dropped).any()
        with pytest.raises(MissingRngError):
            jax.eval_shape(partial(model.apply, training=True, **rates), params, x)
        with pytest.raises(InvalidArgumentError, match="`training` is None"):
            jax.eval_shape(partial(model.apply, **rates), params, x)
    with pytest.raises(InvalidArgumentError, match="`recurrent_dropout` is 2"):
        jax.eval_shape(partial(model.apply, training=False, recurrent_dropout=2), params, x)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (None, [0, 1, 0, 0]),
        (jscope.OFF, [0, 1, 0, 0]),
        (jscope.initializers.constant(2.0), [2, 1, 2, 2]),
        (jnp.arange(4.0), [0, 1, 2, 3]),
    ],
)
@pytest.mark.parametrize("unit_forget_bias", [True, False])
def test_the_forget_gate_starts_open(start, expected, unit_forget_bias):
    """Unless an array says how all gates start, or it is not to."""
    cell = partial(nn.lstm, bias_initializer=start, unit_forget_bias=unit_forget_bias)
    expected = expected if unit_forget_bias else [expected[0], expected[2] if callable(start) else 0, *expected[2:]]
    if isinstance(start, jax.Array):
        expected = start
    np.testing.assert_array_equal(jscope.init(cell, KEY, None, X[:, 0], 1)["bias"], expected)


def test_carries_keep_their_dtype():
    """A memory in float32 sums up exactly in a network in bfloat16; and a cell of one's own has to bring a carry."""
    x = jnp.ones((2, 3), jnp.bfloat16)
    for cell, carry in ((nn.lstm, (jnp.zeros((2, 5)), jnp.zeros((2, 5)))), (nn.gru, jnp.zeros((2, 5)))):
        params = jscope.specs(cell, None, x, 5).shape_dtype()
        after, y = jax.eval_shape(
            lambda params, carry, x, cell=cell: jscope.apply(cell, params, carry, x, 5), params, carry, x
        )
        assert y.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(after)} == {jnp.dtype("float32")}


BAD = {
    r"`nn\.lstm` in the scope `a`: the carry has the shape \(2,": lambda s: nn.lstm(s, jnp.ones((2, 5)), X[:, 0], 5),
    "`units` is 0": lambda s: nn.gru(s, None, X[:, 0], 0),
    "the lengths are a `list`": lambda s: nn.recurrent(nn.gru, s, X, 5, lengths=[1, 1]),
    "the lengths have shape .* and dtype float32": lambda s: nn.recurrent(nn.gru, s, X, 5, lengths=jnp.ones(2)),
    "nothing says what the carry of `own` is": lambda s: nn.recurrent(own, s, X, 5),
    "`merge_mode` is 'both'": lambda s: nn.bidirectional(nn.gru, s, X, 5, merge_mode="both"),
    r"`kernel_size` is \(3, 3\), and the input has shape": lambda s: nn.conv_lstm(s, None, X, 5, (3, 3)),
    "a window of 5 does not fit spatial axis 0 of size 2": lambda s: nn.conv_lstm(s, None, X[:, :2], 5, (5,)),
    "`strides` is 0": lambda s: nn.conv_lstm(s, None, X, 5, (3,), strides=0),
    r"`nn\.dense` in the scope `a/out`: `units` is 0": lambda s: nn.mlp(s, X, 5, 0),
    "`padding` is 'circular'": lambda s: nn.conv_lstm(s, None, X, 5, (3,), padding="circular"),
}


def own(scope, carry, x, units):
    return carry, x


@pytest.mark.parametrize("match", BAD)
def test_bad_input_is_refused(match):
    """With the scope, what was found and asked for, and what to do."""
    with pytest.raises(InvalidArgumentError, match=match):
        jscope.specs(lambda scope: BAD[match](scope / "a"))
