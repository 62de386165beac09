"""Records Flax's layers, Linen's and NNX's: `python -m tests.checkpoint.oracle.record_flax`."""

from __future__ import annotations

import flax.linen
import jax
import numpy as np
from flax import nnx

from tests.checkpoint.oracle.recording import input_of, numbers, save

LINEN = {
    "dense": lambda m: m.Dense(4, name="layer"),
    "conv1": lambda m: m.Conv(4, (3,), padding="VALID", name="layer"),
    "conv2": lambda m: m.Conv(4, (3, 2), 2, padding="VALID", name="layer"),
    "conv3": lambda m: m.Conv(4, (3, 2, 2), padding="VALID", name="layer"),
    "conv_grouped": lambda m: m.Conv(6, (3, 3), padding="VALID", feature_group_count=2, name="layer"),
    "conv_transpose": lambda m: m.ConvTranspose(4, (3, 2), (2, 2), padding="VALID", name="layer"),
    "depthwise_conv": lambda m: m.Conv(6, (3, 3), padding="VALID", feature_group_count=3, name="layer"),
    "embedding": lambda m: m.Embed(7, 4, name="layer"),
    "layer_norm": lambda m: m.LayerNorm(epsilon=1e-3, name="layer"),
    "batch_norm": lambda m: m.BatchNorm(use_running_average=True, epsilon=1e-3, name="layer"),
    "group_norm": lambda m: m.GroupNorm(3, epsilon=1e-3, name="layer"),
    "rms_norm": lambda m: m.RMSNorm(name="layer"),
    "lstm": lambda m: m.RNN(m.OptimizedLSTMCell(4, name="layer")),
    "gru": lambda m: m.RNN(m.GRUCell(4, name="layer")),
    "rnn": lambda m: m.RNN(m.SimpleCell(4, name="layer")),
    "attention": lambda m: m.MultiHeadDotProductAttention(2, name="layer"),
}
NNX = {
    "dense": lambda r: nnx.Linear(3, 4, rngs=r),
    "conv2": lambda r: nnx.Conv(3, 4, (3, 2), 2, padding="VALID", rngs=r),
    "conv_transpose": lambda r: nnx.ConvTranspose(3, 4, (3, 2), (2, 2), padding="VALID", rngs=r),
    "embedding": lambda r: nnx.Embed(7, 4, rngs=r),
    "layer_norm": lambda r: nnx.LayerNorm(5, epsilon=1e-3, rngs=r),
    "batch_norm": lambda r: nnx.BatchNorm(3, epsilon=1e-3, use_running_average=True, rngs=r),
    "rms_norm": lambda r: nnx.RMSNorm(5, rngs=r),
    "lstm": lambda r: nnx.LSTMCell(3, 4, rngs=r),
    "lstm_optimized": lambda r: nnx.OptimizedLSTMCell(3, 4, rngs=r),
    "gru": lambda r: nnx.GRUCell(3, 4, rngs=r),
    "rnn": lambda r: nnx.SimpleCell(3, 4, rngs=r),
    "attention": lambda r: nnx.MultiHeadAttention(2, 6, decode=False, rngs=r),
}


def flat(tree):
    """Returns the arrays of nested dicts by name."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in found}


def record_linen(name):
    """The variables of a layer called `layer`, and what it computes."""

    class Model(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            return LINEN[name](flax.linen)(x)

    x = input_of(name)
    structs = jax.eval_shape(Model().init, jax.random.key(0), x)
    given = {key: numbers(f"{name} {key}", struct.shape) for key, struct in flat(structs).items()}
    variables = jax.tree.unflatten(jax.tree.structure(structs), list(given.values()))
    return given | {"y": np.asarray(Model().apply(variables, x))}


def record_nnx(name):
    """The state of a layer, and what it computes."""
    layer, x = NNX[name](nnx.Rngs(0)), input_of(name.removesuffix("_optimized"))
    state = nnx.state(layer, (nnx.Param, nnx.BatchStat))
    pure = nnx.to_pure_dict(state)
    given = {key: numbers(f"{name} layer/{key}", value.shape) for key, value in flat(pure).items()}
    nnx.replace_by_pure_dict(state, jax.tree.unflatten(jax.tree.structure(pure), list(given.values())))
    nnx.update(layer, state)
    y = nnx.RNN(layer)(x) if isinstance(layer, nnx.RNNCellBase) else layer(x)
    return {f"layer/{key}": value for key, value in given.items()} | {"y": np.asarray(y)}


if __name__ == "__main__":
    save("linen", {name: record_linen(name) for name in LINEN})
    save("nnx", {name: record_nnx(name) for name in NNX})
