import errno
import os
import shutil
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors
from jscope.checkpoint import tensorbundle
from jscope.checkpoint._errors import (
    CheckpointError,
    CheckpointWriteError,
    MissingCheckpointError,
    UnsupportedCheckpointError,
)
from tests.checkpoint.data.contents import numbers, strings

DATA = Path(__file__).parent / "data"


def same(found, wanted):
    """Whether shape, dtype and every bit agree, a NaN's too."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    return found.tolist() == wanted.tolist() if wanted.dtype == object else found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", numbers() | strings())
def test_reads_every_dtype(name):
    """Each dtype of TensorFlow that numpy or JAX has, in every shape, under any name, and strings."""
    wanted = (numbers() | strings())[name]
    with tensorbundle.open(DATA / "dtypes/model") as reader:
        assert same(reader.get_tensor(name), wanted)
        assert reader.get_variable_to_shape_map()[name] == list(wanted.shape)
        assert reader.get_variable_to_dtype_map()[name] == wanted.dtype
        assert reader.has_tensor(name)


def test_writes_what_it_reads(tmp_path):
    """Bit by bit."""
    values = numbers() | strings()
    tensorbundle.save(tmp_path / "model", values)
    reader = tensorbundle.open(tmp_path / "model")
    assert list(reader.get_variable_to_shape_map()) == sorted(values)
    assert [name for name, value in values.items() if not same(reader.get_tensor(name), value)] == []


def test_slices_are_assembled():
    """A partitioned variable is one array under its full name; so are its slots."""
    tree = tensorbundle.load(DATA / "partitioned")
    assert jscope.tree.names(tree) == ["beta1_power", "beta2_power", "global_step", "net/b", "net/w", "net/wide"]
    assert same(tree["net"]["w"], np.arange(14, dtype=np.float32).reshape(7, 2))
    assert same(tree["net"]["wide"], np.arange(260, dtype=np.float32).reshape(2, 130))


def test_slots_are_trees_like_the_params():
    """Adam's moments after one step, where the gradient is the variable itself; slots of a scoped optimizer, too."""
    params, slots = tensorbundle.load(DATA / "partitioned"), tensorbundle.load_slots(DATA / "partitioned")
    assert list(slots) == ["Adam", "Adam_1", "ExponentialMovingAverage", "Momentum"]
    assert jscope.tree.names(slots["Momentum"]) == ["net/b"]
    chex.assert_trees_all_close(slots["Adam"]["net"], jax.tree.map(lambda w: 0.1 * w, params["net"]), rtol=1e-5)
    chex.assert_trees_all_close(slots["Adam_1"]["net"], jax.tree.map(lambda w: 0.001 * w**2, params["net"]), rtol=1e-3)


def test_names_of_tensorflow_2():
    """They lose their ending and their escapes; what is not a variable is left out; slots are told by optimizer."""
    assert tensorbundle.open(DATA / "objects").has_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    tree = tensorbundle.load(DATA / "objects", select="^model")
    assert same(tree["model"]["layer"]["w"], np.float32([[1, 2]]))
    assert same(tree["model"]["tables"]["x"]["y.z"], np.int32(3))
    slots = tensorbundle.load_slots(DATA / "objects")
    chex.assert_trees_all_close(slots["optimizer/m"], {"model": {"layer": {"w": np.float32([[0.1, 0.2]])}}}, rtol=1e-6)


def test_load_selects_and_renames():
    """What is not chosen is not read, so that it need not even be there."""
    tree = tensorbundle.load(DATA / "partitioned", rename={"^net/": "model/"}, select="^model/w$")
    assert jscope.tree.names(tree) == ["model/w"]
    with pytest.raises(errors.MissingVariableError, match=r"`\^net/v` in `select=` .* Did you mean `net/w`"):
        tensorbundle.load(DATA / "partitioned", select="^net/v")


@pytest.mark.parametrize(
    "path",
    ["merged/model", "merged/model.index", "merged/model.data-00001-of-00003", "merged", "saved_model", "objects"],
)
def test_paths(path):
    """A prefix, any of its files, a directory with one checkpoint, a SavedModel, a directory with a state file."""
    assert tensorbundle.load(DATA / path)


def test_several_data_files(tmp_path):
    """One that is missing is missed by its own variables only."""
    shutil.copytree(DATA / "merged", tmp_path / "m")
    os.unlink(tmp_path / "m/model.data-00001-of-00003")
    reader = tensorbundle.open(tmp_path / "m")
    assert same(reader.get_tensor("v2"), np.full((2, 3), 2, np.float32))
    with pytest.raises(MissingCheckpointError, match=r"data-00001-of-00003` cannot be read: No such file"):
        reader.get_tensor("v1")


