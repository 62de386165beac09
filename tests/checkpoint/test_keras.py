"""Weights of Keras: read as they are named, with nothing followed and nothing believed; written where Keras looks."""

from __future__ import annotations

import io
import shutil
import sys
import time
import zipfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import checkpoint, nn
from jscope.checkpoint import (
    CorruptCheckpointError,
    MissingCheckpointError,
    UnsupportedCheckpointError,
    _blocks,
    tables,
)
from jscope.cli import main
from jscope.errors import InvalidArgumentError, InvalidNameError, MissingVariableError, StructureMismatchError
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


ONE = np.ones(2, np.float32)
SHAPED = {"float32": (2, 3), "bfloat16": (3,), "int64": (), "bool": (2,), "float16": (0, 3), "complex64": (1,)}
NAMES = (
    "0", "1", "hidden/0", "encoder/hidden/0", "encoder/0", "encoder/layers/dense/0", "layers/dense/0",
    "layers/dense_1/0", "layers/lstm/cell/0", "blocks/block_1/layers/0", "blocks/block_1/layers/norm/0",
)  # fmt: skip


def test_what_is_saved_is_read_under_the_same_names(tmp_path):
    """Whatever the dtype, and also in lists, of which others read the names of layers."""
    random = np.random.default_rng(0)
    each = [np.asarray(random.random(shape) * 9).astype(dtype) for dtype, shape in SHAPED.items()] * 2
    arrays = dict(zip(NAMES, each, strict=False)) | {"hidden/1": jnp.ones(3), "hidden/2": np.ones(2, ">f4"), "in/0": 7}
    checkpoint.keras.save(tmp_path / "a.weights.h5", arrays)
    reader = checkpoint.load_checkpoint(tmp_path / "a.weights.h5")
    found = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    chex.assert_trees_all_equal(found, {name: np.asarray(array) for name, array in arrays.items()})
    assert {found[name].dtype for name in NAMES} == {*map(jnp.dtype, SHAPED)}
    with h5py.File(tmp_path / "a.weights.h5") as file:
        assert file["hidden/vars/2"].dtype == np.dtype("=f4")  # JAX, in Keras, has no other order of bytes.


def test_the_same_arrays_make_the_same_file(tmp_path):
    """HDF5 would write into it when each array was made."""
    begin = int(time.time())
    checkpoint.keras.save(tmp_path / "a.weights.h5", {"a": [ONE]})
    written, seconds = (tmp_path / "a.weights.h5").read_bytes(), range(begin, int(time.time()) + 1)
    assert not [each for each in seconds if each.to_bytes(4, "little") in written]


def outline(path):
    """What a file has, but for the values: arrays by place, and the names of layers."""
    found = {}
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            path = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(path) as file:
        file.visititems(lambda place, item: found.update({place: (getattr(item, "shape", ""), dict(item.attrs))}))
    return found


@pytest.mark.parametrize("file", FILES)
def test_what_is_like_a_file_has_its_places(file, tmp_path):
    """And other values, by the names that the file is read by."""
    values = {name: np.full(shape, 3, np.float32) for name, shape in checkpoint.list_variables(DATA / file)}
    checkpoint.keras.save(tmp_path / "a.weights.h5", values, like=DATA / file)
    assert outline(tmp_path / "a.weights.h5") == outline(DATA / file)
    reader = checkpoint.load_checkpoint(tmp_path / "a.weights.h5")
    chex.assert_trees_all_equal({name: reader.get_tensor(name) for name in values}, values)


