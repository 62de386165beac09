"""Keras 3 judges: recorded outputs, gradients, state, and how variables start. See `oracle/regenerate.py`."""

from __future__ import annotations

import json
import math

import jax
import numpy as np
import pytest

import jscope
from tests.nn.cases import CASES, DATA, STEPS, load, value_of, weights_of
from tests.nn.starts import STARTS

LAYERS = sorted({case.keras for case in CASES.values()})


def run(case):
    """Returns a function that computes what was recorded of a case, and its arguments: params, state, inputs."""
    model = jscope.transform_with_state(case.ours)
    specs = model.specs(case.x(), **case.extra())
    params, state = (
        jscope.tree.map_with_path(lambda path, spec: value_of(path, spec.shape), tree.shape_dtype())
        for tree in (specs.params, specs.state)
    )

    def loss(params, x, state):
        y, state = model.apply(params, state, x, **case.extra())
        return (y * weights_of(y)).sum(), (y, state)

    def compute(params, state, xs):
        by = (0, 1) if case.ids is None else 0
        grads, (y, after) = jax.grad(loss, by, has_aux=True)(params, xs[0], state)
        grads, dx = grads if case.ids is None else (grads, None)
        out = {"y": y} | ({} if dx is None else {"d x": dx}) | {f"d {path}": each for path, each in grads.items()}
        for x in xs[1:]:
            after = loss(params, x, after)[1][1]
        return out | (after if case.training else {})

    return compute, (params, state, [case.x(step) for step in range(STEPS if case.training else 1)])


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_gives_what_keras_gives(layer):
    """Output and gradients with the same variables, by name; and moving statistics after three steps."""
    runs = {name: run(case) for name, case in CASES.items() if case.keras == layer}
    # One program for all of them: to compile takes longer than to run.
    together = jax.jit(lambda given: {name: compute(*given[name]) for name, (compute, _) in runs.items()})
    for name, found in together({name: given for name, (_, given) in runs.items()}).items():
        expected = load("keras.npz")[name]
        assert found.keys() == expected.keys(), name
        for what, value in expected.items():
            assert found[what].shape == value.shape, (name, what)
            scale = max(1.0, np.abs(value).max(initial=0))
            np.testing.assert_allclose(found[what], value, rtol=1e-5, atol=1e-5 * scale, err_msg=f"{name}: {what}")


RECORDED = json.loads((DATA / "starts.json").read_text(encoding="utf8"))


@pytest.mark.parametrize("name", STARTS)
def test_variable_starts_as_in_keras(name):
    """Shape, mean, standard deviation and range of the distribution agree, at four sigma."""
    start, keras = STARTS[name], RECORDED[name]
    params, state = jscope.transform_with_state(start.ours).init(jax.random.key(1))
    value = np.asarray((params | state)[start.name])
    assert list(value.shape) == keras["shape"]
    # Two samples of one size differ by this much: means by their standard error, deviations by at most theirs of a
    # normal distribution, ends of the range by a few steps between the values.
    error = keras["std"] * math.sqrt(2 / value.size)
    assert abs(value.mean() - keras["mean"]) <= 4 * error
    assert abs(value.std() - keras["std"]) <= 4 * error
    assert abs(value.min() - keras["min"]) <= 0.02 * abs(keras["min"])
    assert abs(value.max() - keras["max"]) <= 0.02 * abs(keras["max"])
