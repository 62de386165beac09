"""safetensors files: everything comes back as it was, here and in the library of that name."""

from __future__ import annotations

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import jscope
from jscope import checkpoint, errors
from jscope.checkpoint import safetensors as st
from jscope.checkpoint._safetensors import _dtypes, _header

DTYPES = [*_dtypes.CODES.values(), *_dtypes.VIEWS]
SHAPES = [(), (0, 3), (2, 3), (64, 5)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def bits(array):
    """What an array is, in its own order of indices."""
    host = np.asarray(array)
    native = host.astype(host.dtype.newbyteorder("="), order="C")
    return native.dtype, native.shape, native.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape_comes_back(path, dtype):
    """Those of the format, and those stored as another; scalars and arrays without elements, too."""
    values = {f"s{len(shape)}_{sum(shape)}": np.arange(np.prod(shape, dtype=int)) % 2 for shape in SHAPES}
    tree = {n: v.reshape(s).astype(dtype) for (n, v), s in zip(values.items(), SHAPES, strict=True)}
    st.save(path, tree)
    back = st.load(path)
    assert list(back) == list(tree)
    assert all(bits(back[name]) == bits(tree[name]) for name in tree)
    assert st.open(path).get_variable_to_dtype_map() == {name: np.dtype(dtype) for name in tree}


LAYOUTS = {
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "strided": np.arange(48.0).reshape(6, 8)[::2, 1::3],
    "reversed": np.arange(5)[::-1],
    "transposed": np.arange(24, dtype=np.int8).reshape(2, 3, 4).transpose(2, 0, 1),
    "broadcast": np.broadcast_to(np.float32(2), (3, 4)),
    "big-endian": np.arange(4, dtype=">f4"),
    "jax": jnp.arange(6.0).reshape(2, 3).T,
    "sharded": jax.device_put(
        jnp.arange(16.0).reshape(8, 2), jax.NamedSharding(jax.make_mesh((8,), ("d",)), jax.P("d"))
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_are_stored_whatever_the_strides(path, layout):
    """The library stores the buffer as it lies; here the values count, for the library as well."""
    st.save(path, {"x": LAYOUTS[layout]})
    np.testing.assert_array_equal(st.load(path)["x"], LAYOUTS[layout])
    np.testing.assert_array_equal(safetensors.numpy.load_file(path)["x"], LAYOUTS[layout])


def test_what_is_no_array_comes_back_as_it_was(path):
    """Random keys of every kind, Python numbers, NumPy's; None and empty containers have no leaves."""
    keys = {impl: jax.random.key(3, impl=impl) for impl in ("threefry2x32", "rbg", "unsafe_rbg")}
    tree = {"key": keys, "many": jax.random.split(keys["rbg"], 2), "i": 3, "f": 0.5, "t": True, "c": 1 + 2j}
    st.save(path, tree | {"none": None, "empty": {}, "scalar": np.float16(2), "list": [1, (2.5,)]})
    back = st.load(path)
    for impl, key in keys.items():
        assert back["key"][impl].dtype == key.dtype
    np.testing.assert_array_equal(jax.random.key_data(back["many"]), jax.random.key_data(tree["many"]))
    assert {name: (type(back[name]), back[name]) for name in "iftc"} == {n: (type(tree[n]), tree[n]) for n in "iftc"}
    assert (back["scalar"].dtype, back["scalar"].shape, back["list"]) == (np.float16, (), {"0": 1, "1": {"0": 2.5}})
    assert back.keys() == tree.keys() | {"scalar", "list"}


def test_an_empty_tree_is_a_file(path):
    """A state that has nothing is saved and loaded like any other."""
    st.save(path, {})
    assert st.load(path) == {}
    assert safetensors.numpy.load_file(path) == {}


def test_the_library_reads_what_is_written_here(path):
    """Names, values and metadata; what it has no dtype for, as bytes."""
    tree = {"enc": {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, "half": np.ones(2, np.float16)}
    st.save(path, tree | {"four": np.ones(3, "int4")}, metadata={"license": "CC0"})
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata()["license"] == "CC0"
        chex.assert_trees_all_equal(file.get_tensor("enc/w"), tree["enc"]["w"])
        assert file.get_tensor("four").dtype == np.uint8


def test_files_of_the_library_are_read_here(path):
    """Their metadata as well. They have no digests."""
    arrays = {"a.w": np.arange(6.0).reshape(2, 3), "a.b": np.zeros(0, np.int8), "t": np.array(3)}
    safetensors.numpy.save_file(arrays, path, metadata={"format": "np"})
    reader = st.open(path)
    assert dict(reader.metadata) == {"format": "np"}
    assert isinstance(reader, checkpoint.Reader)
    chex.assert_trees_all_equal(st.load(path, rename={r"\.": "/"}), jscope.tree.unflatten(renamed(arrays)))


def renamed(arrays):
    return {name.replace(".", "/"): array for name, array in arrays.items()}


def test_names_of_hugging_face_become_paths(path):
    """By `rename`; `select` sees the new names, and what it leaves out is not read."""
    arrays = {f"model.layers.{i}.{n}.weight": np.full(2, i, np.float32) for i in range(2) for n in ("q", "k")}
    safetensors.numpy.save_file(arrays, path)
    tree = st.load(path, rename={r"\.": "/", "^model/": "", "/weight$": ""}, select="^layers/1/")
    assert set(jscope.tree.names(tree)) == {"layers/1/q", "layers/1/k"}
    assert tree["layers"]["1"]["q"].tolist() == [1, 1]


def test_only_what_is_selected_is_read(path, monkeypatch):
    """The digests of the others are not even computed."""
    st.save(path, {"a": np.ones(3), "b": np.zeros(3)})
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1  # The last byte of `b`.
    path.write_bytes(raw)
    assert st.load(path, select="^a$")["a"].tolist() == [1, 1, 1]
    with pytest.raises(checkpoint.CorruptCheckpointError, match=r"`b` in .* is corrupt"):
        st.load(path)
    with pytest.raises(errors.MissingVariableError, match=r"`\^c` in `select=` does not match any name"):
        st.load(path, select="^c")
    assert st.load(path, select=lambda name: False) == {}
    assert st.load(path, verify=False)["b"].shape == (3,)


def test_jax_uses_large_arrays_where_they_lie(path):
    """On CPU, `jax.device_put` makes no copy of an array of whole cache lines, whatever lies before it."""
    tree = {"odd": np.ones(3, np.int8), "w": np.arange(1024, dtype=np.float32), "v": np.ones((16, 16), np.float16)}
    st.save(path, tree)
    reader = st.open(path)
    for name in ("w", "v"):
        view = reader.get_tensor(name)
        assert not view.flags.writeable
        array = jax.device_put(view)
        assert array.unsafe_buffer_pointer() == view.ctypes.data
    assert _header_length(path) % 64 == 0


def _header_length(path):
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def test_donating_what_lies_in_a_file_leaves_the_file_alone(path):
    """A program that overwrites its arguments gets a copy."""
    st.save(path, {"w": np.arange(1024, dtype=np.float32)})
    before = path.read_bytes()
    array = jax.device_put(st.load(path)["w"])
    out = jax.jit(lambda x: x + 1, donate_argnums=0)(array)
    np.testing.assert_array_equal(out, np.arange(1024) + 1)
    assert path.read_bytes() == before


def test_arrays_outlive_the_reader_and_the_file(path):
    """`close` and deletion take nothing away from what was read; but a closed reader reads no more."""
    st.save(path, {"w": np.arange(3)})
    with st.open(path) as reader:
        array = reader.get_tensor("w")
    path.unlink()
    assert array.tolist() == [0, 1, 2]
    with pytest.raises(checkpoint.CheckpointError, match="was closed"):
        reader.get_tensor("w")


def test_a_file_is_replaced_whole_or_not_at_all(path):
    """What cannot be saved leaves the old file, and nothing beside it."""
    st.save(path, {"w": np.arange(3)})
    with pytest.raises(checkpoint.UnsupportedCheckpointError, match="`b` cannot be stored as safetensors: it is "):
        st.save(path, {"w": np.zeros(3), "b": np.longdouble(1)})
    assert st.load(path)["w"].tolist() == [0, 1, 2]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    st.save(path, {"w": np.zeros(3)})
    assert st.load(path)["w"].tolist() == [0, 0, 0]


UNSAVABLE = {
    "text": ({"a": {"b": "adam"}}, "`a/b` cannot be saved: it is a `str`"),
    "objects": ({"a": np.array([None])}, "`a` cannot be saved: it is a `ndarray` of dtype object"),
    "dates": ({"a": np.array(["2026-01-01"], "datetime64[D]")}, "`a` cannot be saved: .* datetime64"),
    "abstract": ({"a": [1, jax.ShapeDtypeStruct((2,), "float32")]}, "`a/1` cannot be saved: .* has no value"),
    "huge numbers": ({"a": 1 << 70}, "`a` cannot be saved: it is a `int`"),
    "the format's own name": ({"__metadata__": 1}, "`__metadata__` cannot be stored"),
}


@pytest.mark.parametrize("case", UNSAVABLE)
def test_what_cannot_be_saved_is_named(path, case):
    """The message has the name of the leaf, and what it is."""
    tree, match = UNSAVABLE[case]
    with pytest.raises(checkpoint.UnsupportedCheckpointError, match=match):
        st.save(path, tree)
    assert not path.exists()


def test_saving_inside_jit_is_an_error(path):
    """A traced array has no value to be saved."""
    with pytest.raises(checkpoint.UnsupportedCheckpointError, match=r"`w` cannot be saved: .* `jax.jit`"):
        jax.jit(lambda w: st.save(path, {"w": w}))(1.0)


CLASHES = {
    "flat and nested": ({"a/b": 1, "a": {"b": 2}}, errors.NameConflictError, "Two leaves have the name `a/b`"),
    "a list and a name": ({"a": [1], "a/0": 2}, errors.NameConflictError, "Two leaves have the name `a/0`"),
    "leaf and prefix": ({"a": 1, "a/b": 2}, errors.NameConflictError, "`a` is a leaf, but also a prefix"),
    "nothing": ({"a": {"": 1}}, errors.InvalidNameError, "'a/' is not a name"),
    "a NUL": ({"a\0b": 1}, errors.InvalidNameError, "is not a name"),
    "absolute": ({"/etc/passwd": 1}, errors.InvalidNameError, "'/etc/passwd' is not a name"),
    "a number and its text": ({"x": {1: 1, "1": 2}}, errors.NameConflictError, "Two leaves have the name `x/1`"),
    "one array": (np.ones(3), errors.InvalidNameError, "'' is not a name"),
}


@pytest.mark.parametrize("case", CLASHES)
def test_names_that_clash_or_are_none_are_refused(path, case):
    """Before anything is written."""
    tree, error, match = CLASHES[case]
    with pytest.raises(error, match=match):
        st.save(path, tree)
    assert not path.exists()


def test_odd_names_are_names(path):
    """They never touch the file system: dots, ten thousand characters, two spellings of one letter, dunders."""
    tree = {"..": {"..": {"x": 1}}, "n" * 10_000: 2, "\u00e9": 3, "e\u0301": 4, "a.b": 5, "a": {"b": 6}, "__x__": 7}
    st.save(path, tree)
    assert st.load(path) == tree
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_metadata_are_strings_and_some_are_taken(path):
    """What is not, or belongs to the file, is an error; what an older file had can be passed on."""
    for metadata in ({"a": 1}, {1: "a"}, {_header.DIGEST: "a"}):
        with pytest.raises(errors.InvalidArgumentError, match=r"[Mm]etadata"):
            st.save(path, {}, metadata=metadata)
    st.save(path, {"a": 1}, metadata={"note": "é\n"})
    kept = st.open(path).metadata
    assert json.loads(kept["jscope.kinds"]) == {"a": "int"}
    st.save(path, {"a": np.ones(1)}, metadata=kept)
    assert dict(st.open(path).metadata) == {"note": "é\n"}


def test_a_reader_names_what_is_near(path):
    """A name that is not there is a `MissingVariableError`; a file that is not there, a `MissingCheckpointError`."""
    st.save(path, {"encoder": {"w": 1}})
    with pytest.raises(errors.MissingVariableError, match=r"no array `encoder/W` in .*Did you mean `encoder/w`\?"):
        st.open(path).get_tensor("encoder/W")
    assert st.open(path).has_tensor("encoder/w")
    for place in (path.parent, path.parent / "none"):
        with pytest.raises(checkpoint.MissingCheckpointError, match="There is no file"):
            st.open(place)


@pytest.fixture(params=["file", "shards"])
def opened(request, tmp_path):
    """What is in a file or in several, and that, opened."""
    tree = {"a": {"w": np.arange(24.0).reshape(6, 4)}, "bits": np.arange(9) % 2 > 0, "s": np.float32(2)}
    name, shard_bytes = ("x.safetensors", None) if request.param == "file" else ("x", 100)
    st.save(tmp_path / name, tree, shard_bytes=shard_bytes)
    return jscope.tree.flatten(tree), st.open(tmp_path / name)


def test_an_open_file_is_a_mapping_by_name(opened):
    """Of names to arrays that stay there: with shapes and dtypes, slices, and whole where NumPy wants them."""
    tree, file = opened
    assert (list(file), len(file), "a/w" in file, "a" in file, 3 in file) == ([*tree], 3, True, False, False)
    for name, each in file.items():
        assert (each.shape, each.dtype, each.ndim, each.size, each.nbytes) == tuple(
            getattr(tree[name], what) for what in ("shape", "dtype", "ndim", "size", "nbytes")
        )
        np.testing.assert_array_equal(np.asarray(each), tree[name])
    for index in (slice(2, 4), (slice(None), 1), (..., slice(None, None, -1)), 3, [0, 5], (2, 3)):
        np.testing.assert_array_equal(file["a/w"][index], tree["a/w"][index])
    assert file["bits"][1:4].tolist() == [True, False, True]
    assert (file["s"][()], len(file["a/w"]), repr(file["a/w"])) == (2, 6, "<StoredArray float64[6, 4]>")
    assert file.get("none") is None
    with pytest.raises(errors.MissingVariableError, match="a/w"):
        file["a/v"]
    with pytest.raises(IndexError, match="out of bounds"):
        file["a/w"][6]


def test_what_an_open_file_gives_is_a_view_or_a_copy_as_asked(opened):
    """A slice is a read-only view of the file; `numpy.array` copies."""
    _, file = opened
    assert not file["a/w"][2:4].flags.writeable
    assert not file["a/w"][2:4].flags.owndata
    assert np.array(file["a/w"]).flags.writeable
    assert np.asarray(file["a/w"], np.float32).dtype == np.float32
    file.close()
    with pytest.raises(errors.JscopeError, match="was closed"):
        file["a/w"][2:4]


def test_a_slice_reads_only_its_bytes(path):
    """What is damaged elsewhere it does not see, since a digest is that of the whole; the whole does."""
    st.save(path, {"w": np.arange(8192.0), "bits": np.zeros(9, bool)})
    data = bytearray(path.read_bytes())
    data[-1], data[-5000] = 2, data[-5000] ^ 1
    path.write_bytes(data)
    file = st.open(path)
    assert file["w"][2:4].tolist() == [2.0, 3.0]
    assert not file["bits"][:8].any()
    with pytest.raises(checkpoint.CorruptCheckpointError, match="bytes other than 0 and 1"):
        file["bits"][7:]
    for name in ("w", "bits"):
        with pytest.raises(checkpoint.CorruptCheckpointError, match="is corrupt"):
            np.asarray(file[name])
