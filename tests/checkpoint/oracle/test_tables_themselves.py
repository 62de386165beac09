"""The libraries themselves judge the tables that ship: what was recorded is what they have and what they compute.

    pip install -e ".[oracle,test]"
    KERAS_BACKEND=jax python -m pytest -m oracle tests/checkpoint/oracle

PyTorch is not among what that installs, since it is larger than all else; where it is there, it judges, too.
"""

from __future__ import annotations

import importlib

import chex
import jax
import pytest

from tests.checkpoint.layer_tables import CASES, theirs

pytestmark = [
    pytest.mark.oracle,
    # What Keras does with NumPy 2's `copy`, and that it asks JAX for int64, is not ours to mend.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64:UserWarning"),
]
RECORDERS = {
    "pytorch": ("torch", "record_pytorch", "record"),
    "linen": ("flax", "record_flax", "record_linen"),
    "nnx": ("flax", "record_flax", "record_nnx"),
    "haiku": ("haiku", "record_haiku", "record"),
    "keras": ("keras", "record_keras", "record"),
}


@pytest.mark.parametrize(("library", "name"), CASES)
def test_records_are_what_they_give(library, name):
    """So the plain tests, which compare with them, need none of these libraries."""
    package, module, function = RECORDERS[library]
    pytest.importorskip(package)
    record = getattr(importlib.import_module(f"tests.checkpoint.oracle.{module}"), function)
    # They are written for the promotion that JAX has by default.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = record(name)
    arrays, y = theirs(library, name)
    chex.assert_trees_all_close(found.pop("y"), y, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_equal(found, arrays)
