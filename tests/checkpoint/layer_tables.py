"""The layers of `jscope.nn` that tables of other libraries are tried on; the inputs are in `oracle/recording.py`."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

import jscope
from jscope import nn
from jscope.checkpoint import tables
from tests.checkpoint.oracle.recording import input_of, load


def unrolled(cell, **options):
    return lambda scope, x: nn.recurrent(cell, scope / "layer", x, 4, **options)[0]


def deep(cell, layers, run=nn.recurrent):
    """Recurrent layers above each other."""

    def model(scope, x):
        for n in range(layers):
            x, _ = run(cell, scope / f"layer_{n}", x, 4)
        return x

    return model


OURS = {
    "dense": lambda s, x: nn.dense(s / "layer", x, 4),
    "conv1": lambda s, x: nn.conv(s / "layer", x, 4, 3),
    "conv2": lambda s, x: nn.conv(s / "layer", x, 4, (3, 2), strides=2),
    "conv3": lambda s, x: nn.conv(s / "layer", x, 4, (3, 2, 2)),
    "conv_grouped": lambda s, x: nn.conv(s / "layer", x, 6, 3, groups=2),
    "conv_transpose": lambda s, x: nn.conv_transpose(s / "layer", x, 4, (3, 2), strides=2),
    "depthwise_conv": lambda s, x: nn.depthwise_conv(s / "layer", x, 3, depth_multiplier=2),
    "separable_conv": lambda s, x: nn.separable_conv(s / "layer", x, 4, 3),
    "embedding": lambda s, x: nn.embedding(s / "layer", x, 7, 4),
    "layer_norm": lambda s, x: nn.layer_norm(s / "layer", x),
    "batch_norm": lambda s, x: nn.batch_norm(s / "layer", x, training=False),
    "group_norm": lambda s, x: nn.group_norm(s / "layer", x, 3),
    "rms_norm": lambda s, x: nn.rms_norm(s / "layer", x),
    "lstm": unrolled(nn.lstm),
    "lstm_optimized": unrolled(nn.lstm),
    "gru": unrolled(nn.gru),
    "gru_reset_before": unrolled(nn.gru, reset_after=False),
    "rnn": unrolled(nn.rnn),
    "lstm_deep": deep(nn.lstm, 2, nn.bidirectional),
    "gru_deep": deep(nn.gru, 3),
    "rnn_both": lambda s, x: nn.bidirectional(nn.rnn, s / "layer", x, 4)[0],
    "attention": lambda s, x: nn.attention(s / "layer", x, 2),
}
TABLES = {
    "pytorch": tables.pytorch,
    "linen": tables.linen,
    "nnx": tables.nnx,
    "haiku": tables.haiku,
    "keras": tables.keras,
}
LOSSY = {
    ("pytorch", "lstm"), ("pytorch", "rnn"), ("pytorch", "lstm_deep"), ("pytorch", "rnn_both"), ("haiku", "rnn"),
    ("haiku", "lstm"), ("linen", "gru"), ("nnx", "gru"),
}  # fmt: skip
"""Where theirs has more than ours, or adds to it: there and back is the same function, and not the same numbers."""


@functools.cache
def recorded(library):
    """What was recorded of a library."""
    return load(library)


CASES = [(library, name) for library in TABLES for name in recorded(library) if name in OURS]


def ours(library, name):
    """Returns the model and the specs of a case, its input, and the table."""
    function = OURS[name]
    if (library, name) == ("haiku", "rnn"):
        function = unrolled(nn.rnn, activation=jax.nn.relu)
    model, x = jscope.transform_with_state(function), jnp.asarray(input_of(name.removesuffix("_optimized")))
    specs = model.specs(x)
    options = {"optimized": True} if name == "lstm_optimized" else {}
    if name.endswith("_deep"):
        options = {"names": {f"layer_{n}": f"layer.*_l{n}" for n in range(2 if name == "lstm_deep" else 3)}}
    return model, specs, x, TABLES[library](specs, **options)


def theirs(library, name):
    """Returns their arrays, and the output."""
    case = dict(recorded(library)[name])
    return case, case.pop("y")
