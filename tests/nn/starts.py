"""Variables, beside what Keras calls the same, to compare how they start."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from jscope import nn


@dataclass(frozen=True)
class Start:
    """A variable: in Keras as (class, options, input shape, name), and here as (function of a scope, name).

    `ends` is by how much the smallest and the largest of many values may differ, in parts of them.
    """

    keras: tuple[str, dict[str, Any], tuple[int, ...], str]
    ours: Any
    name: str
    ends: float = 0.02


def _f(layer, shape, *args, dtype=jnp.float32, **options):
    return lambda scope: layer(scope, jnp.zeros(shape, dtype), *args, **options)


def _einsum(scope):
    return nn.einsum(scope, "bd,df->bf", jnp.zeros((1, 80)), 100, bias_axes="f")


_WIDE, _IMAGE = (1, 80), (1, 5, 5, 16)
_DENSE = ("Dense", {"units": 100}, _WIDE)
_CONV = ("Conv2D", {"filters": 30, "kernel_size": (3, 4)}, _IMAGE)
_GROUPS = ("Conv2D", {"filters": 32, "kernel_size": (3, 4), "groups": 2}, _IMAGE)
_TRANSPOSE = ("Conv2DTranspose", {"filters": 30, "kernel_size": (3, 4)}, _IMAGE)
_DEPTHWISE = ("DepthwiseConv2D", {"kernel_size": (5, 5), "depth_multiplier": 8}, _IMAGE)
_SEPARABLE = ("SeparableConv2D", {"filters": 70, "kernel_size": (5, 5), "depth_multiplier": 8}, _IMAGE)
_BATCH = ("BatchNormalization", {}, _IMAGE)
_batch = _f(nn.batch_norm, _IMAGE, training=False)
_separable = _f(nn.separable_conv, _IMAGE, 70, (5, 5), depth_multiplier=8)

_STEPS, _IMAGES = (1, 3, 80), (1, 3, 6, 6, 16)


def _cell(cell, shape, *sizes):
    return lambda scope: nn.recurrent(cell, scope, jnp.zeros(shape), *sizes)


def _attention(scope):
    return nn.attention(scope, jnp.zeros((1, 3, 60)), 5, key_dim=12)


_CELLS = {
    "lstm": ("LSTM", {"units": 40}, _STEPS, _cell(nn.lstm, _STEPS, 40)),
    "gru": ("GRU", {"units": 40}, _STEPS, _cell(nn.gru, _STEPS, 40)),
    "rnn": ("SimpleRNN", {"units": 40}, _STEPS, _cell(nn.rnn, _STEPS, 40)),
    "conv lstm": (
        "ConvLSTM2D",
        {"filters": 10, "kernel_size": (3, 3)},
        _IMAGES,
        _cell(nn.conv_lstm, _IMAGES, 10, (3, 3)),
    ),
}
_WIDER = ("Dense", {"units": 160}, _WIDE)
_PRODUCT = ("Dense", {"units": 60}, (1, 60))
_NARROWER = ("Dense", {"units": 80}, (1, 160))
_TABLE = ("Embedding", {"input_dim": 100, "output_dim": 80}, (1, 2), "embeddings")

STARTS = {
    "dense kernel": Start((*_DENSE, "kernel"), _f(nn.dense, _WIDE, 100), "kernel"),
    "dense bias": Start((*_DENSE, "bias"), _f(nn.dense, _WIDE, 100), "bias"),
    "einsum kernel": Start(
        ("EinsumDense", {"equation": "bd,df->bf", "output_shape": 100}, _WIDE, "kernel"), _einsum, "kernel"
    ),
    "conv kernel": Start((*_CONV, "kernel"), _f(nn.conv, _IMAGE, 30, (3, 4)), "kernel"),
    "conv bias": Start((*_CONV, "bias"), _f(nn.conv, _IMAGE, 30, (3, 4)), "bias"),
    "grouped kernel": Start((*_GROUPS, "kernel"), _f(nn.conv, _IMAGE, 32, (3, 4), groups=2), "kernel"),
    "transposed kernel": Start((*_TRANSPOSE, "kernel"), _f(nn.conv_transpose, _IMAGE, 30, (3, 4)), "kernel"),
    "depthwise kernel": Start(
        (*_DEPTHWISE, "kernel"), _f(nn.depthwise_conv, _IMAGE, (5, 5), depth_multiplier=8), "depthwise_kernel"
    ),
    "separable depthwise": Start((*_SEPARABLE, "depthwise_kernel"), _separable, "depthwise_kernel"),
    "separable pointwise": Start((*_SEPARABLE, "pointwise_kernel"), _separable, "pointwise_kernel"),
    "embeddings": Start(
        ("Embedding", {"input_dim": 100, "output_dim": 80}, (1, 2), "embeddings"),
        _f(nn.embedding, (1, 2), 100, 80, dtype=jnp.int32),
        "embeddings",
    ),
    **{f"batch norm {name}": Start((*_BATCH, name), _batch, name) for name in ("gamma", "beta")},
    **{f"batch norm {name}": Start((*_BATCH, name), _batch, name) for name in ("moving_mean", "moving_variance")},
    "layer norm gamma": Start(("LayerNormalization", {}, _WIDE, "gamma"), _f(nn.layer_norm, _WIDE), "gamma"),
    "layer norm beta": Start(("LayerNormalization", {}, _WIDE, "beta"), _f(nn.layer_norm, _WIDE), "beta"),
    "rms norm scale": Start(("RMSNormalization", {}, _WIDE, "scale"), _f(nn.rms_norm, _WIDE), "scale"),
    "group norm gamma": Start(
        ("GroupNormalization", {"groups": 4}, _IMAGE, "gamma"), _f(nn.group_norm, _IMAGE, 4), "gamma"
    ),
    # The entries of orthogonal matrices have no bound but 1: their ends vary.
    **{
        f"{cell} {name}": Start((*keras, name), ours, name, 0.3 if name == "recurrent_kernel" else 0.02)
        for cell, (*keras, ours) in _CELLS.items()
        for name in ("kernel", "recurrent_kernel", "bias")
    },
    **{f"mlp {name}": Start((*_WIDER, name), _f(nn.mlp, _WIDE, 160), f"hidden/{name}") for name in ("kernel", "bias")},
    "mlp out": Start((*_NARROWER, "kernel"), _f(nn.mlp, _WIDE, 160), "out/kernel"),
    **{
        f"glu {name}": Start((*_WIDER, "kernel"), _f(nn.glu, _WIDE, 160), f"{name}/kernel")
        for name in ("gate", "hidden")
    },
    "router": Start(
        (*_DENSE, "kernel"),
        _f(nn.mixture_of_experts, _WIDE, functools.partial(nn.dense, units=2), 100),
        "router/kernel",
    ),
    "relative bias": Start(_TABLE, lambda scope: nn.relative_bias(scope, 80, 2, 2, num_buckets=100), "embeddings"),
    # Keras takes the fans of the projections from the last two axes; these are products of 60 features, and 60 more.
    **{
        f"attention {name}": Start((*_PRODUCT, "kernel"), _attention, f"{name}/kernel")
        for name in ("query", "key", "value", "attention_output")
    },
}