def test_a_moved_directory(tmp_path):
    """Its state file still says where it was."""
    tensorbundle.save(tmp_path / "model", {"w": np.ones(1)})
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/nowhere/model"\n')
    assert tensorbundle.load(tmp_path) == {"w": 1.0}


def test_the_state_file_names_the_latest(tmp_path):
    """And the ones before it, the oldest first, once each; a name may have any character."""
    for name in ("first", 'sec"ond\\', "ünï", "first"):
        tensorbundle.save(tmp_path / name, {"w": np.ones(1)})
    tensorbundle.save(tmp_path / "aside", {"w": np.zeros(1)}, state_file=False)
    assert (tmp_path / "checkpoint").read_text().splitlines() == [
        'model_checkpoint_path: "first"',
        'all_model_checkpoint_paths: "sec\\"ond\\\\"',
        'all_model_checkpoint_paths: "\\303\\274n\\303\\257"',
        'all_model_checkpoint_paths: "first"',
    ]
    assert tensorbundle.open(tmp_path).path == str(tmp_path / "first")
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{tmp_path}/first"\n')
    tensorbundle.save(tmp_path / "first", {"w": np.ones(1)})
    assert (tmp_path / "checkpoint").read_text().count("first") == 2


def test_a_state_file_with_escapes(tmp_path):
    """Octal, hexadecimal, letters, as protocol buffers in text have them."""
    tensorbundle.save(tmp_path / "aü\tb", {"w": np.ones(1)})
    for name in (r"\141\303\274\tb", r"\x61\xc3\xbc\x09b", "aü\\tb"):
        (tmp_path / "checkpoint").write_bytes(b'model_checkpoint_path: "' + name.encode() + b'"')
        assert tensorbundle.load(tmp_path) == {"w": 1.0}


def test_no_checkpoint():
    """The error names what there is, and what is near."""
    with pytest.raises(MissingCheckpointError, match=r"no file '.*modle\.index'\. Did you mean `model`\?"):
        tensorbundle.open(DATA / "merged/modle")
    with pytest.raises(FileNotFoundError, match=r"no file `checkpoint` that says .* and holds 0"):
        tensorbundle.open(DATA / "old")
    with pytest.raises(MissingCheckpointError, match=r"There is no TensorFlow checkpoint at 'a\\x00b'"):
        tensorbundle.open("a\0b")
    with pytest.raises(UnsupportedCheckpointError, match=r"before version 0\.12"):
        tensorbundle.open(DATA / "old/model.ckpt")


def test_no_variable():
    """The error names what is near."""
    with pytest.raises(errors.MissingVariableError, match=r"has no variable `net/W`. Did you mean `net/w`"):
        tensorbundle.open(DATA / "partitioned").get_tensor("net/W")


def test_strings_are_refused_by_name(tmp_path):
    """JAX has none; before anything is read."""
    tensorbundle.save(tmp_path / "m", {"w": np.ones(1), "table/keys": np.array(["a", "b"])})
    with pytest.raises(UnsupportedCheckpointError, match=r"`table/keys` in `.*` holds strings"):
        tensorbundle.load(tmp_path / "m")
    assert tensorbundle.load(tmp_path / "m", select="w") == {"w": 1.0}
    assert tensorbundle.open(tmp_path / "m").get_tensor("table/keys").tolist() == [b"a", b"b"]


def test_saves_what_users_have(tmp_path):
    """Arrays of JAX, sharded ones too, strided and big-endian ones, numbers, scalars."""
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    values = {
        "jax": {"w": jnp.ones((2, 2), jnp.bfloat16), "spread": jax.device_put(np.arange(16), sharding)},
        "fortran": np.asfortranarray(grid),
        "strided": grid[::2, 1::2],
        "big": grid.astype(">f4"),
        "scalar": np.float16(1.5),
        "numbers": {"int": 3, "float": 2.5, "bool": True},
    }
    tensorbundle.save(tmp_path / "m", values)
    found = tensorbundle.load(tmp_path / "m")
    assert same(found["big"], grid)
    chex.assert_trees_all_equal(found, jax.tree.map(np.asarray, values | {"big": grid}))


def test_arrays_can_be_used_in_place(tmp_path):
    """Each begins at a multiple of 64 bytes, and is a read-only view."""
    tensorbundle.save(tmp_path / "m", {"a": np.ones(3, np.int8), "b": np.ones(5), "c": np.ones(5)})
    for value in tensorbundle.load(tmp_path / "m").values():
        assert value.ctypes.data % 64 == 0
        assert not value.flags.writeable
        assert not value.flags.owndata


