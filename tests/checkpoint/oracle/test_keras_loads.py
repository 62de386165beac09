"""Keras itself loads what `checkpoint.keras.save` has written, and computes what our model does.

`KERAS_BACKEND=jax python -m pytest -m oracle tests/checkpoint/oracle`; see `test_tables_themselves.py`.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras import layers

import jscope
from jscope import checkpoint, nn
from jscope.checkpoint import tables
from tests.checkpoint.oracle.recording import numbers

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64:UserWarning"),
]


def sequential():
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(4, activation="relu", name="hidden"),
            layers.Dropout(0.5),
            layers.Dense(2, name="out"),
        ]
    )


def mlp(scope, x):
    return nn.dense(scope / "out", nn.dense(scope / "hidden", x, 4, activation=jax.nn.relu), 2)


def functional():
    given = keras.Input((8, 7, 3))
    x = given
    for name in ("one", "two"):
        x = layers.Conv2D(4, 3, name=f"conv_{name}")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"norm_{name}")(x))
    inner = keras.Sequential([layers.Dense(3, name="wide"), layers.Dense(2, name="narrow")], name="head")
    return keras.Model(given, inner(layers.GlobalAveragePooling2D()(x)))


def convnet(scope, x):
    for name in ("one", "two"):
        x = nn.conv(scope / f"conv_{name}", x, 4, 3)
        x = jax.nn.relu(nn.batch_norm(scope / f"norm_{name}", x, training=False))
    return nn.dense(scope / "head/narrow", nn.dense(scope / "head/wide", x.mean((1, 2)), 3), 2)


def recurrent():
    return keras.Sequential(
        [keras.Input((4, 3)), layers.LSTM(4, return_sequences=True, name="memory"), layers.Dense(2, name="out")]
    )


def lstm(scope, x):
    return nn.dense(scope / "out", nn.recurrent(nn.lstm, scope / "memory", x, 4)[0], 2)


class Block(layers.Layer):
    def __init__(self, name):
        super().__init__(name=name)
        self.norm = layers.LayerNormalization()
        self.attention = layers.MultiHeadAttention(2, 3)
        self.hidden, self.out = layers.Dense(7), layers.Dense(6)

    def call(self, x):
        y = self.norm(x)
        return x + self.out(self.hidden(x + self.attention(y, y)))


class Transformer(keras.Model):
    def __init__(self):
        super().__init__()
        self.tokens = layers.Embedding(11, 6, name="tokens")
        self.blocks = [Block(f"number_{i}") for i in range(2)]
        self.head = layers.Dense(11)

    def call(self, ids):
        x = self.tokens(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def transformer(scope, ids):
    def block(scope, x):
        y = nn.layer_norm(scope / "norm", x, epsilon=1e-3)
        y = x + nn.attention(scope / "attention", y, 2)
        return x + nn.dense(scope / "out", nn.dense(scope / "hidden", y, 7), 6)

    x = nn.embedding(scope / "tokens", ids, 11, 6)
    x = jscope.layers(block, 2)(scope / "blocks", x)
    return nn.dense(scope / "head", x, 11)


IMAGE, SERIES, ROW = ((2, *shape) for shape in ((8, 7, 3), (4, 3), (5,)))
IDS = np.arange(8).reshape(2, 4)
CASES = {
    "sequential": (sequential, mlp, numbers("x", ROW), {"hidden": "layers/dense", "out": "layers/dense_1"}, {}),
    "functional": (
        functional,
        convnet,
        numbers("x", IMAGE),
        {
            "conv_one": "layers/conv2d", "conv_two": "layers/conv2d_1",
            "norm_one": "layers/batch_normalization", "norm_two": "layers/batch_normalization_1",
            "head/wide": "layers/sequential/layers/dense", "head/narrow": "layers/sequential/layers/dense_1",
        },
        {},
    ),
    "recurrent": (recurrent, lstm, numbers("x", SERIES), {"memory": "layers/lstm", "out": "layers/dense"}, {}),
    "subclassed": (Transformer, transformer, IDS, {"blocks": "blocks/block{i:_}"}, {"blocks": "blocks/number_{i}"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_keras_loads_what_is_written(case, tmp_path):
    """By names alone, and like a file of the same model; and what reads it reads what was written."""
    make, function, x, *named = CASES[case]
    path, like = tmp_path / "a.weights.h5", tmp_path / "like.weights.h5"
    made = jscope.transform_with_state(function)
    specs = made.specs(jnp.asarray(x))
    values = specs.map(lambda spec: numbers(spec.path, spec.shape))
    flat = jscope.tree.flatten(values)
    params, state = (jscope.tree.unflatten({name: flat[name] for name in each}) for each in (specs.params, specs.state))
    y = made.apply(params, state, jnp.asarray(x))[0]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs = make()
        theirs(x)
        theirs.save_weights(like)
        for names, file in zip(named, (None, like), strict=True):
            theirs.load_weights(like)
            table = tables.keras(specs, names=names)
            checkpoint.keras.save(path, values, like=file, conversion=table.inverse)
            theirs.load_weights(path)
            chex.assert_trees_all_close(np.asarray(theirs(x)), y, rtol=1e-5, atol=1e-5)
            assert not jscope.tree.diff(checkpoint.restore(specs, path, conversion=table), values)


def test_halves_are_halves_there(tmp_path):
    """HDF5 has no bfloat16: Keras knows it by its name."""
    made = keras.Sequential([keras.Input((3,)), layers.Dense(2, dtype="bfloat16")])
    kernel, bias = jnp.arange(6, dtype=jnp.bfloat16).reshape(3, 2), jnp.ones(2, jnp.bfloat16)
    checkpoint.keras.save(tmp_path / "a.weights.h5", {"layers/dense": {"0": kernel, "1": bias}})
    made.load_weights(tmp_path / "a.weights.h5")
    chex.assert_trees_all_equal(*(np.asarray(each, np.float32) for each in (made.weights[0].value, kernel)))
