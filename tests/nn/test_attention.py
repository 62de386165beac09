"""Attention: what is computed by hand, caches, and bad input. What Keras has is compared in `test_sequences.py`."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import initializers, nn
from jscope.errors import InvalidArgumentError, MissingRngError, ShapeMismatchError
from tests.crossed import mostly_slow
from tests.nn.filled import filled
from tests.nn.sequence_cases import numbers

KEY = jax.random.key(0)
X = jnp.asarray(numbers("x", (2, 6, 8)))


def attend(scope, x, *args, **options):
    """Queries in groups, so that heads are told apart from groups."""
    options = {"num_key_value_heads": 2, "bias_initializer": initializers.normal(0.5), **options}
    return nn.attention(scope, x, 4, *args, **options)


PARAMS = filled(jscope.specs(attend, X))


def run(x, **options):
    """Applies the layer in one program, which takes less time than one for each operation."""
    return jax.jit(lambda params, x: jscope.apply(attend, params, x, **options))(PARAMS, x)


def by_numpy(x, soft_cap, scale, bias, mask):
    """The formula, head by head."""
    x, params = np.asarray(x, np.float64), jax.tree.map(lambda a: np.asarray(a, np.float64), PARAMS)
    q, k, v = (
        np.einsum("btd,dhk->bhtk", x, params[name]["kernel"]) + params[name]["bias"][None, :, None]
        for name in ("query", "key", "value")
    )
    out = np.zeros_like(q)
    for b in range(q.shape[0]):
        for h in range(4):
            logits = q[b, h] @ k[b, h // 2].T * scale
            logits = soft_cap * np.tanh(logits / soft_cap) + bias[b, h]
            weights = np.where(mask[b, h], np.exp(logits), 0)
            out[b, h] = weights / weights.sum(-1, keepdims=True) @ v[b, h // 2]
    output = params["attention_output"]
    return np.einsum("bhtk,hkd->btd", out, output["kernel"]) + output["bias"]


def test_attention_is_its_formula():
    """With groups, soft cap, scale, bias of the logits and mask at once."""
    bias = jax.random.normal(KEY, (2, 4, 6, 6))
    mask = (jax.random.uniform(KEY, (2, 4, 6, 6)) > 0.5) | jnp.eye(6, dtype=bool)[None, None]
    out = run(X, soft_cap=2.0, scale=0.7, logit_bias=bias, mask=mask)
    np.testing.assert_allclose(out, by_numpy(X, 2.0, 0.7, np.asarray(bias), np.asarray(mask)), atol=1e-5)


def test_attention_is_the_program_by_hand():
    """Projections, JAX's own attention, and a projection, under the names of the scopes."""

    def project(equation, params, x, name, bias_axes):
        with jax.named_scope(name):
            kernel, bias = params[name]["kernel"], params[name]["bias"]
            return jnp.einsum(equation, x, kernel) + jnp.expand_dims(bias, bias_axes)

    def by_hand(params, x):
        q, k, v = (project("btd,dhk->bthk", params, x, name, (0, 1)) for name in ("query", "key", "value"))
        out = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        return project("bthv,hvu->btu", params, out, "attention_output", (0, 1))

    def layer(params, x):
        return jscope.apply(attend, params, x, causal=True)

    found, expected = (jax.jit(f).lower(PARAMS, X).as_text().replace(f.__name__, "f") for f in (layer, by_hand))
    assert found == expected


OPTIONS = {
    "plain": {},
    "causal": {"causal": True},
    "window": {"sliding_window": 2},
    "causal window": {"causal": True, "sliding_window": 3},
    "mask": {"mask": (jnp.arange(6) != 3)[None, :] | jnp.eye(6, dtype=bool), "causal": True},
    "nothing to see": {"mask": jnp.zeros((6, 6), bool)},
    "bias": {"logit_bias": partial(nn.alibi, 4), "rotary": nn.rotary},
}


