"""Layers for sequences, each with the same written by hand: the second half of the table in `tests/nn/layers.py`.

The input (b, h, w, c) is read as (b, t, c), with all pixels as tokens. By hand, variables come by name, and what is in
scopes of its own enters their names.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

from jscope import nn


def tokens(x):
    """Returns (b, h, w, c) as (b, t, c)."""
    return x.reshape(x.shape[0], 12, 6)


def image(y):
    """Returns (b, t, c) as (b, h, w, c)."""
    return y.reshape(y.shape[0], 3, 4, 6)


def dense(v, x):
    return x @ v["kernel"] + v["bias"] if "bias" in v else x @ v["kernel"]


def project(v, name, equation, x):
    with jax.named_scope(name):
        return jnp.einsum(equation, x, v[name]["kernel"]) + v[name]["bias"]


def heads(v, x, context=None):
    """Queries, keys and values of two heads."""
    sources = (x, *(x if context is None else context,) * 2)
    names = ("query", "key", "value")
    return [project(v, name, "btd,dhk->bthk", source) for name, source in zip(names, sources, strict=True)]


def out(v, x):
    return project(v, "attention_output", "bthv,hvu->btu", x)


def attention(v, x, context=None, **options):
    return out(v, jax.nn.dot_product_attention(*heads(v, x, context), **options))


def masked(mask, v, x):
    q, k, value = heads(v, x)
    return out(v, jax.nn.dot_product_attention(q, k, value, mask=mask[None, None]))


def rotated(rotary, v, x):
    q, k, value = heads(v, x)
    positions = jnp.arange(12)
    return out(v, jax.nn.dot_product_attention(rotary(q, positions), rotary(k, positions), value))


def preferring_near(v, x):
    q, k, value = heads(v, x)
    positions = jnp.arange(12)
    return out(v, jax.nn.dot_product_attention(q, k, value, nn.alibi(2, positions, positions)))


def capped(v, x, key):
    """What JAX's attention does not have: a soft cap, and weights that are dropped."""
    q, k, value = heads(v, x)
    b, t, h, _ = q.shape
    logits = jnp.einsum("btgrk,bsgk->bgrts", q.reshape(b, t, h, 1, -1), k, preferred_element_type=jnp.float32)
    logits = 5.0 * jnp.tanh(logits.reshape(b, h, t, t) * (1 / 3**0.5) / 5.0)
    queries, keys = jnp.arange(t), jnp.arange(t)
    seen = ((queries[:, None] - keys[None, :] >= 0) & (keys >= 0)[None, :])[None, None]
    logits = jnp.where(jnp.broadcast_to(seen, logits.shape), logits, -0.7 * float(jnp.finfo(jnp.float32).max))
    weights = jax.nn.softmax(logits, axis=-1)
    keep = jax.random.bernoulli(key(), 1 - 0.5, weights.shape)
    weights = jnp.where(keep, weights / (1 - 0.5), jnp.zeros((), x.dtype)).reshape(b, h, 1, t, t)
    return out(v, jnp.einsum("bgrts,bsgv->btgrv", weights, value).reshape(b, t, h, -1))


def relative(v):
    """Eight buckets for the distances of four keys from three queries."""
    queries, keys = jnp.atleast_2d(jnp.arange(3)), jnp.atleast_2d(jnp.arange(4))
    distance = keys[:, None, :] - queries[:, :, None]
    first, distance = jnp.where(distance > 0, 4, 0), jnp.abs(distance)
    ratio = jnp.log(jnp.maximum(distance, 1).astype(jnp.float32) / 2) / math.log(128 / 2)
    far = 2 + (ratio * 2).astype(jnp.int32)
    buckets = first + jnp.where(distance < 2, distance, jnp.minimum(far, 3))
    return jnp.moveaxis(v["embeddings"][buckets], -1, 1)


def lstm_step(v, carry, x):
    h, c = carry
    i, f, g, o = jnp.split(x @ v["kernel"] + h @ v["recurrent_kernel"] + v["bias"], 4, axis=-1)
    written = jax.nn.sigmoid(i) * jnp.tanh(g)
    c = jax.nn.sigmoid(f) * c + written
    y = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (y, c), y


def gru_step(v, h, x):
    from_x, from_h = x @ v["kernel"], h @ v["recurrent_kernel"]
    from_x, from_h = from_x + v["bias"][0], from_h + v["bias"][1]
    z, r = jnp.split(jax.nn.sigmoid(from_x[..., :12] + from_h[..., :12]), 2, axis=-1)
    remembered = r * from_h[..., 12:]
    y = z * h + (1 - z) * jnp.tanh(from_x[..., 12:] + remembered)
    return y, y


