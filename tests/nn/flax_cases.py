"""What Keras lacks and Flax Linen has: paddings, convolutions of several batches, tied logits, instance norms.

A case is the shape of an input, our layer and Flax's, and our names of variables by Flax's. `data/flax.npz` has what
Flax gives: outputs, and gradients of the output times numbers by the input and by each variable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jscope import nn


class Case(NamedTuple):
    """A layer in both libraries; `flax` takes `flax.linen` and returns a module."""

    shape: tuple[int, ...]
    ours: Callable[..., Any]
    flax: Callable[..., Any]
    names: dict[str, str]


DENSE = {"kernel": "kernel", "bias": "bias"}
AFFINE = {"scale": "gamma", "bias": "beta"}
IMAGE = (2, 5, 6, 4)

CASES = {
    "circular": Case(
        IMAGE,
        lambda s, x: nn.conv(s, x, 3, (3, 2), padding="circular"),
        lambda linen: linen.Conv(3, (3, 2), padding="CIRCULAR"),
        DENSE,
    ),
    "circular, dilated": Case(
        IMAGE,
        lambda s, x: nn.conv(s, x, 3, (3, 2), padding="circular", dilation=(2, 3)),
        lambda linen: linen.Conv(3, (3, 2), padding="CIRCULAR", kernel_dilation=(2, 3)),
        DENSE,
    ),
    "pairs": Case(
        IMAGE,
        lambda s, x: nn.conv(s, x, 3, (3, 2), padding=((2, 0), (1, 3)), strides=(2, 1)),
        lambda linen: linen.Conv(3, (3, 2), padding=((2, 0), (1, 3)), strides=(2, 1)),
        DENSE,
    ),
    "strides and dilation": Case(
        IMAGE,
        lambda s, x: nn.conv(s, x, 4, (2, 2), padding="same", strides=2, dilation=2, groups=2),
        lambda linen: linen.Conv(4, (2, 2), padding="SAME", strides=2, kernel_dilation=2, feature_group_count=2),
        DENSE,
    ),
    "several batch axes": Case(
        (2, 3, 5, 4),
        lambda s, x: nn.conv(s, x, 3, (2,), padding="causal"),
        lambda linen: linen.Conv(3, (2,), padding="CAUSAL"),
        DENSE,
    ),
    "instance norm": Case(
        IMAGE, lambda s, x: nn.instance_norm(s, x, epsilon=1e-6), lambda linen: linen.InstanceNorm(), AFFINE
    ),
    "group norm": Case(
        IMAGE, lambda s, x: nn.group_norm(s, x, 2, epsilon=1e-6), lambda linen: linen.GroupNorm(2), AFFINE
    ),
    "rms norm": Case((2, 3, 5), nn.rms_norm, lambda linen: linen.RMSNorm(), {"scale": "scale"}),
    "einsum with experts": Case(
        (2, 3, 4),
        lambda s, x: nn.einsum(s, "bed,edf->bef", x, 5),
        lambda linen: linen.Einsum((3, 4, 5), "bed,edf->bef", use_bias=False),
        {"kernel": "kernel"},
    ),
    "attention": Case(
        (2, 5, 6),
        lambda s, x: nn.attention(s, x, 2, key_dim=4),
        lambda linen: linen.MultiHeadDotProductAttention(2, qkv_features=8),
        {
            f"{theirs}/{name}": f"{ours}/{name}"
            for theirs, ours in {"query": "query", "key": "key", "value": "value", "out": "attention_output"}.items()
            for name in ("kernel", "bias")
        },
    ),
}
