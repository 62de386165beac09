"""Keras itself judges: what was recorded is what it gives, and so is what options give that Hypothesis draws.

It runs on JAX, with JAX's standard promotion, in the stage "the layers against Keras" of `.ci/run`:

    pip install -e ".[oracle,test]"
    KERAS_BACKEND=jax python -m pytest -m oracle tests/nn/oracle
"""

from __future__ import annotations

import hypothesis
import jax
import numpy as np
import pytest

from tests.nn import our_sequences, ours, sequence_cases
from tests.nn.cases import CASES, load
from tests.nn.oracle import drawn, regenerate, regenerate_sequences
from tests.nn.test_sequences import recorded

pytestmark = pytest.mark.oracle
few = hypothesis.settings(max_examples=12, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))


def by_keras(function, case):
    """What Keras gives, which is written for the promotion that JAX has by default."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return {name: np.asarray(value, np.float32) for name, value in function(case).items()}


@pytest.mark.parametrize("layer", sorted({case.keras for case in CASES.values()}))
def test_records_are_what_keras_gives(layer):
    """So the plain tests, which compare with them, need no Keras."""
    for name, case in CASES.items():
        if case.keras == layer:
            ours.check(name, by_keras(regenerate.run, case), load("keras.npz")[name])


@pytest.mark.parametrize("layer", sorted({case.layer for case in sequence_cases.CASES.values()}))
def test_records_of_sequences_are_what_keras_gives(layer):
    """The same for attention and recurrent layers."""
    for name, case in sequence_cases.CASES.items():
        if case.layer == layer:
            our_sequences.check(name, by_keras(regenerate_sequences.record, case), recorded(name))


@pytest.mark.parametrize("family", drawn.LAYERS)
def test_layers_are_those_of_keras_whatever_the_options(family):
    """Outputs, gradients and moving statistics."""

    @few
    @hypothesis.given(drawn.LAYERS[family]())
    def compare(case):
        function, args = ours.run(case)
        ours.check(case.name, jax.jit(function)(*args), by_keras(regenerate.run, case))

    compare()


@pytest.mark.parametrize("family", drawn.SEQUENCES)
def test_sequences_are_those_of_keras_whatever_the_options(family):
    """Outputs, carries and gradients."""

    @few
    @hypothesis.given(drawn.SEQUENCES[family]())
    def compare(case):
        found = our_sequences.outcomes({"case": case})["case"]
        our_sequences.check(str(case), found, by_keras(regenerate_sequences.record, case))

    compare()