def rnn_step(v, h, x):
    y = jnp.tanh(x @ v["kernel"] + h @ v["recurrent_kernel"] + v["bias"])
    return y, y


def nothing(x, count=1):
    zeros = jnp.zeros((*x.shape[:-1], 6), x.dtype)
    return zeros if count == 1 else (zeros, zeros)


# The same each time: JAX traces the body of a loop once, in whichever direction it goes.
@functools.cache
def in_turn(step):
    def body(carry, x):
        v, carry = carry
        carry, y = step(v, carry, x)
        return (v, carry), y

    return body


def over_time(step, v, x, count=1, reverse=False):
    first = nothing(jax.ShapeDtypeStruct((x.shape[0], 6), x.dtype), count)
    # What is carried on unchanged becomes a constant of the loop; so do the variables of `jscope.scan`, in this order.
    _, ys = jax.lax.scan(in_turn(step), (v, first), jnp.moveaxis(x, 1, 0), reverse=reverse)
    return jnp.moveaxis(ys, 0, 1)


def both_ways(v, x):
    runs = []
    for name in ("forward", "backward"):
        with jax.named_scope(name):
            runs.append(over_time(gru_step, v[name], x, reverse=name == "backward"))
    return (runs[0] + runs[1]) / 2


def image_step(v, x):
    """A convolutional LSTM that has seen nothing."""
    conv = functools.partial(jax.lax.conv_general_dilated, window_strides=(1, 1), padding="SAME")
    conv = functools.partial(conv, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    gates = conv(x, v["kernel"])
    zeros = jnp.zeros(x.shape, x.dtype)
    i, f, g, o = jnp.split(gates + conv(zeros, v["recurrent_kernel"]) + v["bias"], 4, axis=-1)
    written = jax.nn.sigmoid(i) * jnp.tanh(g)
    c = jax.nn.sigmoid(f) * zeros + written
    return jax.nn.sigmoid(o) * jnp.tanh(c)


def within(name, function, v, *args):
    with jax.named_scope(name):
        return function(v[name], *args)


def mlp(v, x):
    """The activation is applied under the name of the layer that it belongs to."""
    with jax.named_scope("hidden"):
        hidden = jax.nn.gelu(dense(v["hidden"], x))
    return within("out", dense, v, hidden)


def glu(v, x):
    with jax.named_scope("gate"):
        gate = jax.nn.silu(dense(v["gate"], x))
    return within("out", dense, v, gate * within("hidden", dense, v, x))


def rms_norm(v, x):
    return x * jax.lax.rsqrt((x * x).mean((-1,), keepdims=True) + 1e-6) * v["scale"]


def block(v, x):
    x = x + within("attention", attention, v, within("attention_norm", rms_norm, v, x))
    return x + within("mlp", glu, v, within("mlp_norm", rms_norm, v, x))


def experts(v, x):
    """Two of three experts for each token, with room for 20 of the 24 tokens in each."""
    x_nd = x.reshape(24, 6)
    logits = within("router", dense, v, x_nd)
    weight, chosen = jax.lax.top_k(jax.nn.softmax(logits, axis=-1), 2)
    weight, chosen = weight / weight.sum(-1, keepdims=True), chosen.T
    one_hot = jax.nn.one_hot(chosen.reshape(48), 3, dtype=jnp.int32)
    queue = ((jnp.cumsum(one_hot, axis=0) - one_hot) * one_hot).sum(-1).reshape(2, 24)
    kept = queue < 20
    slot, weight = jnp.where(kept, chosen * 20 + queue, 60), weight.T
    # What is sown, whether anybody captures it or not.
    used = jnp.zeros(3, jnp.float32).at[chosen].add(1 / 48)
    wanted = jax.nn.softmax(logits, axis=-1).sum(0) / 24
    (
        3 * jnp.sum(used * wanted),
        jnp.sum(jax.nn.logsumexp(logits, axis=-1) ** 2) / 24,
        jnp.sum(~kept, dtype=jnp.float32) / 48,
    )
    room = jnp.zeros((60, 6), x.dtype).at[slot].set(jnp.broadcast_to(x_nd, (2, 24, 6)), mode="drop").reshape(3, 20, 6)
    y = within("experts", jax.vmap(dense), v, room).reshape(60, 6)
    y = jnp.einsum("kn,knu->nu", weight, y.at[slot].get(mode="fill", fill_value=0))
    return y.reshape(x.shape)


def last_of(function):
    """Returns what a cell gives out, without its carry."""
    return lambda *args: function(*args)[1]
