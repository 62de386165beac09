"""What is recorded of other libraries: a layer's parameters by their names, an input, and the output."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent.parent / "data"
SHAPES = {
    "dense": (2, 3),
    "conv1": (2, 9, 3),
    "conv2": (2, 8, 7, 3),
    "conv3": (1, 5, 6, 4, 2),
    "conv_grouped": (2, 8, 7, 4),
    "conv_transpose": (2, 5, 4, 3),
    "depthwise_conv": (2, 8, 7, 3),
    "separable_conv": (2, 8, 7, 3),
    "embedding": (2, 3),
    "layer_norm": (2, 5),
    "batch_norm": (2, 4, 4, 3),
    "group_norm": (2, 4, 4, 6),
    "rms_norm": (2, 5),
    "lstm": (2, 5, 3),
    "gru": (2, 5, 3),
    "gru_reset_before": (2, 5, 3),
    "rnn": (2, 5, 3),
    "lstm_deep": (2, 5, 3),
    "gru_deep": (2, 5, 3),
    "rnn_both": (2, 5, 3),
    "attention": (2, 5, 6),
}
"""The shape of the input of each layer, with channels last."""


def numbers(name, shape):
    """Numbers that depend on the name only, those of variances above zero."""
    found = np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.5, shape).astype(np.float32)
    return np.abs(found) + 0.5 if "var" in name.rpartition("layer")[2] else found


def input_of(name):
    """The input of a layer."""
    return np.arange(6).reshape(2, 3) if name == "embedding" else numbers(name, SHAPES[name])


def save(library, cases):
    """Writes what `cases` are: by name, parameters and output."""
    flat = {f"{name} {what}": array for name, each in cases.items() for what, array in each.items()}
    np.savez_compressed(DATA / f"tables_{library}.npz", **flat)


def load(library):
    """Returns what was written."""
    cases = {}
    with np.load(DATA / f"tables_{library}.npz") as stored:
        for key in stored:
            name, _, what = key.partition(" ")
            cases.setdefault(name, {})[what] = stored[key]
    return cases