@pytest.mark.parametrize("kind", mostly_slow(["float32", "bfloat16", "no examples"], "float32"))
def test_what_is_done_by_hand_is_what_jax_does(kind):
    """A soft cap far above all logits changes nothing, but takes the path by hand; in bfloat16 and without examples."""
    x, tolerance = {"float32": (X, 1e-5), "bfloat16": (X.astype(jnp.bfloat16), 0.1), "no examples": (X[:0], 0)}[kind]

    def all_options(params, x, soft_cap):
        return {name: jscope.apply(attend, params, x, soft_cap=soft_cap, **o) for name, o in OPTIONS.items()}

    run_all = jax.jit(all_options, static_argnums=2)
    by_jax, by_hand = run_all(PARAMS, x, None), run_all(PARAMS, x, 1e5)
    for name in OPTIONS:
        assert by_jax[name].dtype == by_hand[name].dtype == x.dtype
        assert by_jax[name].shape == x.shape
        found, expected = (outs[name].astype(jnp.float32) for outs in (by_hand, by_jax))
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=name)


def test_softmax_is_in_float32():
    """Logits that bfloat16 cannot tell apart give different weights."""
    logits = jnp.asarray([256.0, 257.0])[None, None, None]
    f = partial(nn.attention, num_heads=1, key_dim=2, logit_bias=logits, use_bias=False)
    value = jnp.asarray([[1.0, 0.0], [0.0, 1.0]])[:, None]
    params = {name: {"kernel": 0 * value} for name in ("query", "key")}
    params |= {"value": {"kernel": value}, "attention_output": {"kernel": jnp.eye(2)[None]}}
    x = jnp.eye(2, dtype=jnp.bfloat16)[None]
    for soft_cap in (None, 10.0):
        out = jax.jit(partial(jscope.apply, f, soft_cap=soft_cap))(params, x)[0, 0].astype(jnp.float32)
        np.testing.assert_allclose(out, jax.nn.softmax(jnp.asarray([0.0, 1.0])), atol=0.01)


CACHES = {
    "all": ({"causal": True}, 6),
    "room to spare, alibi": ({"causal": True, "logit_bias": partial(nn.alibi, 4)}, 9),
    "a ring of the window": ({"causal": True, "sliding_window": 3}, 3),
    "a larger ring, alibi": ({"causal": True, "sliding_window": 3, "logit_bias": partial(nn.alibi, 4)}, 5),
}


@pytest.mark.parametrize("name", mostly_slow(CACHES, "all", "a larger ring, alibi"))
def test_attention_with_a_cache_is_attention_without(name):
    """In chunks of 3, 1 and 2 tokens, with rotary positions; and all at once."""
    options, size = CACHES[name]
    attend_to = partial(jscope.apply, attend, rotary=nn.rotary, **options)

    def cached(params, x, *ends):
        outs, cache = [], nn.KVCache.zeros(2, size, 2, 2)
        for chunk in jnp.split(x, ends, axis=1):
            out, cache = attend_to(params, chunk, cache=cache)
            outs.append(out)
        return jnp.concatenate(outs, 1), cache.length

    ways = jax.jit(lambda params, x: (attend_to(params, x), cached(params, x, 3, 4), cached(params, x)))
    expected, *found = ways(PARAMS, X)
    for out, length in found:
        np.testing.assert_allclose(out, expected, atol=1e-5)
        assert length == 6


