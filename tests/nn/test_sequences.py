"""Attention and recurrent layers compute what Keras computes: outputs, carries and gradients.

`tests/nn/oracle/regenerate_sequences.py` has recorded it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.crossed import mostly_slow
from tests.nn.our_sequences import check, outcomes
from tests.nn.sequence_cases import CASES

RECORDED = dict(np.load(Path(__file__).parent / "data" / "sequences.npz"))


def recorded(name):
    """What Keras gave for a case, by name."""
    return {key.removeprefix(f"{name}: "): value for key, value in RECORDED.items() if key.startswith(f"{name}: ")}


@pytest.mark.parametrize(
    "layer", mostly_slow(sorted({case.layer for case in CASES.values()}), "GRU", "MultiHeadAttention")
)
def test_layers_compute_what_keras_computes(layer):
    """Outputs, carries, and gradients with respect to inputs and variables, to 1e-5."""
    for name, found in outcomes({name: case for name, case in CASES.items() if case.layer == layer}).items():
        check(name, found, recorded(name))
