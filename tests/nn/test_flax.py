"""Flax judges what Keras does not have, from recorded outputs and gradients. See `oracle/regenerate_flax.py`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import jscope
from tests.nn.cases import load
from tests.nn.filled import filled
from tests.nn.flax_cases import CASES
from tests.nn.ours import check
from tests.nn.sequence_cases import numbers


def outcome(case):
    """Returns a function that computes the output and the gradients by the input and by each variable; its inputs."""
    model, x = jscope.transform(case.ours), jnp.asarray(numbers("x", case.shape))

    def compute(params, x):
        def loss(params, x):
            y = model.apply(params, x)
            return jnp.sum(y * jnp.asarray(numbers("y", y.shape))), y

        (grads, dx), y = jax.grad(loss, (0, 1), has_aux=True)(params, x)
        return {"y": y, "d x": dx} | {f"d {path}": grad for path, grad in jscope.tree.flatten(grads).items()}

    return compute, (filled(model.specs(x)), x)


def test_layers_give_what_flax_gives():
    """Outputs and gradients with the same variables."""
    runs = {name: outcome(case) for name, case in CASES.items()}
    together = jax.jit(lambda given: {name: compute(*given[name]) for name, (compute, _) in runs.items()})
    for name, found in together({name: given for name, (_, given) in runs.items()}).items():
        check(name, found, load("flax.npz")[name])


@pytest.mark.parametrize("name", CASES)
def test_variables_are_those_of_flax(name):
    """As many, by our names."""
    case = CASES[name]
    names = jscope.tree.names(jscope.specs(case.ours, jnp.zeros(case.shape)))
    assert sorted(names) == sorted(case.names.values())
