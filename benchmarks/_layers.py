"""Layers of `jscope.nn`, and two networks made of them, each beside the same by hand.

By hand means: the same variables of the same scopes under the same names, and the arithmetic as one writes it with
`jax.numpy`. The programs are equal, so what differs is only what tracing them costs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

import jscope
from jscope import initializers, nn

GLOROT, ORTHOGONAL, UNIFORM = (
    initializers.glorot_uniform(),
    initializers.orthogonal(),
    initializers.uniform(-0.05, 0.05),
)
INTO_HEADS = initializers.glorot_uniform((0,), (1, 2), ())
OUT_OF_HEADS = initializers.glorot_uniform((0, 1), (2,), ())
WIDTH, HEADS = 64, 4


@dataclass(frozen=True)
class Twice:
    """A function of a scope and an array, with layers and by hand.

    Attributes:
      layer: With layers.
      hand: By hand.
      shape: The input's.
      dtype: The input's.
    """

    layer: Callable[..., Any]
    hand: Callable[..., Any]
    shape: tuple[int, ...]
    dtype: Any = jnp.float32

    def traced(self, *, repeated, transform=lambda function: function):
        """Returns two functions that trace the one and the other, as often as `repeated` says, each at its own path.

        What they trace is `transform` of a function of the params.
        """
        x = jax.ShapeDtypeStruct(self.shape, self.dtype)

        def all_of(function, scope, x):
            return [function(scope / f"layer_{i}", x) for i in range(repeated)]

        def tracing(function):
            model = jscope.transform_with_state(functools.partial(all_of, function))
            specs = model.specs(x)
            args = specs.params.shape_dtype(), specs.state.shape_dtype(), x
            # A new function each time, for JAX to trace anew.
            return lambda: jax.make_jaxpr(transform(lambda *args: model.apply(*args)))(*args)

        return tracing(self.layer), tracing(self.hand)


def gradient(function):
    """Returns the gradient of all outputs, added up, with respect to the first argument."""
    return jax.grad(lambda *args: sum(leaf.sum() for leaf in jax.tree.leaves(function(*args)[0])))


def by_hand(function):
    """Enters `jax.named_scope` for the last part of the path, as layers do."""

    @functools.wraps(function)
    def run(scope, *args, **kwargs):
        with jax.named_scope(scope.name):
            return function(scope, *args, **kwargs)

    return run


@by_hand
def dense(scope, x, units, activation=lambda x: x):
    w = scope.get_variable("kernel", (x.shape[-1], units), initializer=GLOROT)
    return activation(x @ w + scope.get_variable("bias", (units,), initializer=initializers.zeros))


def affine(scope, x):
    gamma = scope.get_variable("gamma", x.shape[-1:], initializer=initializers.ones)
    return x * gamma + scope.get_variable("beta", x.shape[-1:], initializer=initializers.zeros)


@by_hand
def layer_norm(scope, x):
    centered = x - jnp.mean(x, -1, keepdims=True)
    y = centered * jax.lax.rsqrt(jnp.mean(centered * centered, -1, keepdims=True) + 1e-3)
    return affine(scope, y)


@by_hand
def rms_norm(scope, x):
    y = x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)
    return y * scope.get_variable("scale", x.shape[-1:], initializer=initializers.ones)


@by_hand
def batch_norm(scope, x):
    moving_mean = scope.get_variable("moving_mean", x.shape[-1:], initializer=initializers.zeros, trainable=False)
    moving_variance = scope.get_variable(
        "moving_variance", x.shape[-1:], initializer=initializers.ones, trainable=False
    )
    over, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    mean = jnp.sum(x, over) / count
    centered = x - mean
    variance = jnp.sum(centered * centered, over) / count
    scope.assign("moving_mean", 0.99 * moving_mean + (1 - 0.99) * mean)
    scope.assign("moving_variance", 0.99 * moving_variance + (1 - 0.99) * variance)
    return affine(scope, (x - mean) * jax.lax.rsqrt(variance + 1e-3))


@by_hand
def conv(scope, x, filters, size=3, strides=1):
    w = scope.get_variable("kernel", (size, size, x.shape[-1], filters), initializer=GLOROT)
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, w, (strides, strides), "SAME", dimension_numbers=numbers)
    return y + scope.get_variable("bias", (filters,), initializer=initializers.zeros)


@by_hand
def embedding(scope, ids, rows, width):
    return jnp.take(scope.get_variable("embeddings", (rows, width), initializer=UNIFORM), ids, axis=0)


@by_hand
def into_heads(scope, x):
    shape = (HEADS, x.shape[-1] // HEADS)
    w = scope.get_variable("kernel", (x.shape[-1], *shape), initializer=INTO_HEADS)
    y = jnp.einsum("btd,dhk->bthk", x, w)
    return y + scope.get_variable("bias", shape, initializer=initializers.zeros)


@by_hand
def out_of_heads(scope, x, units):
    w = scope.get_variable("kernel", (*x.shape[2:], units), initializer=OUT_OF_HEADS)
    y = jnp.einsum("bthv,hvu->btu", x, w)
    return y + scope.get_variable("bias", (units,), initializer=initializers.zeros)


@by_hand
def attention(scope, x):
    q, k, v = (into_heads(scope / name, x) for name in ("query", "key", "value"))
    out = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    return out_of_heads(scope / "attention_output", out, x.shape[-1])


@by_hand
def lstm(scope, x, units):
    w = scope.get_variable("kernel", (x.shape[-1], 4 * units), initializer=GLOROT)
    u = scope.get_variable("recurrent_kernel", (units, 4 * units), initializer=ORTHOGONAL)
    h = c = jnp.zeros((*x.shape[:-1], units))
    gates = x @ w + h @ u + scope.get_variable("bias", (4 * units,), initializer=initializers.zeros)
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    written = jax.nn.sigmoid(i) * jnp.tanh(g)
    c = jax.nn.sigmoid(f) * c + written
    y = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (y, c), y


@by_hand
def mlp(scope, x, hidden):
    return dense(scope / "out", dense(scope / "hidden", x, hidden, jax.nn.gelu), x.shape[-1])


@by_hand
def block(scope, x):
    """A layer of a transformer."""
    x = x + attention(scope / "attention", layer_norm(scope / "attention_norm", x))
    return x + mlp(scope / "mlp", layer_norm(scope / "mlp_norm", x), 4 * x.shape[-1])


def block_of_layers(scope, x):
    return nn.transformer_block(scope, x, HEADS, lambda scope, x: nn.mlp(scope, x, 4 * x.shape[-1]), causal=True)


def residual(scope, x, conv=conv, batch_norm=batch_norm):
    """A block of a residual network."""
    y = jax.nn.relu(batch_norm(scope / "norm_1", conv(scope / "conv_1", x, x.shape[-1])))
    y = batch_norm(scope / "norm_2", conv(scope / "conv_2", y, x.shape[-1]))
    return jax.nn.relu(x + y)


def residual_of_layers(scope, x):
    same_conv = lambda scope, x, filters: nn.conv(scope, x, filters, (3, 3), padding="same")  # noqa: E731
    return residual(scope, x, same_conv, functools.partial(nn.batch_norm, training=True))


TOKENS, IMAGES = (2, 16, WIDTH), (2, 8, 8, 16)
LAYERS = {
    "dense": Twice(lambda s, x: nn.dense(s, x, WIDTH), lambda s, x: dense(s, x, WIDTH), TOKENS),
    "einsum": Twice(
        lambda s, x: nn.einsum(s, "btd,dhk->bthk", x, (HEADS, WIDTH // HEADS), bias_axes="hk"), into_heads, TOKENS
    ),
    "embedding": Twice(
        lambda s, ids: nn.embedding(s, ids, 100, WIDTH),
        lambda s, ids: embedding(s, ids, 100, WIDTH),
        (2, 16),
        jnp.int32,
    ),
    "layer_norm": Twice(nn.layer_norm, layer_norm, TOKENS),
    "rms_norm": Twice(nn.rms_norm, rms_norm, TOKENS),
    "batch_norm": Twice(functools.partial(nn.batch_norm, training=True), batch_norm, IMAGES),
    "conv": Twice(lambda s, x: nn.conv(s, x, 16, (3, 3), padding="same"), lambda s, x: conv(s, x, 16), IMAGES),
    "attention": Twice(lambda s, x: nn.attention(s, x, HEADS, causal=True), attention, TOKENS),
    "lstm": Twice(lambda s, x: nn.lstm(s, None, x, WIDTH), lambda s, x: lstm(s, x, WIDTH), (2, WIDTH)),
    "transformer": Twice(block_of_layers, block, TOKENS),
    "resnet": Twice(jscope.named(residual_of_layers), by_hand(residual), IMAGES),
}
