"""Variables, beside what Keras calls the same, to compare how they start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from jscope import nn


@dataclass(frozen=True)
class Start:
    """A variable: in Keras as (class, options, input shape, name), and here as (function of a scope, name)."""

    keras: tuple[str, dict[str, Any], tuple[int, ...], str]
    ours: Any
    name: str


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
}