def test_what_belongs_to_the_training_is_left_out_of_what_is_like_a_file(tmp_path):
    """Also layers that only groups tell apart are where they were, and an attribute is not called by its layer."""
    with h5py.File(tmp_path / "like.weights.h5", "w") as file:
        for group in ("layers/dense", "layers/dense_1", "optimizer", "norm"):
            file[f"{group}/vars/0"] = np.ones(2)
            file[f"{group}/vars"].attrs["name"] = "same"
        file.create_group("vars").attrs["name"] = "model"
    values = {f"{group}/vars/0": np.zeros(2) for group in ("layers/dense", "layers/dense_1", "norm")}
    checkpoint.keras.save(tmp_path / "a.weights.h5", values, like=tmp_path / "like.weights.h5")
    expected = outline(tmp_path / "like.weights.h5")
    assert outline(tmp_path / "a.weights.h5") == {
        place: each for place, each in expected.items() if "optimizer" not in place
    }
    assert sorted(name for name, _ in checkpoint.list_variables(tmp_path / "a.weights.h5")) == sorted(values)


def layers_of(scope, x):
    return jscope.layers(lambda scope, x: nn.dense(scope / "dense", x, 32), 3)(scope / "blocks", x)


def test_layers_that_are_stacked_are_counted_there(tmp_path, monkeypatch):
    """Each is read from the stack while it is written, in blocks; an index is written as the caller says."""
    monkeypatch.setattr(_blocks, "_LIMIT", 1000)
    specs = jscope.specs(layers_of, jnp.ones((1, 32)))
    params = specs.map(lambda spec: np.random.default_rng(0).random(spec.shape, np.float32))
    table = tables.keras(specs, names={"blocks": "blocks/block{i:_}"})
    checkpoint.keras.save(tmp_path / "a.weights.h5", params, conversion=table.inverse)
    names = [name for name, _ in checkpoint.list_variables(tmp_path / "a.weights.h5")]
    assert names == [f"blocks/block{each}/dense/{n}" for each in ("", "_1", "_2") for n in range(2)]
    assert not jscope.tree.diff(checkpoint.restore(specs, tmp_path / "a.weights.h5", conversion=table), params)


REFUSED = [
    ({"hidden": {"kernel": ONE}}, r"`hidden/kernel` .* must end in the position .*\n.*tables.keras\(specs\).inverse"),
    ({"hidden": {"0": ONE, "2": ONE}}, r"`hidden/2` .* positions count from 0, and its layer has 2"),
    ({"hidden": {"00": ONE}}, r"`hidden/00` .* must end in the position"),
    ({"hidden": {"9" * 30: ONE}}, r"`hidden/9{30}` .* must end in the position"),
    ({"blocks": [[ONE]]}, r"`blocks/0/0` .* `0` is neither a public attribute nor a class"),
    ({"a.b": [ONE]}, r"`a.b/0` .* `a.b` is neither"),
    ({"..": [ONE]}, r"`../0` .* `..` is neither"),
    ({"_private": [ONE]}, r"`_private/0` .* `_private` is neither"),
    ({"vars": [ONE]}, r"`vars/0` .* `vars` is where Keras has something else"),
    ({"optimizer": [ONE]}, r"`optimizer/0` .* `optimizer` is where Keras has something else"),
    ({"a": [jax.random.key(0)]}, r"`a/0` is a random key, which Keras's weights cannot hold"),
    ({"a": [jnp.ones(2, "int4")]}, r"`a/0` is int4\[2\], which Keras's weights cannot hold"),
    ({"a": [jnp.ones(2, "float8_e5m2")]}, r"`a/0` is float8_e5m2\[2\], which Keras's weights cannot hold"),
    ({"a": ["text"]}, r"`a/0` cannot be saved: it is a `str`"),
]


