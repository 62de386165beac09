"""The models that laws are tested on: each written once on scopes, once by hand on nested dicts.

To add a model, add an entry to `MODELS`; every law in `tests/laws/` then holds it to account.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

import jscope
from jscope import initializers

KEY = jax.random.key
X = (jnp.arange(12.0).reshape(3, 4) - 5.0) / 6.0
IMAGES = jnp.linspace(-1.0, 1.0, 2 * 4 * 4 * 3).reshape(2, 4, 4, 3)


@dataclass(frozen=True)
class Model:
    """One model, twice.

    Attributes:
      scoped: `scoped(scope, *args)`.
      plain: `plain(params, *args)`, or `plain(params, state, *args) -> (out, new_state)` if `state`.
      args: Inputs.
      names: The names of its variables.
      state: Whether it writes state.
      data: Whether it has initial values that depend on data.
    """

    scoped: Callable[..., Any]
    plain: Callable[..., Any]
    args: tuple[Any, ...]
    names: tuple[str, ...]
    state: bool = False
    data: bool = False

    @property
    def transformed(self):
        return (jscope.transform_with_state if self.state else jscope.transform)(self.scoped)

    def init(self, key=None):
        """The variables as a tuple: `(params,)` or `(params, state)`."""
        made = self.transformed.init(KEY(0) if key is None else key, *self.args)
        return made if self.state else (made,)


def linear(scope, x, features):
    w_df = scope.get_variable("w", (x.shape[-1], features))
    b_f = scope.get_variable("b", (features,), initializer=initializers.zeros)
    return x @ w_df + jnp.broadcast_to(b_f, (*x.shape[:-1], features))


def plain_linear(p, x):
    return x @ p["w"] + jnp.broadcast_to(p["b"], (*x.shape[:-1], *p["b"].shape))


def mlp(scope, x):
    return linear(scope / "out", jnp.tanh(linear(scope / "hidden", x, 5)), 2)


def plain_mlp(p, x):
    return plain_linear(p["out"], jnp.tanh(plain_linear(p["hidden"], x)))


def tied(scope, x):
    w_df = scope.get_variable("w", (x.shape[-1], 3), initializer=initializers.normal(0.3))
    return jnp.tanh(x @ w_df) @ w_df.T


def plain_tied(p, x):
    return jnp.tanh(x @ p["w"]) @ p["w"].T


def conv(x, w):
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def batch_norm(scope, x, training):
    mean = scope.get_variable("mean", x.shape[-1:], initializer=initializers.zeros, trainable=False)
    scale = scope.get_variable("scale", x.shape[-1:], initializer=initializers.ones)
    if training:
        batch_mean = x.mean(range(x.ndim - 1))
        scope.assign("mean", 0.9 * mean + 0.1 * batch_mean)
        mean = batch_mean
    return (x - jnp.broadcast_to(mean, x.shape)) * jnp.broadcast_to(scale, x.shape)


def convnet(scope, x, training=True):
    with scope / "conv" as conv_scope:
        x = conv(x, conv_scope.get_variable("w", (3, 3, x.shape[-1], 4), initializer=initializers.he_normal()))
    x = jax.nn.relu(batch_norm(scope / "bn", x, training))
    return linear(scope / "out", x.mean((1, 2)), 2)


def plain_convnet(p, state, x, training=True):
    x = conv(x, p["conv"]["w"])
    mean = state["bn"]["mean"]
    if training:
        batch_mean = x.mean((0, 1, 2))
        state = {"bn": {"mean": 0.9 * mean + 0.1 * batch_mean}}
        mean = batch_mean
    x = jax.nn.relu((x - jnp.broadcast_to(mean, x.shape)) * jnp.broadcast_to(p["bn"]["scale"], x.shape))
    return plain_linear(p["out"], x.mean((1, 2))), state


def rnn(scope, x):
    def step(h_d, x_d):
        cell = scope / "cell"
        h_d = jnp.tanh(linear(cell / "x", x_d, 3) + linear(cell / "h", h_d, 3))
        return h_d, h_d

    return jax.lax.scan(step, jnp.zeros(3), x)[1]


def plain_rnn(p, x):
    def step(h_d, x_d):
        h_d = jnp.tanh(plain_linear(p["cell"]["x"], x_d) + plain_linear(p["cell"]["h"], h_d))
        return h_d, h_d

    return jax.lax.scan(step, jnp.zeros(3), x)[1]


def attention(scope, x):
    q, k, v = (linear(scope / name, x, 4) for name in ("q", "k", "v"))
    return x + linear(scope / "o", jax.nn.softmax(q @ k.T / 2.0) @ v, x.shape[-1])


def plain_attention(p, x):
    q, k, v = (plain_linear(p[name], x) for name in ("q", "k", "v"))
    return x + plain_linear(p["o"], jax.nn.softmax(q @ k.T / 2.0) @ v)


def siamese(scope, x):
    tower = scope.variable_scope("tower", reuse=jscope.AUTO_REUSE)
    return mlp(tower, x) - mlp(tower, -x)


def plain_siamese(p, x):
    return plain_mlp(p["tower"], x) - plain_mlp(p["tower"], -x)


def weight_normed(scope, x):
    return linear(scope.variable_scope("a", custom_getter=jscope.getters.weight_norm("w$")), x, 3)


def plain_weight_normed(p, x):
    v, g = p["a"]["w"]["v"], p["a"]["w"]["g"]
    w = v * (g.reshape((1, 3)) * jax.lax.rsqrt(jnp.sum(v * v, axis=0, keepdims=True) + 1e-12))
    return plain_linear({"w": w, "b": p["a"]["b"]}, x)


def act_norm(scope, x):
    x = linear(scope / "in", x, 3)
    mean = scope.get_variable("norm/mean", initializer=x.mean(0))
    std = scope.get_variable("norm/std", (3,), initializer=lambda key, shape, dtype: x.std(0).astype(dtype))
    return (x - jnp.broadcast_to(mean, x.shape)) / jnp.broadcast_to(std, x.shape)


def plain_act_norm(p, x):
    x = plain_linear(p["in"], x)
    x.mean(0)  # Dead code in both: an initial value that `apply` has no use for.
    mean, std = p["norm"]["mean"], p["norm"]["std"]
    return (x - jnp.broadcast_to(mean, x.shape)) / jnp.broadcast_to(std, x.shape)


def ensemble(scope, x):
    return jnp.stack([mlp(scope / f"{i}", x) for i in range(3)]).mean(0)


def plain_ensemble(p, x):
    return jnp.stack([plain_mlp(p[f"{i}"], x) for i in range(3)]).mean(0)


def encode(scope, x):
    return linear(scope, x, 2)


def decode(scope, z):
    return jnp.tanh(linear(scope, z, 4))


def autoencoder(scope, x):
    return jscope.at("decoder", decode)(scope, jscope.at("encoder", encode)(scope, x))


def plain_autoencoder(p, x):
    return jnp.tanh(plain_linear(p["decoder"], plain_linear(p["encoder"], x)))


def _linears(*paths):
    return tuple(f"{path}/{name}" for path in paths for name in ("w", "b"))


MODELS = {
    "mlp": Model(mlp, plain_mlp, (X,), _linears("hidden", "out")),
    "tied": Model(tied, plain_tied, (X,), ("w",)),
    "convnet": Model(
        convnet, plain_convnet, (IMAGES,), ("conv/w", "bn/mean", "bn/scale", *_linears("out")), state=True
    ),
    "rnn": Model(rnn, plain_rnn, (X,), _linears("cell/x", "cell/h")),
    "attention": Model(attention, plain_attention, (X,), _linears("q", "k", "v", "o")),
    "siamese": Model(siamese, plain_siamese, (X,), _linears("tower/hidden", "tower/out")),
    "weight_normed": Model(weight_normed, plain_weight_normed, (X,), ("a/w/v", "a/w/g", "a/b")),
    "act_norm": Model(act_norm, plain_act_norm, (X,), (*_linears("in"), "norm/mean", "norm/std"), data=True),
    "ensemble": Model(
        ensemble, plain_ensemble, (X,), _linears(*(f"{i}/{n}" for i in range(3) for n in ("hidden", "out")))
    ),
    "autoencoder": Model(autoencoder, plain_autoencoder, (X,), _linears("encoder", "decoder")),
}
