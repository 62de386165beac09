"""Weights of Keras: read as they are named, with nothing followed and nothing believed."""

from __future__ import annotations

import shutil
import zipfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import checkpoint, nn
from jscope.checkpoint import CorruptCheckpointError, MissingCheckpointError, UnsupportedCheckpointError, tables
from jscope.cli import main
from jscope.errors import MissingVariableError
from tests.checkpoint.layer_tables import recorded
from tests.checkpoint.oracle.recording import DATA

h5py = pytest.importorskip("h5py")
FILES = ("keras.weights.h5", "model.keras")


def model(scope, x):
    """What `oracle/record_keras.py` has written."""
    x = nn.conv(scope / "first", x, 4, 3)
    x = nn.batch_norm(scope / "norm", x, training=False).mean((1, 2))
    return nn.dense(scope / "inner/dense", nn.dense(scope / "inner/wide", x, 3), 2)


@pytest.mark.parametrize("file", FILES)
def test_a_model_of_keras_gives_its_outputs(file):
    """From its weights, or from the file with everything."""
    case = recorded("keras")["model"]
    # Keras has numbered the layer that has no name of its own.
    (last,) = {name[:-2] for name, _ in checkpoint.list_variables(DATA / file) if name.startswith("inner/dense")}
    made = jscope.transform_with_state(model)
    specs = made.specs(jnp.asarray(case["x"]))
    table = tables.keras(specs, names={"inner/dense": last})
    found = checkpoint.restore(specs, DATA / file, conversion=table)
    flat = jscope.tree.flatten(found)
    params, state = (jscope.tree.unflatten({name: flat[name] for name in each}) for each in (specs.params, specs.state))
    chex.assert_trees_all_close(made.apply(params, state, jnp.asarray(case["x"]))[0], case["y"], rtol=1e-5, atol=1e-5)


def test_names_are_those_of_layers_and_attributes(tmp_path):
    """Lists have the names of their layers; what belongs to the training is not there."""
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        for name in ("layers/dense", "layers/dense_1", "layers/lstm/cell", "blocks/dense", "encoder", "encoder/_out"):
            file[f"{name}/vars/0"] = np.ones(2, np.float32)
        for group, name in (("layers/dense", "in"), ("layers/lstm", "memory"), ("blocks/dense", "in"), ("", "model")):
            file.require_group(f"{group}/vars").attrs["name"] = name
        file["optimizer/vars/0"] = file["layers/dropout/seed_generator/vars/0"] = np.ones(2)
    found = checkpoint.list_variables(tmp_path / "a.weights.h5")
    names = ["blocks/in/0", "dense_1/0", "encoder/0", "encoder/out/0", "in/0", "memory/cell/0"]
    assert found == [(name, [2]) for name in names]