def test_a_cache_that_is_too_small():
    """An error where its length is known; where it is traced, the newest tokens take the last slots."""
    with pytest.raises(ShapeMismatchError, match=r"the root scope, the cache has 4 slots.*too few for 6 tokens"):
        jscope.apply(attend, PARAMS, X, cache=nn.KVCache.zeros(2, 4, 2, 2))
    on = lambda x, cache: jscope.apply(attend, PARAMS, x, cache=cache)[1]  # noqa: E731
    # Filled by a program, whose caches say how full they are.
    full = jax.jit(on)(X[:, :4], nn.KVCache.zeros(2, 4, 2, 2))
    with pytest.raises(ShapeMismatchError, match="too few for 5 tokens"):
        on(X[:, 4:5], full)
    after, cache = jax.jit(on)(X[:, 4:5], full), full
    np.testing.assert_array_equal(after.key[:, :3], cache.key[:, :3])
    assert (after.key[:, 3] != cache.key[:, 3]).any()
    with pytest.raises(ShapeMismatchError, match="a window of 5 tokens"):
        jscope.apply(attend, PARAMS, X[:, :1], cache=nn.KVCache.zeros(2, 4, 2, 2), sliding_window=5)
    with pytest.raises(ShapeMismatchError, match=r"keys of shape \(2, 4, 1, 2\)"):
        jscope.apply(attend, PARAMS, X, cache=nn.KVCache.zeros(2, 4, 1, 2))


def test_dropout_drops_weights_in_training_only():
    """Each with its key; and says what is missing."""
    drop = jscope.transform(partial(attend, dropout=0.5))
    np.testing.assert_allclose(run(X, dropout=0.5, training=False), run(X), atol=1e-6)
    dropped = jax.jit(lambda key: drop.with_rng(key).apply(PARAMS, X, training=True))
    assert (dropped(jax.random.key(1)) != dropped(jax.random.key(2))).any()
    with pytest.raises(MissingRngError):
        jax.eval_shape(partial(drop.apply, training=True), PARAMS, X)
    with pytest.raises(InvalidArgumentError, match="`training` is None"):
        jax.eval_shape(drop.apply, PARAMS, X)
    with pytest.raises(InvalidArgumentError, match='"cudnn" has neither dropout'):
        jax.eval_shape(partial(drop.with_rng(KEY).apply, training=True, implementation="cudnn"), PARAMS, X)


BAD = {
    r"`nn\.attention` in the scope `a`: 8 features cannot be divided among 3 heads": {"num_heads": 3},
    "4 heads are not a multiple of 3 heads of keys": {"num_heads": 4, "num_key_value_heads": 3},
    "`num_heads` is 0": {"num_heads": 0},
    r"the mask is an array of shape \(2, 6\), and \(b, heads, t, s\) is \(2, 4, 6, 6\)": {
        "num_heads": 4,
        "mask": jnp.ones((2, 6), bool),
    },
    "the mask is a `list`": {"num_heads": 4, "mask": [[True] * 6] * 6},
    "the mask has dtype float32": {"num_heads": 4, "mask": jnp.ones((6, 6))},
    r"the bias of the logits is an array of shape \(6, 6\)": {"num_heads": 4, "logit_bias": jnp.ones((6, 6))},
    "the positions have dtype float32": {"num_heads": 4, "positions": jnp.arange(6.0)},
    "a cache continues `x` itself": {"num_heads": 4, "context": X, "cache": nn.KVCache.zeros(2, 6, 4, 2)},
    r"the context has shape \(1, 6, 8\)": {"num_heads": 4, "context": X[:1]},
    "`soft_cap` is 0": {"num_heads": 4, "soft_cap": 0.0},
    "`value_dim` is 0": {"num_heads": 4, "value_dim": 0},
    "`units` is 0": {"num_heads": 4, "units": 0},
    "`sliding_window` is 0": {"num_heads": 4, "sliding_window": 0},
}


@pytest.mark.parametrize("match", BAD)
def test_bad_input_is_refused(match):
    """With the scope, what was found and asked for, and what to do."""
    with pytest.raises(InvalidArgumentError, match=match):
        jscope.specs(lambda scope: nn.attention(scope / "a", X, **BAD[match]))


def test_logical_axes_follow_those_of_the_queries():
    """Fewer heads of keys and values have a name of their own."""
    axes = {name: spec.axes for name, spec in jscope.specs(attend, X).flat().items() if name.endswith("kernel")}
    assert axes == {
        "query/kernel": ("embed", "heads", None),
        "key/kernel": ("embed", "kv_heads", None),
        "value/kernel": ("embed", "kv_heads", None),
        "attention_output/kernel": ("heads", None, "embed"),
    }
