"""Files that are written such that a reader sees the old or the new, whenever the power fails."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import numpy as np
import pytest

import jscope
from jscope.checkpoint import Checkpointer, _files, keras, load_checkpoint, safetensors, tensorbundle
from tests.checkpoint.power import Disk

SPECS = jscope.specs(lambda scope: scope.get_variable("w", (5,)))


def tree(version):
    """What is saved as a version: small, so that all that may be left of it can be looked at."""
    return {"w": np.full(5, version), "b": {"c": np.full((2, 2), version, np.float32)}}


def version_of(saved):
    """The version that something is, after making sure that it is one."""
    version = int(saved["w"][0])
    np.testing.assert_equal(saved, tree(version))
    return version


def save_file(root, version):
    safetensors.save(root / "x", tree(version))


def save_step(root, version):
    with Checkpointer(root / "run", keep=1) as checkpoints:
        checkpoints.save(version, specs=SPECS, **tree(version))


def load_step(root):
    checkpoints = Checkpointer(root / "run")
    assert checkpoints.specs().to_json() == SPECS.to_json()
    return version_of(checkpoints.restore())


def save_bundle(root, version):
    tensorbundle.save(root / "m", tree(version))


def save_weights(root, version):
    keras.save(root / "x.weights.h5", {"w": {"0": tree(version)["w"]}, "b": {"c": {"0": tree(version)["b"]["c"]}}})


def load_weights(root):
    with contextlib.closing(load_checkpoint(root / "x.weights.h5")) as reader:
        return version_of({"w": reader.get_tensor("w/0"), "b": {"c": reader.get_tensor("b/c/0")}})


FORMATS = {
    "file": (save_file, lambda root: version_of(safetensors.load(root / "x"))),
    "step": (save_step, load_step),
    "bundle": (save_bundle, lambda root: version_of(tensorbundle.load(root / "m"))),
    "bundle by its directory": (save_bundle, lambda root: version_of(tensorbundle.load(root))),
    "weights of Keras": (save_weights, load_weights),
}


@pytest.mark.skipif(os.name == "nt", reason="directories cannot be synced there")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_loss_of_power_leaves_the_old_or_the_new(tmp_path, monkeypatch, kind):
    """At every moment, whatever was not synced is gone and whatever was not ordered comes in any order. See `power.py`.

    Once the save has returned, it is the new.
    """
    save, load = FORMATS[kind]
    root = tmp_path / "disk"
    root.mkdir()
    for old in (1, 2):  # A bundle has another number of files each time.
        save(root, old)
    with monkeypatch.context() as patch:
        disk = Disk(root, patch)
        save(root, 3)
        disk.moment()
    checked = {}
    for number, states in disk.left.items():
        for state in states:
            if state not in checked:
                where = tmp_path / f"left-{len(checked)}"
                where.mkdir()
                disk.write(state, where)
                checked[state] = load(where)
            assert checked[state] in ((3,) if number == len(disk.calls) else (2, 3)), (number, disk.calls)
    assert {2, 3} <= {*checked.values()}


def replaced(name):
    """The calls that replace a file."""
    return [("fsync", f".{name}.tmp"), ("replace", f".{name}.tmp", name), ("fsync", "disk")]


CALLS = {
    "file": replaced("x"),
    "step": [
        ("fsync", "disk"),  # The name of the directory of all steps.
        *(("fsync", name) for name in ("specs.json", "arrays.safetensors", ".3.tmp")),
        ("rename", ".3.tmp", "3"),
        ("fsync", "run"),
    ],
    "weights of Keras": replaced("x.weights.h5"),
    "bundle": [*replaced("m.data-00000-of-00001"), *replaced("m.index"), *replaced("checkpoint")],
}


@pytest.mark.skipif(os.name == "nt", reason="directories cannot be synced there")
@pytest.mark.parametrize("kind", CALLS)
def test_the_order_is_write_sync_rename_sync(tmp_path, monkeypatch, kind):
    """Each file before it gets its name, the directory after it, and nothing is deleted before that."""
    root = tmp_path / "disk"
    root.mkdir()
    with monkeypatch.context() as patch:
        disk = Disk(root, patch)
        FORMATS[kind][0](root, 3)
    calls = [(name, *(re.sub("-[0-9a-f]{16}$", "", each) for each in names)) for name, *names in disk.calls]
    assert [call for call in calls if call[0] not in ("mkdir", "unlink", "rmdir")] == CALLS[kind]


def test_orbax_deletes_nothing_before_the_new_step_is_on_the_disk(tmp_path, monkeypatch):
    """It syncs neither its metadata nor the names of its files: all that it wrote is synced before it is relied on."""
    synced, fsync, rename, looked = set(), os.fsync, os.rename, []

    def note(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def look(old, new):
        if Path(old) == tmp_path / "1":
            looked.append(
                [path for path in (tmp_path, *(tmp_path / "2").rglob("*")) if path.stat().st_ino not in synced]
            )
        rename(old, new)

    with Checkpointer(tmp_path, keep=1, store="orbax") as checkpoints:
        checkpoints.save(1, **tree(1))
        checkpoints.wait()
        monkeypatch.setattr(os, "fsync", note)
        monkeypatch.setattr(os, "rename", look)
        checkpoints.save(2, **tree(2))
        checkpoints.wait()
    assert looked == [[]]


@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
def test_permissions_stay_what_they_are(tmp_path):
    """Those of what is replaced, also where its data get another name."""
    save_bundle(tmp_path, 1)
    save_file(tmp_path, 1)
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    save_bundle(tmp_path, 2)
    save_file(tmp_path, 2)
    names = {"x", "m.data-00000-of-00002", "m.data-00001-of-00002", "m.index", "checkpoint"}
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == dict.fromkeys(names, 0o600)


def test_what_a_killed_save_left_is_cleared_by_the_next(tmp_path):
    """But not what is being written."""
    left = tmp_path / ".x.tmp-0123456789abcdef"
    left.write_text("left")
    with _files.replacing(tmp_path / "x") as writing:
        assert not left.exists()
        writing.write_text("first")
        save_file(tmp_path, 1)
        assert writing.read_text() == "first"
    assert (tmp_path / "x").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
