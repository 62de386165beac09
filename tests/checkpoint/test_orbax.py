"""The Orbax store: what is Orbax's own, and what jscope adds so that nothing is lost or confused."""

from __future__ import annotations

import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as orbax
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


@pytest.fixture
def composite(tmp_path):
    """What a `CheckpointManager` writes, as Flax uses it: several items, and one that holds no arrays."""
    items = {
        "params": {"w": jnp.ones((2, 3)), "b": [jnp.zeros(3)]},
        "opt": {"mu": {"w": jnp.full((2, 3), 2.0)}, "count": 5},
    }
    arguments = {name: orbax.args.StandardSave(item) for name, item in items.items()}
    with orbax.CheckpointManager(tmp_path / "theirs") as manager:
        manager.save(1, args=orbax.args.Composite(**arguments, note=orbax.args.JsonSave({"loss": 1.5})))
    return tmp_path / "theirs" / "1", items


def test_composite_checkpoints_are_read_whole_and_by_item(composite):
    """As a directory of steps, as a step, and as one item of it."""
    path, items = composite
    names = {"params/w": [2, 3], "params/b/0": [3], "opt/mu/w": [2, 3], "opt/count": []}
    for each in (path, path.parent):
        assert checkpoint.load_checkpoint(each).get_variable_to_shape_map() == names
        assert checkpoint.load_variable(each, "opt/mu/w").tolist() == [[2] * 3] * 2
    chex.assert_trees_all_equal(checkpoint.restore(items["params"], path / "params"), items["params"])
    chex.assert_trees_all_equal(checkpoint.restore(items, path), items)
    with pytest.raises(checkpoint.MissingCheckpointError, match="no checkpoint of a format that jscope knows"):
        checkpoint.load_checkpoint(path / "note")


@pytest.mark.parametrize("file", ["manifest.ocdbt", "_METADATA"])
def test_a_lost_table_of_contents_is_an_error(composite, file):
    """And not a checkpoint without variables."""
    path, _ = composite
    (path / "params" / file).unlink()
    for each in (path, path / "params"):
        with pytest.raises(checkpoint.CorruptCheckpointError, match=f"params` lacks the file `{file}`"):
            checkpoint.load_checkpoint(each)
    shutil.rmtree(path / "params")
    with pytest.raises(checkpoint.CorruptCheckpointError, match="lacks its item `params`"):
        checkpoint.load_checkpoint(path)


def test_numbers_and_text_of_others_are_listed(tmp_path):
    """Numbers are arrays; text is not, and is left out or refused by name."""
    ocp.save(str(tmp_path / "x"), {"n": 3, "rate": 0.5, "text": "adam", "none": None})
    assert checkpoint.list_variables(tmp_path / "x") == [("n", []), ("rate", []), ("text", [])]
    assert checkpoint.restore({"n": 0, "rate": 0.0}, tmp_path / "x", select="n$|rate") == {"n": 3, "rate": 0.5}
    with pytest.raises(checkpoint.UnsupportedCheckpointError, match=r"`text` in .*x` is text"):
        checkpoint.load_variable(tmp_path / "x", "text")


def test_messages_have_no_pages_of_tensorstore(step):
    """What it appends are its settings, several pages of them."""
    for file in (step / "state" / "d").iterdir():
        file.unlink()
    with pytest.raises(
        checkpoint.CorruptCheckpointError, match=r"Orbax cannot read .*\nRestore another step"
    ) as caught:
        checkpoint.load_variable(step, "params/n")
    assert len(str(caught.value)) < 500
    assert "tensorstore_spec" not in str(caught.value)
