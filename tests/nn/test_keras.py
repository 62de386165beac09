"""Keras 3 judges: recorded outputs, gradients, state, and how variables start. See `oracle/regenerate.py`."""

from __future__ import annotations

import json
import math

import jax
import numpy as np
import pytest

import jscope
from tests.crossed import mostly_slow
from tests.nn.cases import CASES, DATA, load
from tests.nn.ours import check, run
from tests.nn.starts import STARTS

LAYERS = sorted({case.keras for case in CASES.values()})


@pytest.mark.parametrize("layer", mostly_slow(LAYERS, *LAYERS[::3]))
def test_layer_gives_what_keras_gives(layer):
    """Output and gradients with the same variables, by name; and moving statistics after three steps."""
    runs = {name: run(case) for name, case in CASES.items() if case.keras == layer}
    # One program for all of them: to compile takes longer than to run.
    together = jax.jit(lambda given: {name: compute(*given[name]) for name, (compute, _) in runs.items()})
    for name, found in together({name: given for name, (_, given) in runs.items()}).items():
        check(name, found, load("keras.npz")[name])


RECORDED = json.loads((DATA / "starts.json").read_text(encoding="utf8"))


@pytest.mark.parametrize("name", mostly_slow(STARTS, *list(STARTS)[::8]))
def test_variable_starts_as_in_keras(name):
    """Shape, mean, standard deviation and range of the distribution agree, at four sigma."""
    start, keras = STARTS[name], RECORDED[name]
    params, state = jscope.transform_with_state(start.ours).init(jax.random.key(1))
    value = np.asarray(jscope.tree.flatten(params | state)[start.name])
    # Heads are axes of their own here, and are compared with those of one product.
    shape = keras["shape"] if not name.startswith("attention") else [*value.shape]
    assert (list(value.shape), value.size) == (shape, math.prod(keras["shape"]))
    # Two samples of one size differ by this much: means by their standard error, deviations by at most theirs of a
    # normal distribution, ends of the range by a few steps between the values.
    error = keras["std"] * math.sqrt(2 / value.size)
    assert abs(value.mean() - keras["mean"]) <= 4 * error
    assert abs(value.std() - keras["std"]) <= 4 * error
    assert abs(value.min() - keras["min"]) <= start.ends * abs(keras["min"])
    assert abs(value.max() - keras["max"]) <= start.ends * abs(keras["max"])
    if start.name == "recurrent_kernel":
        matrix = value.reshape(-1, value.shape[-1])
        small = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
        np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-5)
