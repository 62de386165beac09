"""What `jscope.nn` and Keras are compared on: attention and recurrent layers, in tiny shapes.

A case is a name of a Keras layer, shapes of inputs, and the options that both take by the same name. Inputs and
variables are made from their names by arithmetic alone, so that only what Keras computes has to be recorded. This file
imports neither of the two, since they live in different environments.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """One layer with its options and inputs."""

    layer: str
    shape: tuple[int, ...]
    options: dict[str, Any]
    context: tuple[int, ...] | None = None
    masked: bool = False
    merge_mode: str | None = None


def numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Multiples of 1/64 in [-0.75, 0.75], which look random and differ from name to name."""
    seed, count = zlib.crc32(name.encode()), int(np.prod(shape))
    mixed = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed)) % np.uint64(4294967291)
    return ((mixed % np.uint64(97)).astype(np.float32) - 48).reshape(shape) / 64


def lengths(case: Case) -> np.ndarray:
    """How many steps of each example count: the last of none of them, and none of the last one."""
    b, t = case.shape[:2]
    return np.asarray([max(0, t - 1 - i) for i in range(b)], np.int32)


def mask(case: Case) -> np.ndarray:
    """What each query may see, of shape (b, t, s): at least itself."""
    b, t = case.shape[:2]
    s = t if case.context is None else case.context[1]
    return (numbers("mask", (b, t, s)) > -0.2) | np.eye(t, s, dtype=bool)


def mha(shape=(2, 4, 6), context=None, masked=False, **options):
    return Case("MultiHeadAttention", shape, {"num_heads": 2, "key_dim": 3, **options}, context, masked)


def gqa(heads, groups, masked=False, **options):
    sizes = {"num_query_heads": heads, "num_key_value_heads": groups, "head_dim": 3}
    return Case("GroupQueryAttention", (2, 4, 6), {**sizes, **options}, masked=masked)


def cell(layer, masked=False, **options):
    return Case(layer, (3, 4, 3), {"units": 2, **options}, masked=masked)


def image(layer, shape, masked=False, **options):
    return Case(layer, shape, {"filters": 2, **options}, masked=masked)


def both_ways(layer, merge_mode, masked=False):
    return Case(layer, (3, 4, 3), {"units": 2}, masked=masked, merge_mode=merge_mode)


CASES: dict[str, Case] = {
    "attention": mha(),
    "attention without bias": mha(use_bias=False),
    "attention, other values and output": mha(value_dim=5, output_shape=7),
    "attention to a context, masked": mha(context=(2, 5, 4), masked=True),
    "attention, causal": mha(causal=True),
    "attention, masked and causal": mha(masked=True, causal=True),
    "attention in a window": mha(shape=(2, 6, 4), sliding_window=2),
    "attention, other values in a causal window": mha(shape=(2, 6, 4), sliding_window=3, causal=True, value_dim=2),
    "one group": gqa(4, 1, use_bias=False),
    "groups, causal": gqa(4, 2, causal=True),
    "groups, masked": gqa(6, 3, masked=True),
    "groups in a causal window": gqa(2, 1, causal=True, sliding_window=2),
    "lstm": cell("LSTM"),
    "lstm without bias, with other activations": cell(
        "LSTM", use_bias=False, activation="softsign", recurrent_activation="hard_sigmoid"
    ),
    "lstm, masked": cell("LSTM", masked=True),
    "gru": cell("GRU"),
    "gru, reset before": cell("GRU", reset_after=False),
    "gru, reset before, without bias": cell("GRU", reset_after=False, use_bias=False),
    "gru, masked": cell("GRU", masked=True),
    "gru backwards": cell("GRU", go_backwards=True, activation="relu"),
    "rnn": cell("SimpleRNN"),
    "rnn without bias": cell("SimpleRNN", use_bias=False, activation="relu"),
    "rnn, masked": cell("SimpleRNN", masked=True),
    "conv_lstm": image("ConvLSTM2D", (2, 3, 4, 4, 2), kernel_size=(2, 3)),
    "conv_lstm, same": image("ConvLSTM2D", (2, 2, 3, 3, 2), kernel_size=(2, 2), padding="same"),
    "conv_lstm with strides": image("ConvLSTM2D", (1, 2, 5, 5, 2), kernel_size=(2, 2), strides=(2, 2), padding="same"),
    "conv_lstm in one dimension": image("ConvLSTM1D", (2, 3, 5, 2), kernel_size=(3,), use_bias=False),
    "conv_lstm in three dimensions": image("ConvLSTM3D", (1, 2, 2, 3, 2, 1), kernel_size=(2, 2, 1)),
    "bidirectional lstm, added": both_ways("LSTM", "sum"),
    "bidirectional gru, multiplied": both_ways("GRU", "mul"),
    "bidirectional rnn, averaged": both_ways("SimpleRNN", "ave"),
    "bidirectional lstm, masked": both_ways("LSTM", "concat", masked=True),
}