@pytest.mark.parametrize(("tree", "message"), REFUSED)
def test_what_keras_cannot_have_is_refused_by_name(tree, message, tmp_path):
    """And the old file stays."""
    path = tmp_path / "a.weights.h5"
    path.write_text("old")
    with pytest.raises((InvalidNameError, UnsupportedCheckpointError), match=f"(?s)^{message}"):
        checkpoint.keras.save(path, tree)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_what_is_not_like_the_file_is_one_report(tmp_path):
    """Names, shapes and dtypes; before anything is written."""
    path, like = tmp_path / "a.weights.h5", DATA / FILES[0]
    values = {name: np.ones(shape, np.float32) for name, shape in checkpoint.list_variables(like)}
    values |= {"norm/0": np.ones(7, np.float32), "norm/1": values["norm/1"].astype("float16"), "more/0": ONE}
    del values["norm/2"]
    with pytest.raises(StructureMismatchError) as caught:
        checkpoint.keras.save(path, values, like=like)
    assert str(caught.value).splitlines() == [
        f"The arrays are not those of `{like}`:",
        "  missing:    `norm/2` float32[4]",
        "  unexpected: `more/0` float32[2]",
        "  shape:      `norm/0` is float32[7], expected float32[4]",
        "  dtype:      `norm/1` is float16[4], expected float32[4]",
    ]
    with pytest.raises(MissingCheckpointError, match=r"no checkpoint .*other.weights.h5"):
        checkpoint.keras.save(path, values, like=tmp_path / "other.weights.h5")
    checkpoint.safetensors.save(tmp_path / "x.safetensors", values)
    with pytest.raises(UnsupportedCheckpointError, match=r"x.safetensors` is not of Keras. .*model.save_weights"):
        checkpoint.keras.save(path, values, like=tmp_path / "x.safetensors")
    with pytest.raises(InvalidArgumentError, match=r"a.h5` must end in `.weights.h5`"):
        checkpoint.keras.save(tmp_path / "a.h5", values)
    assert [each.name for each in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs `posix_fallocate`")
@pytest.mark.parametrize("arrays", [{"a": [np.ones(1 << 16)]}, {"a": [ONE] * 100}], ids=["values", "names"])
def test_a_full_disk_is_known_before_hdf5_writes(arrays, tmp_path):
    """HDF5 keeps a file that it could not write, and crashes on it later."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(checkpoint.CheckpointWriteError, match=r"File too large.* Make room"):
            checkpoint.keras.save(tmp_path / "a.weights.h5", arrays)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [*tmp_path.iterdir()]


def test_the_command_writes_them(tmp_path, capsys):
    """By the names that a table makes, or like a file."""
    rules, a, b = (tmp_path / name for name in ("rules.toml", "a.safetensors", "b.weights.h5"))
    checkpoint.safetensors.save(a, {"hidden.weight": np.ones((3, 2), np.float32)}, metadata={"license": "CC0"})
    rules.write_text('[[rule]]\nours = "hidden/0"\ntheirs = "hidden.weight"\naxes = "o d -> d o"')
    assert main(["convert", str(a), str(b), "--rules", str(rules)]) == 0
    assert "left out the metadata (license), which Keras's format cannot hold" in capsys.readouterr().err
    assert checkpoint.list_variables(b) == [("hidden/0", [2, 3])]
    like, c = str(DATA / FILES[0]), str(tmp_path / "c.weights.h5")
    assert main(["convert", like, c, "--like", like]) == main(["diff", like, c]) == 0
    assert outline(tmp_path / "c.weights.h5") == outline(DATA / FILES[0])
    assert main(["convert", like, c, "--like", like]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["convert", like, str(a), "--like", like]) == 2
    assert "--like is for weights of Keras, and" in capsys.readouterr().err
    assert main(["convert", str(a), str(tmp_path / "d.weights.h5"), "--like", like]) == 2
    assert "left out" not in capsys.readouterr().err


def test_without_h5py_the_package_is_named(tmp_path, monkeypatch):
    """When it is needed, and not before."""
    monkeypatch.delitem(sys.modules, "jscope.checkpoint._keras", raising=False)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"`pip install jscope\[keras\]` reads and writes them"):
        checkpoint.keras.save(tmp_path / "a.weights.h5", {"a": [ONE]})
    assert not [*tmp_path.iterdir()]
