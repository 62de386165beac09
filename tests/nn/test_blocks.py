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

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (2, 4, 8))


def feed_forward(scope, x):
    return nn.glu(scope, x, 6)


def block(scope, x, **options):
    return nn.transformer_block(scope, x, 2, feed_forward, norm=nn.rms_norm, **options)


def experts(scope, x):
    return nn.mixture_of_experts(scope, x, feed_forward, 3)


def recurrent(scope, x):
    return nn.recurrent(nn.lstm, scope, x, 8, lengths=jnp.asarray([2, 4])[: x.shape[0]])[0]


LAYERS = {"block": partial(block, causal=True), "experts": experts, "recurrent": recurrent}
LIFTS = {
    "remat": jscope.remat,
    "jit": jscope.jit,
    "cond": lambda f: lambda scope, x: jscope.cond(x.sum() < 1e9, f, f, scope, x),
    "vmap": lambda f: lambda scope, x: jscope.vmap(f, variables="shared")(scope, x[None])[0],
    "fori_loop": lambda f: lambda scope, x: jscope.fori_loop(0, 1, lambda scope, i, x: f(scope, x), scope, x),
}


def init(f, *args, **options):
    """Variables for an input like `X`, from one program."""
    return jax.jit(lambda *args: jscope.init(f, KEY, *args, **options))(X, *args)


def apply(f, params, *args, **options):
    """Applies a layer in one program, which takes less time than one for each operation."""
    return jax.jit(lambda params, *args: jscope.apply(f, params, *args, **options))(params, *args)


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_work_under_every_lift(layer):
    """And in other dtypes, without examples, and unrolled or scanned."""
    f = LAYERS[layer]
    params = init(f)
    layers = {scanned: jscope.layers(f, 2, scanned=scanned) for scanned in (False, True)}
    stacked = init(layers[True])

    @jax.jit
    def run(params, stacked, x):
        lifted = {name: jscope.apply(lift(f), params, x) for name, lift in LIFTS.items()}
        twice = [jscope.apply(layers[True], stacked, x), jscope.apply(layers[False], jscope.tree.unstack(stacked), x)]
        half = [jscope.apply(f, params, x.astype(dtype)) for dtype in (jnp.bfloat16, jnp.float16)]
        return jscope.apply(f, params, x), lifted, twice, half, jscope.apply(f, params, x[:0])

    plain, lifted, twice, half, empty = run(params, stacked, X)
    for name, out in lifted.items():
        np.testing.assert_allclose(out, plain, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(*twice, atol=1e-5)
    assert [out.dtype for out in half] == [jnp.bfloat16, jnp.float16]
    if layer != "experts":  # There, rounding may send a token to another expert.
        for out in half:
            np.testing.assert_allclose(out.astype(jnp.float32), plain, atol=0.1)
    assert empty.shape == (0, 4, 8)


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_work_with_every_getter(layer):
    """Averages are written inside loops as well; low-rank factors start at no effect; casting changes no dtype."""
    f, plain = LAYERS[layer], apply(LAYERS[layer], init(LAYERS[layer]), X)
    chosen = {"lora": getters.lora(1), "ema": getters.ema(0.9), "cast": getters.cast(jnp.bfloat16)}

    def run(x):
        outs = {}
        for name, getter in chosen.items():
            model = jscope.transform_with_state(lambda scope, x, g=getter: f(scope.with_defaults(custom_getter=g), x))
            params, state = model.init(KEY, x)
            outs[name], after = model.apply(params, state, x)
            chex.assert_trees_all_equal_structs(after, state)
        return outs

    for name, out in jax.jit(run)(X).items():
        assert out.dtype == X.dtype
        np.testing.assert_allclose(out, plain, atol=1.0 if name == "cast" else 1e-5, err_msg=name)


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

    context = X[:, :3] + 1
    for norm_first in (True, False):
        params = init(by_hand, context, norm_first=norm_first)
        expected = apply(by_hand, params, X, context, norm_first=norm_first)
        out = apply(
            lambda scope, x, c, first=norm_first: block(scope, x, context=c, norm_first=first), params, X, context
        )
        np.testing.assert_allclose(out, expected, atol=1e-6)


def test_a_block_drops_in_training_only():
    """Training without a key is an error, and so is not to say whether it is training."""
    model, params = jscope.transform(partial(block, dropout=0.5)), init(block)
    plain = apply(block, params, X)
    np.testing.assert_array_equal(apply(block, params, X, dropout=0.5, training=False), plain)
    dropped = jax.jit(partial(model.with_rng(KEY).apply, training=True))(params, X)
    assert (dropped != plain).any()
    with pytest.raises(MissingRngError):
        model.apply(params, X, training=True)
    with pytest.raises(InvalidArgumentError, match="`training` is None"):
        model.apply(params, X)


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
    r"`nn\.lstm` in the scope `a`: the carry has the shape \(2, 5\)": lambda s: nn.lstm(
        s, jnp.ones((2, 5)), X[:, 0], 5
    ),
    "`units` is 0": lambda s: nn.gru(s, None, X[:, 0], 0),
    "the lengths have shape .* and dtype float32": lambda s: nn.recurrent(nn.gru, s, X, 5, lengths=jnp.ones(2)),
    "nothing says what the carry of `own` is": lambda s: nn.recurrent(own, s, X, 5),
    "`merge_mode` is 'both'": lambda s: nn.bidirectional(nn.gru, s, X, 5, merge_mode="both"),
    r"`kernel_size` is \(3, 3\), and the input has shape": lambda s: nn.conv_lstm(s, None, X, 5, (3, 3)),
    "`padding` is 'circular'": lambda s: nn.conv_lstm(s, None, X, 5, (3,), padding="circular"),
}


def own(scope, carry, x, units):
    return carry, x


@pytest.mark.parametrize("match", BAD)
def test_bad_input_is_refused(match):
    """With the scope, what was found and asked for, and what to do."""
    with pytest.raises(InvalidArgumentError, match=match):
        jscope.specs(lambda scope: BAD[match](scope / "a"))