def test_arrays_outlive_the_reader(tmp_path):
    """And the files, too."""
    tensorbundle.save(tmp_path / "m", {"w": np.arange(5)})
    value = tensorbundle.load(tmp_path / "m")["w"]
    tensorbundle.save(tmp_path / "m", {"w": np.zeros(5)})
    assert value.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(2, "M8[s]"), r"`a/w` is of dtype datetime64\[s\], which TensorFlow does not have"),
        (jax.random.key(0), r"`a/w` is a random key.*key_data"),
        (object(), r"`a/w` is a `object`, not an array"),
        (None, r"`a/w` is a `NoneType`, not an array"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path, value, message):
    """And nothing is left behind, nor replaced."""
    tensorbundle.save(tmp_path / "m", {"old": np.ones(1)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UnsupportedCheckpointError, match=message):
        tensorbundle.save(tmp_path / "m", {"a": {"v": np.ones(3), "w": value}})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_to_save(tmp_path):
    """By name one may be a prefix of another; none is empty, unprintable, or there twice."""
    tensorbundle.save(tmp_path / "m", {"w": np.ones(1), "w/Adam": np.zeros(1)})
    for name in ("", "a\0b", "a\nb"):
        with pytest.raises(errors.InvalidNameError, match="cannot name a variable"):
            tensorbundle.save(tmp_path / "m", {name: np.ones(1)})
    with pytest.raises(errors.NameConflictError, match="`a/b` is there twice"):
        tensorbundle.save(tmp_path / "m", {"a/b": np.ones(1), "a": {"b": np.ones(1)}})
    with pytest.raises(errors.InvalidArgumentError, match=r"is a directory\. A prefix begins the names of files"):
        tensorbundle.save(f"{tmp_path}/", {"w": np.ones(1)})
    with pytest.raises(errors.InvalidArgumentError, match="nested dict of arrays, not from"):
        tensorbundle.save(tmp_path / "m", [np.ones(1)])


def test_no_room_to_write(tmp_path):
    """A directory that is not there."""
    with pytest.raises(
        CheckpointWriteError, match=r"^(\[Errno 2\] )?Nothing was saved to `.*/no/m.data-00000-of-00001`: No such file"
    ):
        tensorbundle.save(tmp_path / "no/m", {"w": np.ones(1)})


def test_names_that_meet(tmp_path):
    """Two names that stand for one variable are an error, never a choice."""
    tensorbundle.save(tmp_path / "m", {"w": np.ones(1), "w/.ATTRIBUTES/VARIABLE_VALUE": np.zeros(1)})
    with pytest.raises(errors.NameConflictError, match="both stand for `w`"):
        tensorbundle.load(tmp_path / "m")


def test_a_closed_reader():
    """It still knows what there is, and reads nothing."""
    reader = tensorbundle.open(DATA / "merged")
    reader.close()
    assert reader.get_variable_to_shape_map() == {"v0": [2, 3], "v1": [2, 3], "v2": [2, 3]}
    with pytest.raises(CheckpointError, match=r"was closed\. Open it again"):
        reader.get_tensor("v0")


def test_variables_by_path():
    """With the names that they have in the checkpoint."""
    names = tensorbundle.variables(tensorbundle.open(DATA / "saved_model"))
    assert names == {
        "layer/w": "layer/w/.ATTRIBUTES/VARIABLE_VALUE",
        "tables/x/y.z": "tables/x.Sy..z/.ATTRIBUTES/VARIABLE_VALUE",
    }


def test_a_checkpoint_is_replaced_by_one_rename(tmp_path):
    """The new data have a name that the old index does not know, so that it holds until the new one takes its place."""
    for step in range(4):
        tensorbundle.save(tmp_path / "m", {"w": np.full(3, step)})
        assert tensorbundle.load(tmp_path / "m")["w"].tolist() == [step] * 3
        count = 1 + step % 2
        assert sorted(path.name for path in tmp_path.glob("m.data*")) == [
            f"m.data-{shard:05}-of-{count:05}" for shard in range(count)
        ]


def test_a_failed_save_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    """Wherever it fails, and it leaves nothing behind."""
    tensorbundle.save(tmp_path / "m", {"w": np.zeros(3)}, state_file=False)
    before, replace = sorted(tmp_path.iterdir()), os.replace
    for fails_at in range(3):
        left = [fails_at]

        def failing(old, new, left=left):
            if not left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            left[0] -= 1
            replace(old, new)

        monkeypatch.setattr(os, "replace", failing)
        with pytest.raises(CheckpointWriteError, match=r"No space left .*Make room"):
            tensorbundle.save(tmp_path / "m", {"w": np.ones(3)})
        monkeypatch.undo()
        assert sorted(tmp_path.iterdir()) == before
        assert tensorbundle.load(tmp_path / "m")["w"].tolist() == [0] * 3
