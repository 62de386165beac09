"""Records Keras's layers: `KERAS_BACKEND=jax python -m tests.checkpoint.oracle.record_keras`.

Names are those of the file that Keras writes, of which the group of the layer is `layer`, and without `vars`.
"""

from __future__ import annotations

import tempfile

import h5py
import keras
import numpy as np
from keras import layers

from tests.checkpoint.oracle.recording import DATA, SHAPES, input_of, numbers, save

LAYERS = {
    "dense": lambda: layers.Dense(4),
    "conv1": lambda: layers.Conv1D(4, 3),
    "conv2": lambda: layers.Conv2D(4, (3, 2), 2),
    "conv_grouped": lambda: layers.Conv2D(6, 3, groups=2),
    "conv_transpose": lambda: layers.Conv2DTranspose(4, (3, 2), 2),
    "depthwise_conv": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
    "separable_conv": lambda: layers.SeparableConv2D(4, 3),
    "embedding": lambda: layers.Embedding(7, 4),
    "layer_norm": lambda: layers.LayerNormalization(),
    "batch_norm": lambda: layers.BatchNormalization(),
    "group_norm": lambda: layers.GroupNormalization(3),
    "rms_norm": lambda: layers.RMSNormalization(),
    "lstm": lambda: layers.LSTM(4, return_sequences=True),
    "gru": lambda: layers.GRU(4, return_sequences=True),
    "gru_reset_before": lambda: layers.GRU(4, return_sequences=True, reset_after=False),
    "rnn": lambda: layers.SimpleRNN(4, return_sequences=True),
    "attention": lambda: layers.MultiHeadAttention(2, 3),
}


def filled(name, model):
    """Gives a model numbers, by the order of its weights."""
    for at, weight in enumerate(model.weights):
        weight.assign(numbers(f"{name} layer {at} {weight.name.replace('moving_variance', 'var')}", weight.shape))


def record(name):
    """What Keras writes of a layer, and what the layer computes."""
    x = input_of(name)
    given = keras.Input(SHAPES[name][1:], dtype=x.dtype.name)
    layer = LAYERS[name]()
    model = keras.Model(given, layer(given, given) if name == "attention" else layer(given))
    filled(name, model)
    found = {}

    def take(path, item):
        if isinstance(item, h5py.Dataset):
            parts = path.split("/")[2:]
            found["/".join(["layer", *(part for part in parts if part != "vars")])] = item[()]

    with tempfile.TemporaryDirectory() as folder:
        model.save_weights(f"{folder}/a.weights.h5")
        with h5py.File(f"{folder}/a.weights.h5") as file:
            file.visititems(take)
    return found | {"y": np.asarray(model(x))}


def write_model():
    """Writes the files of a whole model, with its input and output."""
    given = keras.Input((8, 7, 3))
    x = layers.Conv2D(4, 3, name="first")(given)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D()(x)
    inner = keras.Sequential([layers.Dense(3, name="wide"), layers.Dense(2)], name="inner")
    model = keras.Model(given, inner(x))
    filled("model", model)
    model.save_weights(DATA / "keras.weights.h5")
    model.save(DATA / "model.keras")
    x = numbers("model", (2, 8, 7, 3))
    return {"x": x, "y": np.asarray(model(x))}


if __name__ == "__main__":
    save("keras", {name: record(name) for name in LAYERS} | {"model": write_model()})
