"""Keras itself judges: what was recorded is what it gives, and so is what options give that Hypothesis draws.

So does Flax, of what was recorded from it.

It runs on JAX, with JAX's standard promotion, in the stage "the layers against Keras" of `.ci/run`:

    pip install -e ".[oracle,test]"
    KERAS_BACKEND=jax python -m pytest -m oracle tests/nn/oracle
"""

from __future__ import annotations

import json

import hypothesis
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import jscope
from jscope import nn
from jscope.errors import InvalidArgumentError
from tests.nn import flax_cases, our_sequences, ours, sequence_cases
from tests.nn.cases import CASES, DATA, load
from tests.nn.oracle import drawn, regenerate, regenerate_flax, regenerate_sequences
from tests.nn.starts import STARTS
from tests.nn.test_sequences import recorded

pytestmark = pytest.mark.oracle
few = hypothesis.settings(max_examples=8, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))


def by_keras(function, *args):
    """What Keras gives, which is written for the promotion that JAX has by default."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return {name: np.asarray(value) for name, value in function(*args).items()}


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


@pytest.mark.parametrize("name", flax_cases.CASES)
def test_records_are_what_flax_gives(name):
    """The same for what Keras lacks."""
    ours.check(name, by_keras(regenerate_flax.run, flax_cases.CASES[name]), load("flax.npz")[name])


def test_variables_of_keras_start_as_recorded():
    """Means, deviations and ends are those of the same distribution, drawn with another seed than the record."""
    regenerate.keras.utils.set_random_seed(1)
    recorded = json.loads((DATA / "starts.json").read_text(encoding="utf8"))
    assert recorded.keys() == STARTS.keys()
    for name, start in STARTS.items():
        found, expected = by_keras(regenerate.start, *start.keras), recorded[name]
        assert list(found["shape"]) == expected["shape"], name
        error = expected["std"] * np.sqrt(2 / np.prod(expected["shape"]))
        assert abs(found["mean"] - expected["mean"]) <= 4 * error, name
        assert abs(found["std"] - expected["std"]) <= 4 * error, name


IMAGE = jnp.ones((1, 5, 5, 4))
TOKENS = jnp.ones((1, 3, 4))
REFUSED = {
    "units": ("Dense", {"units": 0}, TOKENS, lambda s, x: nn.dense(s, x, 0)),
    "groups of channels": (
        "Conv2D",
        {"filters": 6, "kernel_size": 3, "groups": 3},
        IMAGE,
        lambda s, x: nn.conv(s, x, 6, (3, 3), groups=3),
    ),
    "groups of filters": (
        "Conv2D",
        {"filters": 5, "kernel_size": 3, "groups": 2},
        IMAGE,
        lambda s, x: nn.conv(s, x, 5, (3, 3), groups=2),
    ),
    "a window that is too large": (
        "Conv2D",
        {"filters": 2, "kernel_size": 7},
        IMAGE,
        lambda s, x: nn.conv(s, x, 2, (7, 7)),
    ),
    "rank": ("Conv2D", {"filters": 2, "kernel_size": 3}, TOKENS[0], lambda s, x: nn.conv(s, x, 2, (3, 3))),
    "strides": (
        "Conv2D",
        {"filters": 2, "kernel_size": 3, "strides": (1, 2, 3)},
        IMAGE,
        lambda s, x: nn.conv(s, x, 2, (3, 3), strides=(1, 2, 3)),
    ),
    "padding": (
        "Conv2D",
        {"filters": 2, "kernel_size": 3, "padding": "causal"},
        IMAGE,
        lambda s, x: nn.conv(s, x, 2, (3, 3), padding="causal"),
    ),
    "outputs at the end": (
        "Conv2DTranspose",
        {"filters": 2, "kernel_size": 3, "output_padding": 1},
        IMAGE,
        lambda s, x: nn.conv_transpose(s, x, 2, (3, 3), output_padding=1),
    ),
    "groups of a norm": ("GroupNormalization", {"groups": 3}, IMAGE, lambda s, x: nn.group_norm(s, x, 3)),
    "an axis": ("BatchNormalization", {"axis": 4}, IMAGE, lambda s, x: nn.batch_norm(s, x, training=True, axis=4)),
    "a pool": ("MaxPooling2D", {"pool_size": 2}, TOKENS[0], lambda s, x: nn.max_pool(x, (2, 2))),
    "units of a cell": ("LSTM", {"units": 0}, TOKENS, lambda s, x: nn.recurrent(nn.lstm, s, x, 0)),
    "heads": (
        "GroupQueryAttention",
        {"head_dim": 2, "num_query_heads": 3, "num_key_value_heads": 2},
        TOKENS,
        lambda s, x: nn.attention(s, x, 3, num_key_value_heads=2, key_dim=2),
    ),
    "a rate": ("Dropout", {"rate": 1.5}, TOKENS, lambda s, x: nn.dropout(s, x, 1.5, training=True)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_keras_refuses_is_refused(what):
    """Whatever the one cannot do, the other cannot; ours say in which scope."""
    name, options, x, layer = REFUSED[what]
    args = (x, x) if name.endswith("Attention") else (x,)
    with pytest.raises((ValueError, TypeError, IndexError)):
        by_keras(lambda: {"y": getattr(keras.layers, name)(**options)(*args)})
    where = "" if name.endswith("Pooling2D") else " in the scope `s`"
    with pytest.raises(InvalidArgumentError, match=rf"`nn\.\w+`{where}: "):
        jscope.specs(lambda scope: layer(scope / "s", x))
