"""Our side of a comparison with Keras: what `jscope.nn` gives for a case."""

from __future__ import annotations

import jax
import numpy as np

import jscope
from tests.nn.cases import STEPS, value_of, weights_of


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


def check(name, found, expected):
    """Raises unless two outcomes of a case have the same names, shapes and values, to 1e-5."""
    assert found.keys() == expected.keys(), name
    for what, value in expected.items():
        assert found[what].shape == value.shape, (name, what)
        scale = max(1.0, np.abs(value).max(initial=0))
        np.testing.assert_allclose(found[what], value, rtol=1e-5, atol=1e-5 * scale, err_msg=f"{name}: {what}")
