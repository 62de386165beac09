"""Records what Keras's ResNet-50 gives.

    pip install -e ".[oracle]"
    KERAS_BACKEND=jax python -m tests.published.oracle.record_keras

Recorded with Keras 3.15.1.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras

from tests.published.cases import CLASSES, PHOTOS, drawn, save


def run():
    """Returns the arrays of the model, and what it computes."""
    model = keras.applications.ResNet50(
        weights=None, input_shape=PHOTOS.shape[1:], classes=CLASSES, classifier_activation=None
    )
    arrays = {variable.path: drawn(variable.path, variable.shape) for variable in model.variables}
    for variable in model.variables:
        variable.assign(arrays[variable.path])
    return arrays, {"logits": model(PHOTOS, training=False)}


if __name__ == "__main__":
    save("resnet50_keras", *run())
