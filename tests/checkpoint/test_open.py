"""Finding out what a path holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jscope import checkpoint
from jscope.checkpoint import Checkpointer, Reader
from jscope.checkpoint import safetensors as files

TREE = {"enc": {"w": np.arange(6.0).reshape(2, 3)}, "b": np.ones(3, np.float16)}


def one_file(place):
    files.save(place / "any name", TREE)
    return place / "any name"


def one_file_in_a_folder(place):
    files.save(place / "model.safetensors", TREE)
    (place / "config.json").write_text("{}")
    return place


def last_step(place):
    with Checkpointer(place) as checkpoints:
        checkpoints.save(9, other=1)
        checkpoints.save(10, **TREE)
    return place


def one_step(place):
    return last_step(place) / "10"


def orbax_step(place):
    with Checkpointer(place, store="orbax") as checkpoints:
        checkpoints.save(10, **TREE)
    return place


def bundle(place):
    checkpoint.tensorbundle.save(place / "model.ckpt-10", TREE)
    return place / "model.ckpt-10"


def bundle_index(place):
    return bundle(place).with_name("model.ckpt-10.index")


def bundle_data(place):
    return bundle(place).with_name("model.ckpt-10.data-00000-of-00001")


def bundle_state(place):
    return bundle(place).with_name("checkpoint")


def bundle_folder(place):
    return bundle(place).parent


PLACES = [one_file, one_file_in_a_folder, last_step, one_step, orbax_step]
PLACES += [bundle, bundle_index, bundle_data, bundle_state, bundle_folder]


@pytest.mark.parametrize("make", PLACES)
def test_every_format_is_read_alike(tmp_path, make):
    """As `tf.train` does: `load_checkpoint`, `list_variables`, `load_variable`."""
    path = make(tmp_path)
    assert checkpoint.list_variables(path) == [("b", [3]), ("enc/w", [2, 3])]
    value = checkpoint.load_variable(str(path), "enc/w")
    np.testing.assert_array_equal(value, TREE["enc"]["w"])
    reader = checkpoint.load_checkpoint(path)
    assert isinstance(reader, Reader)
    assert reader.get_variable_to_dtype_map() == {"enc/w": np.dtype("float64"), "b": np.dtype("float16")}
    assert (reader.has_tensor("b"), reader.has_tensor("enc")) == (True, False)
    with pytest.raises(KeyError, match="enc/W"):
        reader.get_tensor("enc/W")
    assert str(tmp_path) in reader.path
    reader.close()


def test_what_is_not_there_is_named(tmp_path):
    """With what is near; a directory without a checkpoint says what it has."""
    files.save(tmp_path / "model.safetensors", TREE)
    with pytest.raises(checkpoint.MissingCheckpointError, match=r"Did you mean `model\.safetensors`\?"):
        checkpoint.load_checkpoint(tmp_path / "model.safetensor")
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        checkpoint.load_checkpoint(tmp_path / "none" / "none")
    files.save(tmp_path / "other.safetensors", TREE)
    with pytest.raises(
        checkpoint.MissingCheckpointError, match=r"there are `model.safetensors`, `other.*Say which file"
    ):
        checkpoint.load_checkpoint(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(checkpoint.MissingCheckpointError, match="it is empty"):
        checkpoint.load_checkpoint(tmp_path / "empty")


def test_the_working_directory_may_change(tmp_path, monkeypatch):
    """What was opened by a relative path is read from where it is; a writer goes on saving there."""
    monkeypatch.chdir(tmp_path)
    with Checkpointer("orbax", store="orbax") as checkpoints, Checkpointer("run") as others:
        for each in (checkpoints, others):
            each.save(1, **TREE)
        checkpoints.wait()
        checkpoint.tensorbundle.save("m", TREE)
        readers = [checkpoint.load_checkpoint(path) for path in ("run", "orbax", "m")]
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        assert [reader.get_tensor("b").tolist() for reader in readers] == [[1, 1, 1]] * 3
        for each in (checkpoints, others):
            each.save(2, **TREE)
            each.wait()
            assert each.steps() == [1, 2]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_old_format_of_tensorflow_is_told():
    """By what is in the file."""
    with pytest.raises(checkpoint.UnsupportedCheckpointError, match=r"before version 0\.12"):
        checkpoint.load_checkpoint(Path(__file__).parent / "data/old/model.ckpt")


def test_importing_touches_no_backend_and_no_store():
    """Neither devices nor optional packages."""
    code = (
        "import sys, jax, jscope.checkpoint\n"
        "assert not [m for m in ('orbax', 'safetensors', 'tensorflow', 'rich') if m in sys.modules]\n"
        "jax.config.update('jax_platforms', 'none such')\n"
        "try: jax.devices()\n"
        "except RuntimeError: pass\n"
        "else: raise SystemExit('a backend was there already')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
