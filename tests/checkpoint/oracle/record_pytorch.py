"""Records PyTorch's layers: `python -m tests.checkpoint.oracle.record_pytorch`, where `torch` is installed."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tests.checkpoint.oracle.recording import input_of, numbers, save

LAYERS = {
    "dense": lambda: nn.Linear(3, 4),
    "conv1": lambda: nn.Conv1d(3, 4, 3),
    "conv2": lambda: nn.Conv2d(3, 4, (3, 2), stride=2),
    "conv3": lambda: nn.Conv3d(2, 4, (3, 2, 2)),
    "conv_grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "conv_transpose": lambda: nn.ConvTranspose2d(3, 4, (3, 2), stride=2),
    "depthwise_conv": lambda: nn.Conv2d(3, 6, 3, groups=3),
    "embedding": lambda: nn.Embedding(7, 4),
    "layer_norm": lambda: nn.LayerNorm(5, eps=1e-3),
    "batch_norm": lambda: nn.BatchNorm2d(3, eps=1e-3),
    "group_norm": lambda: nn.GroupNorm(3, 6, eps=1e-3),
    "rms_norm": lambda: nn.RMSNorm(5, eps=1e-6),
    "lstm": lambda: nn.LSTM(3, 4, batch_first=True),
    "gru": lambda: nn.GRU(3, 4, batch_first=True),
    "rnn": lambda: nn.RNN(3, 4, batch_first=True),
    "lstm_deep": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    "gru_deep": lambda: nn.GRU(3, 4, num_layers=3, batch_first=True),
    "rnn_both": lambda: nn.RNN(3, 4, bidirectional=True, batch_first=True),
    "attention": lambda: nn.MultiheadAttention(6, 2, batch_first=True),
}
_FIRST = ("conv", "depthwise", "batch", "group")


def record(name):
    """The state of a layer, and what it computes."""
    layer, x = LAYERS[name](), torch.tensor(input_of(name))
    state = nn.ModuleDict({"layer": layer}).eval().state_dict()
    for key, value in state.items():
        if value.ndim:
            value.copy_(torch.tensor(numbers(f"{name} {key}", value.shape)))
    with torch.no_grad():
        if name.startswith(_FIRST):
            y = layer(x.movedim(-1, 1)).movedim(1, -1)
        else:
            y = layer(x, x, x)[0] if name == "attention" else layer(x)
    y = y[0] if isinstance(y, tuple) else y
    return {key: value.numpy().copy() for key, value in state.items()} | {"y": np.ascontiguousarray(y.numpy())}


if __name__ == "__main__":
    save("pytorch", {name: record(name) for name in LAYERS})
