"""TensorFlow 2.21 judges the layers: what it gives for the programs of `layer_cases.py` is recorded.

`oracle/regenerate_layers.py` records it again.
"""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import tf1
from tests.tf1.layer_cases import CASES, DATA, KEYS, value_of, weights_of

FACTS = json.loads((DATA / "layers.json").read_text(encoding="utf8"))
GROUPS = sorted({name.partition("/")[0] for name in CASES})


def arrays_of(name):
    """What TensorFlow computed in one case, by what it is."""
    with np.load(DATA / "layers.npz") as file:
        return {key.partition("|")[2]: file[key] for key in file.files if key.partition("|")[0] == name}


def noted(case):
    """Returns the program of a case, which notes what is compared by name."""
    facts = {}

    def program(x):
        y = case.program(tf1, x)
        shown = {key: [v.name for v in tf1.get_collection(key)] for key in KEYS if tf1.get_collection(key)}
        if "ends" in shown:
            shown["ends"] = list(tf1.contrib.slim.utils.convert_collection_to_dict("ends"))
        every = [v for key in KEYS for v in tf1.get_collection(key) if isinstance(v, tf1.Variable)]
        variables = [[v.op.name, v.shape.as_list(), v.dtype.name, v.trainable] for v in dict.fromkeys(every)]
        updates = len(tf1.get_collection("update_ops") + tf1.get_collection("mine_ops"))
        facts.update(variables=variables, collections=shown, updates=updates)
        penalties = [jnp.asarray(loss, "float32") for loss in tf1.losses.get_regularization_losses()]
        return y, jnp.stack(penalties) if penalties else jnp.zeros(0)

    return tf1.transform_with_state(program), facts


@pytest.mark.parametrize("name", CASES)
def test_variables_and_collections_are_those_of_tensorflow(name):
    """Names, order, shapes, dtypes, trainability, collections and the number of updates; in `init` and in `apply`."""
    case = CASES[name]
    model, facts = noted(case)
    specs = model.specs(case.xs()[0])
    assert facts == FACTS[name]
    order = {path: i for i, (path, *_) in enumerate(FACTS[name]["variables"])}
    assert sorted(specs.flat(), key=order.__getitem__) == list(specs.flat()) or set(order) == set(specs.flat())
    params, state = values_of(specs)
    jax.eval_shape(model.apply, params, state, case.xs()[0])
    assert facts == FACTS[name]


def values_of(specs):
    return (
        jscope.tree.map_with_path(lambda path, spec: value_of(path, spec.shape), tree.shape_dtype())
        for tree in (specs.params, specs.state)
    )


def run(case):
    """Returns a function that computes what was recorded of a case, and its arguments."""
    model, _ = noted(case)
    params, state = values_of(model.specs(case.xs()[0]))

    def loss(params, x, state):
        (y, penalties), state = model.apply(params, state, x)
        return (y * weights_of(y)).sum(), (y, penalties, state)

    def compute(params, state, xs):
        (grads, dx), (y, penalties, after) = jax.grad(loss, (0, 1), has_aux=True)(params, xs[0], state)
        out = {"y": y, "penalties": penalties, "d x": dx}
        out |= {f"d {path}": each for path, each in jscope.tree.flatten(grads).items()}
        for x in xs[1:]:
            after = loss(params, x, after)[1][2]
        return out | {f"after {path}": each for path, each in jscope.tree.flatten(after).items()}

    return compute, (params, state, case.xs())


@pytest.mark.parametrize("group", GROUPS)
def test_layers_compute_what_tensorflow_computes(group):
    """Outputs, gradients, penalties, and the state after three steps."""
    runs = {name: run(case) for name, case in CASES.items() if name.partition("/")[0] == group}
    # One program for all of them: to compile takes longer than to run.
    together = jax.jit(lambda given: {name: compute(*given[name]) for name, (compute, _) in runs.items()})
    for name, found in together({name: given for name, (_, given) in runs.items()}).items():
        for what, value in arrays_of(name).items():
            assert found[what].shape == value.shape, (name, what)
            scale = max(1.0, np.abs(value).max(initial=0))
            np.testing.assert_allclose(found[what], value, rtol=1e-5, atol=1e-5 * scale, err_msg=f"{name}: {what}")
