"""The Orbax store: what is Orbax's own, and what jscope adds so that nothing is lost or confused."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp
import pytest

from jscope import checkpoint, errors
from jscope.checkpoint import Checkpointer

TREE = {
    "w": jnp.arange(600.0).reshape(20, 30) * 1.1,
    "n": np.arange(50),
    "enc": {"b": jnp.ones(3, jnp.bfloat16), "four": jnp.arange(4).astype(jnp.uint4), "none": jnp.zeros((0, 2))},
}


@pytest.fixture
def step(tmp_path):
    """The directory of a step."""
    with Checkpointer(tmp_path / "run", store="orbax") as checkpoints:
        checkpoints.save(3, params=TREE, key=jax.random.key(1))
        return checkpoints.path(3)


def test_others_can_read_what_is_written(step):
    """As a nested dict, by Orbax without jscope."""
    abstract = {"n": np.zeros(50, int), "w": TREE["w"], "enc": {"b": TREE["enc"]["b"], "four": ocp.PLACEHOLDER}}
    found = ocp.load(str(step), {"params": abstract, "key": ocp.PLACEHOLDER})
    chex.assert_trees_all_equal(found["params"]["w"], TREE["w"])
    chex.assert_trees_all_equal(found["params"]["enc"]["b"], TREE["enc"]["b"])


def test_what_others_write_is_read(tmp_path):
    """Any tree that Orbax saved: names are paths in it."""
    tree = {"a": [jnp.ones(2), np.arange(3)], "b": {"w": jnp.zeros((2, 2))}}
    ocp.save(str(tmp_path / "theirs"), tree)
    path = tmp_path / "theirs"
    assert checkpoint.list_variables(path) == [("a/0", [2]), ("a/1", [3]), ("b/w", [2, 2])]
    assert checkpoint.load_variable(path, "a/1").tolist() == [0, 1, 2]
    chex.assert_trees_all_equal(checkpoint.restore(tree, path), tree)
    with pytest.raises(errors.StructureMismatchError, match=r"missing: +`b/W`"):
        checkpoint.restore({"b": {"W": jnp.zeros((2, 2))}}, path, select="b")


def test_one_array_is_read_alone(step):
    """As NumPy's, with a named error for a name that is not there."""
    assert checkpoint.load_variable(step, "params/n").tolist() == list(range(50))
    assert checkpoint.load_variable(step, "params/enc/none").shape == (0, 2)
    assert checkpoint.load_variable(step, "params/enc/four").dtype == np.dtype("uint4")
    with pytest.raises(errors.MissingVariableError, match="Did you mean `params/enc/four`"):
        checkpoint.load_variable(step, "params/enc/for")