def test_layers_of_one_name_have_those_of_groups(tmp_path):
    """All of them, since nobody knows which of two is meant."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("dense", "dense_1"):
            file[f"layers/{name}/vars/0"] = np.ones(2)
            file[f"layers/{name}/vars"].attrs["name"] = "same"
    names = [name for name, _ in checkpoint.list_variables(tmp_path / "a.h5")]
    assert names == ["layers/dense/vars/0", "layers/dense_1/vars/0"]


def test_dtypes_are_those_of_jax(tmp_path):
    """Also bfloat16, which HDF5 lacks, and other orders of bytes."""
    values = {"a": np.arange(3, dtype=">f4"), "b": np.array([True, False]), "c": np.arange(3, dtype=np.int8)}
    half = np.asarray(jnp.arange(3, dtype=jnp.bfloat16))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, value in values.items():
            file[f"{name}/vars/0"] = value
        file["d/vars/0"] = half.view("V2")
        file["d/vars/0"].attrs["dtype"] = "bfloat16"
    reader = checkpoint.load_checkpoint(tmp_path / "a.h5")
    assert reader.get_variable_to_dtype_map()["a/0"] == np.float32
    chex.assert_trees_all_equal({name: reader.get_tensor(f"{name}/0") for name in "abcd"}, values | {"d": half})
    with pytest.raises(MissingVariableError, match="no array `e/0`"):
        reader.get_tensor("e/0")
    reader.close()
    with pytest.raises(checkpoint.CheckpointError, match="was closed"):
        reader.get_tensor("a/0")


def other_file(file, path):
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["secret"] = np.ones(3)
    file["layers/a/vars/0"] = h5py.ExternalLink(str(path.with_name("other.h5")), "secret")


def soft(file, path):
    file["a/vars/0"] = np.ones(3)
    file["b"] = h5py.SoftLink("/a")


def itself(file, path):
    file["a/vars/0"] = np.ones(3)
    file["a/b"] = file["a"]


def outside(file, path):
    path.with_name("raw").write_bytes(bytes(80))
    file.create_dataset("a/vars/0", (10,), np.float64, external=[(str(path.with_name("raw")), 0, 80)])


def virtual(file, path):
    layout = h5py.VirtualLayout((3,), np.float64)
    layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "secret", (3,))
    file.create_virtual_dataset("a/vars/0", layout)


def huge(file, path):
    file.create_dataset("a/vars/0", (1 << 50,), np.float32, chunks=(1 << 20,))


def huge_and_compressed(file, path):
    file.create_dataset("a/vars/0", (1 << 50,), np.float32, chunks=(1 << 20,), compression="gzip")


def claimed(file, path):
    dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    dcpl.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    space = h5py.h5s.create_simple((1 << 50,))
    h5py.h5d.create(file.create_group("a/vars").id, b"0", h5py.h5t.NATIVE_FLOAT, space, dcpl)


def shapeless(file, path):
    file["a/vars/0"] = h5py.Empty("f4")


BAD = {
    other_file: (UnsupportedCheckpointError, r"`0` in .*layers/a/vars` is a link to somewhere else"),
    soft: (UnsupportedCheckpointError, r"`b` in .* is a link to somewhere else"),
    itself: (UnsupportedCheckpointError, r"is there under two names, or in itself"),
    outside: (UnsupportedCheckpointError, r"`/a/vars/0` .* lies in another file"),
    virtual: (UnsupportedCheckpointError, r"`/a/vars/0` .* lies in another file"),
    huge: (CorruptCheckpointError, r"claims 4,503,599,627,370,496 bytes, and the file has 0 for it"),
    huge_and_compressed: (CorruptCheckpointError, r"claims 4,503,599,627,370,496 bytes"),
    claimed: (CorruptCheckpointError, r"claims 4,503,599,627,370,496 bytes"),
    shapeless: (CorruptCheckpointError, r"has no shape"),
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_what_a_file_should_not_have_is_refused(make, tmp_path):
    """When it is opened, before any array is read."""
    path = tmp_path / "bad.weights.h5"
    with h5py.File(path, "w") as file:
        make(file, path)
    kind, message = BAD[make]
    with pytest.raises(kind, match=message):
        checkpoint.load_checkpoint(path)


def test_text_is_listed_and_not_read(tmp_path):
    """The rest can be."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/vars/0"] = ["text"]
        file["b/vars/0"] = np.ones(2)
    reader = checkpoint.load_checkpoint(tmp_path / "a.h5")
    assert reader.get_tensor("b/0").sum() == 2
    with pytest.raises(UnsupportedCheckpointError, match=r"`a/0` in .* other than numbers"):
        reader.get_tensor("a/0")


def test_a_compressed_archive_is_read_within_bounds(tmp_path):
    """What it claims must be possible."""
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(DATA / FILES[0], "model.weights.h5")
    expected = dict(checkpoint.list_variables(DATA / FILES[0]))
    assert dict(checkpoint.list_variables(path)) == expected
    data = path.read_bytes()
    at = data.index(b"PK\1\2")
    path.write_bytes(data[: at + 24] + (1 << 31).to_bytes(4, "little") + data[at + 28 :])
    with pytest.raises(UnsupportedCheckpointError, match="compressed, and claims 2,147,483,648 bytes"):
        checkpoint.load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(UnsupportedCheckpointError, match=r"without `model.weights.h5`; it has `config.json`"):
        checkpoint.load_checkpoint(path)


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_cut_off_is_corrupt(file, tmp_path):
    """Wherever that is."""
    data = (DATA / file).read_bytes()
    for size in range(0, len(data) - 1, len(data) // 16):
        (tmp_path / file).write_bytes(data[:size])
        with pytest.raises((CorruptCheckpointError, UnsupportedCheckpointError)):
            checkpoint.load_checkpoint(tmp_path / file)


def test_a_damaged_heap_of_names_ends(tmp_path):
    """HDF5 itself reads such a one for ever."""
    data = bytearray((DATA / FILES[0]).read_bytes())
    heap = data.index(b"GCOL")
    for at in (*range(heap + 8, heap + 16), *range(heap + 24, heap + 32)):
        damaged = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        (tmp_path / FILES[0]).write_bytes(damaged)
        with pytest.raises(CorruptCheckpointError, match="the heap of names at"):
            checkpoint.load_checkpoint(tmp_path / FILES[0])


def test_it_is_a_checkpoint_as_any_other(tmp_path):
    """Conversions, commands and directories see what they see of other formats."""
    shutil.copy(DATA / FILES[0], tmp_path / "a.weights.h5")
    assert main(["convert", str(tmp_path / "a.weights.h5"), str(tmp_path / "b.safetensors")]) == 0
    assert main(["diff", str(tmp_path / "a.weights.h5"), str(tmp_path / "b.safetensors")]) == 0
    with pytest.raises(MissingCheckpointError):
        checkpoint.load_checkpoint(tmp_path / "c.weights.h5")
    specs = jscope.specs(lambda scope: (scope / "norm").get_variable("0", (4,)))
    found = checkpoint.restore(specs, tmp_path / "a.weights.h5", select="^norm/0$")
    assert isinstance(found["norm"]["0"], jax.Array)
