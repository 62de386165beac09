"""The table of layers, each with the same written by hand: `tests/nn/test_laws.py` crosses it with the rest of jscope.

Layers here take `(scope, x_bhwc)` and keep the shape of `X`, so that they can be repeated. By hand, a layer is a
function of its variables, the input and what draws a random key; it returns the output, and
the new state if it has any.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import nn
from tests.nn import sequence_layers as seq

X = jax.ShapeDtypeStruct((2, 3, 4, 6), jnp.float32)
"""The input: (b, h, w, c)."""


@dataclass(frozen=True)
class Layer:
    """A layer, and the same by hand.

    Attributes:
      function: The layer, `(scope, x) -> y`.
      hand: `(variables, x, key) -> y`, or `-> (y, new state)`; `key()` draws a random key.
      random: Whether it draws random numbers.
      stateful: Whether it writes state, so that `hand` returns it.
      prepare: Makes the layer's input from `X`.
      finish: Makes an array like `X` from its output.
    """

    function: Callable[..., Any]
    hand: Callable[..., Any]
    random: bool = False
    stateful: bool = False
    prepare: Callable[..., Any] = lambda x: x
    finish: Callable[..., Any] = lambda y: y

    def __call__(self, scope, x):
        return self.finish(self.function(scope, self.prepare(x)))


def conv_by_hand(x, kernel, groups=1, padding=((1, 1), (1, 1)), strides=(1, 1)):
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
    )


def transpose_by_hand(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_transpose(x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=numbers, transpose_kernel=True)


def separable_by_hand(v, x):
    y = conv_by_hand(x, v["depthwise_kernel"].reshape(3, 3, 1, 6), groups=6)
    return conv_by_hand(y, v["pointwise_kernel"], padding=((0, 0), (0, 0))) + v["bias"]


def standardized(x, over, epsilon):
    centered = x - x.mean(over, keepdims=True)
    return centered * jax.lax.rsqrt((centered * centered).mean(over, keepdims=True) + epsilon)


def rms_by_hand(v, x):
    return x * jax.lax.rsqrt((x * x).mean((-1,), keepdims=True) + 1e-6) * v["scale"]


def group_by_hand(v, x, groups):
    y = standardized(x.reshape(*x.shape[:-1], groups, -1), (1, 2, 4), 1e-3)
    return y.reshape(x.shape) * v["gamma"] + v["beta"]


def batch_by_hand(v, x):
    count = x.size // x.shape[-1]
    mean = x.sum((0, 1, 2)) / count
    centered = x - mean
    variance = (centered * centered).sum((0, 1, 2)) / count
    state = {"moving_mean": 0.99 * v["moving_mean"] + (1 - 0.99) * mean}
    state["moving_variance"] = 0.99 * v["moving_variance"] + (1 - 0.99) * variance
    return (x - mean) * jax.lax.rsqrt(variance + 1e-3) * v["gamma"] + v["beta"], state


def dropped(x, key, shape):
    return jnp.where(jax.random.bernoulli(key, 1 - 0.5, shape), x / (1 - 0.5), jnp.zeros((), x.dtype))


def ids_of(x):
    """Returns ids below 7, of the shape of `x` without the channels."""
    return (jnp.abs(x[..., 0]) * 7).astype(jnp.int32) % 7


def of(function, hand, **fields):
    """Returns a layer whose input and output are tokens."""
    return Layer(function, hand, prepare=seq.tokens, finish=seq.image, **fields)


ROTARY = functools.partial(nn.rotary, fraction=2 / 3)
MASK = jnp.arange(12)[:, None] >= jnp.arange(12)[None, :] - 2
"""What each of the tokens may see."""

LAYERS = {
    "dense": Layer(lambda s, x: nn.dense(s, x, 6), lambda v, x, _: x @ v["kernel"] + v["bias"]),
    "bias": Layer(nn.bias, lambda v, x, _: x + v["bias"]),
    "einsum": Layer(
        lambda s, x: nn.einsum(s, "...c,cd->...d", x, 6, bias_axes="d"),
        lambda v, x, _: jnp.einsum("...c,cd->...d", x, v["kernel"]) + v["bias"],
    ),
    "conv": Layer(
        lambda s, x: nn.conv(s, x, 6, (3, 3), padding="same"),
        lambda v, x, _: conv_by_hand(x, v["kernel"]) + v["bias"],
    ),
    "conv_transpose": Layer(
        lambda s, x: nn.conv_transpose(s, x, 6, (3, 3), padding="same"),
        lambda v, x, _: transpose_by_hand(x, v["kernel"]) + v["bias"],
    ),
    "depthwise_conv": Layer(
        lambda s, x: nn.depthwise_conv(s, x, (3, 3), padding="same"),
        lambda v, x, _: conv_by_hand(x, v["depthwise_kernel"].reshape(3, 3, 1, 6), groups=6) + v["bias"],
    ),
    "separable_conv": Layer(
        lambda s, x: nn.separable_conv(s, x, 6, (3, 3), padding="same"),
        lambda v, x, _: separable_by_hand(v, x),
    ),
    "embedding": Layer(
        lambda s, ids: nn.embedding(s, ids, 7, 6),
        lambda v, ids, _: jnp.take(v["embeddings"], ids, axis=0),
        prepare=ids_of,
    ),
    "layer_norm": Layer(nn.layer_norm, lambda v, x, _: standardized(x, (-1,), 1e-3) * v["gamma"] + v["beta"]),
    "rms_norm": Layer(nn.rms_norm, lambda v, x, _: rms_by_hand(v, x)),
    "group_norm": Layer(lambda s, x: nn.group_norm(s, x, 3), lambda v, x, _: group_by_hand(v, x, 3)),
    "instance_norm": Layer(nn.instance_norm, lambda v, x, _: group_by_hand(v, x, 6)),
    "batch_norm": Layer(
        lambda s, x: nn.batch_norm(s, x, training=True), lambda v, x, _: batch_by_hand(v, x), stateful=True
    ),
    "dropout": Layer(
        lambda s, x: nn.dropout(s, x, 0.5, training=True), lambda v, x, key: dropped(x, key(), x.shape), random=True
    ),
    "drop_path": Layer(
        lambda s, x: nn.drop_path(s, x, 0.5, training=True),
        lambda v, x, key: dropped(x, key(), (2, 1, 1, 1)),
        random=True,
    ),
    "gaussian_noise": Layer(
        lambda s, x: nn.gaussian_noise(s, x, 0.5, training=True),
        lambda v, x, key: x + 0.5 * jax.random.normal(key(), x.shape, x.dtype),
        random=True,
    ),
    "unembed": Layer(
        lambda s, ids: nn.unembed(s, nn.embedding(s, ids, 7, 6), 7),
        lambda v, ids, _: jnp.take(v["embeddings"], ids, axis=0) @ v["embeddings"].T,
        prepare=ids_of,
        finish=lambda y: y[..., :6],
    ),
    **{
        f"attention, {name}": of(
            lambda s, x, options=options: nn.attention(s, x, 2, **options), lambda v, x, _, hand=hand: hand(v, x)
        )
        for name, options, hand in (
            ("causal", {"causal": True}, functools.partial(seq.attention, is_causal=True)),
            ("masked", {"mask": MASK}, functools.partial(seq.masked, MASK)),
            ("near", {"sliding_window": 3}, functools.partial(seq.attention, local_window_size=(2, 2))),
            ("rotary", {"rotary": ROTARY}, functools.partial(seq.rotated, ROTARY)),
            ("alibi", {"logit_bias": functools.partial(nn.alibi, 2)}, seq.preferring_near),
        )
    },
    "attention to a context": Layer(
        lambda s, both: nn.attention(s, both[0], 2, context=both[1]),
        lambda v, both, _: seq.attention(v, *both),
        prepare=lambda x: (seq.tokens(x), seq.tokens(x)[:, 2:5]),
        finish=seq.image,
    ),
    "attention, by hand": of(
        lambda s, x: nn.attention(s, x, 2, causal=True, soft_cap=5.0, dropout=0.5, training=True),
        lambda v, x, key: seq.capped(v, x, key),
        random=True,
    ),
    "relative_bias": Layer(
        lambda s, x: (x, nn.relative_bias(s, 6, 3, 4, num_buckets=8)),
        lambda v, x, _: (x, seq.relative(v)),
        finish=lambda both: both[0] + jnp.moveaxis(both[1], 1, -1).astype(both[0].dtype),
    ),
    "rnn": of(lambda s, x: nn.rnn(s, None, x, 6)[1], lambda v, x, _: seq.rnn_step(v, seq.nothing(x), x)[1]),
    "lstm": of(lambda s, x: nn.lstm(s, None, x, 6)[1], lambda v, x, _: seq.lstm_step(v, seq.nothing(x, 2), x)[1]),
    "gru": of(lambda s, x: nn.gru(s, None, x, 6)[1], lambda v, x, _: seq.gru_step(v, seq.nothing(x), x)[1]),
    "conv_lstm": Layer(
        lambda s, x: nn.conv_lstm(s, None, x, 6, (3, 3), padding="same")[1], lambda v, x, _: seq.image_step(v, x)
    ),
    "recurrent": of(
        lambda s, x: nn.recurrent(nn.lstm, s, x, 6)[0],
        lambda v, x, _: seq.over_time(seq.lstm_step, v, x, 2),
    ),
    "bidirectional": of(
        lambda s, x: nn.bidirectional(nn.gru, s, x, 6, merge_mode="ave")[0], lambda v, x, _: seq.both_ways(v, x)
    ),
    "mlp": Layer(lambda s, x: nn.mlp(s, x, 12), lambda v, x, _: seq.mlp(v, x)),
    "glu": Layer(lambda s, x: nn.glu(s, x, 12), lambda v, x, _: seq.glu(v, x)),
    "transformer_block": of(
        lambda s, x: nn.transformer_block(s, x, 2, functools.partial(nn.glu, hidden=12), norm=nn.rms_norm),
        lambda v, x, _: seq.block(v, x),
    ),
    "mixture_of_experts": of(
        lambda s, x: nn.mixture_of_experts(s, x, functools.partial(nn.dense, units=6), 3),
        lambda v, x, _: seq.experts(v, x),
    ),
}


def windows(x, start, reduce, size, strides, pairs=((0, 0), (0, 0))):
    around = ((0, 0), *pairs, (0, 0))
    return jax.lax.reduce_window(x, np.float32(start), reduce, (1, *size, 1), (1, *strides, 1), around)


def avg_by_hand(x):
    """Three by two in same padding: at the border, there are fewer elements to take the mean of."""
    count = np.array([2, 3, 2], np.float32)[None, :, None, None] * np.array([2, 2, 2, 1], np.float32)[:, None]
    return windows(x, 0, jax.lax.add, (3, 2), (1, 1), ((1, 1), (0, 1))) / count


def shuffled(x):
    """Two by two pixels from four channels each."""
    blocks = x[..., :4].reshape(2, 3, 4, 2, 2, 1)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 8, 1)


def turned(x):
    """Rotary positions: the heads are where an image has its columns."""
    positions = jnp.atleast_2d(jnp.arange(3))
    rates = jnp.asarray(10000.0, jnp.float32) ** (-jnp.arange(3, dtype=jnp.float32) / 3)
    angles = (positions.astype(jnp.float32)[..., None] * rates)[:, :, None]
    sin, cos = jnp.sin(angles), jnp.cos(angles)
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


FUNCTIONS = {
    "max_pool": (lambda x: nn.max_pool(x, (3, 2)), lambda x: windows(x, -np.inf, jax.lax.max, (3, 2), (3, 2))),
    "avg_pool": (lambda x: nn.avg_pool(x, (3, 2), strides=1, padding="same"), avg_by_hand),
    "global_max_pool": (nn.global_max_pool, lambda x: x.max((1, 2))),
    "global_avg_pool": (nn.global_avg_pool, lambda x: x.mean((1, 2))),
    "upsample": (lambda x: nn.upsample(x, (1, 2)), lambda x: jnp.repeat(x, 2, 2)),
    "upsample, bilinear": (
        lambda x: nn.upsample(x, 2, interpolation="bilinear"),
        lambda x: jax.image.resize(x, (2, 6, 8, 6), "bilinear"),
    ),
    "pixel_shuffle": (lambda x: nn.pixel_shuffle(x[..., :4], 2), shuffled),
    "l2_normalize": (
        nn.l2_normalize,
        lambda x: x * jax.lax.rsqrt(jnp.maximum((x * x).sum(-1, keepdims=True), 1e-12)),
    ),
    "rotary": (nn.rotary, turned),
}
"""Layers without variables, each with the same by hand."""
