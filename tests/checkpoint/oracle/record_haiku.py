"""Records Haiku's layers: `python -m tests.checkpoint.oracle.record_haiku`."""

from __future__ import annotations

import haiku as hk
import jax
import numpy as np

from tests.checkpoint.oracle.record_flax import flat
from tests.checkpoint.oracle.recording import input_of, numbers, save


def unrolled(core, x):
    return hk.dynamic_unroll(core, x, core.initial_state(2), time_major=False)[0]


random = hk.initializers.RandomNormal()
LAYERS = {
    "dense": lambda x: hk.Linear(4, name="layer")(x),
    "conv1": lambda x: hk.Conv1D(4, 3, padding="VALID", name="layer")(x),
    "conv2": lambda x: hk.Conv2D(4, (3, 2), 2, padding="VALID", name="layer")(x),
    "conv_transpose": lambda x: hk.Conv2DTranspose(4, (3, 2), 2, padding="VALID", name="layer")(x),
    "depthwise_conv": lambda x: hk.DepthwiseConv2D(2, 3, padding="VALID", name="layer")(x),
    "embedding": lambda x: hk.Embed(7, 4, name="layer")(x),
    "layer_norm": lambda x: hk.LayerNorm(-1, True, True, eps=1e-3, name="layer")(x),
    "batch_norm": lambda x: hk.BatchNorm(True, True, 0.9, eps=1e-3, name="layer")(x, is_training=False),
    "group_norm": lambda x: hk.GroupNorm(3, eps=1e-3, name="layer")(x),
    "rms_norm": lambda x: hk.RMSNorm(-1, eps=1e-6, name="layer")(x),
    "lstm": lambda x: unrolled(hk.LSTM(4, name="layer"), x),
    "gru_reset_before": lambda x: unrolled(hk.GRU(4, name="layer"), x),
    "rnn": lambda x: unrolled(hk.VanillaRNN(4, name="layer"), x),
    "attention": lambda x: hk.MultiHeadAttention(2, 3, w_init=random, name="layer")(x, x, x),
}


def record(name):
    """The params and the state of a layer, and what it computes."""
    model, x = hk.transform_with_state(LAYERS[name]), input_of(name)
    if name == "batch_norm":
        start = hk.transform_with_state(lambda x: hk.BatchNorm(True, True, 0.9, name="layer")(x, is_training=True))
    else:
        start = model
    trees = jax.eval_shape(start.init, jax.random.key(0), x)
    given = {
        key: np.zeros((), np.int32) if not struct.shape else numbers(f"{name} {key}", struct.shape)
        for tree in trees
        for key, struct in flat(tree).items()
    }
    given = {key: np.zeros_like(value) if key.endswith("hidden") else value for key, value in given.items()}
    params, state = (jax.tree.unflatten(jax.tree.structure(tree), [given[key] for key in flat(tree)]) for tree in trees)
    return given | {"y": np.asarray(model.apply(params, state, None, x)[0])}


if __name__ == "__main__":
    save("haiku", {name: record(name) for name in LAYERS})
