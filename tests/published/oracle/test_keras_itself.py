"""Keras itself judges: what was recorded of its ResNet-50 is what it gives.

It runs in the stage "the layers against Keras" of `.ci/run`:

    pip install -e ".[oracle,test]"
    KERAS_BACKEND=jax python -m pytest -m oracle tests/published/oracle
"""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.published.cases import load
from tests.published.oracle import record_keras


@pytest.mark.oracle
def test_the_record_is_what_keras_gives():
    """Names, shapes and logits."""
    arrays, outputs = load("resnet50_keras")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found, computed = record_keras.run()
    assert {name: each.shape for name, each in found.items()} == {name: each.shape for name, each in arrays.items()}
    np.testing.assert_allclose(computed["logits"], outputs["logits"], rtol=1e-5)
