"""Damaged files: whatever the damage, there is the value that was saved, or an error that names the file."""

from __future__ import annotations

import json
import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given

import jscope
from jscope import checkpoint, errors
from jscope.checkpoint import safetensors as files

TREE = {
    "enc": {"w": np.arange(40, dtype=np.float32).reshape(8, 5), "b": np.ones(3, np.float16)},
    "flags": np.array([True, False]),
    "four": np.arange(6).astype("int4"),
    "pair": np.array([1 + 2j]),
    "none": np.zeros((0, 4)),
    "step": 7,
    "key": np.arange(2, dtype=np.uint32),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file and its bytes; tests write other bytes to the file."""
    path = tmp_path_factory.mktemp("faults") / "model.safetensors"
    files.save(path, TREE, metadata={"note": "original"})
    return path, path.read_bytes()


def load_or_error(path):
    """What a file holds, or the error that names what is wrong with it. Any other error is one of jscope's."""
    try:
        return files.load(path), None
    except (checkpoint.CheckpointError, errors.InvalidNameError, errors.NameConflictError) as error:
        return None, error


def assert_refused_or_right(path, data):
    """Loads a file with these bytes: a checkpoint's error, or what was saved."""
    path.write_bytes(data)
    found, refused = load_or_error(path)
    if refused is not None:
        assert isinstance(refused, checkpoint.CheckpointError)
        assert str(path) in str(refused)
        return False
    assert jscope.tree.names(found) == jscope.tree.names(TREE)
    assert not jscope.tree.diff(found, TREE)
    return True


@given(data=st.data())
def test_a_flipped_bit_is_never_a_wrong_value(saved, data):
    """Wherever it is: the length of the header, the header, the padding, an array."""
    path, good = saved
    position = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[position // 8] ^= 1 << position % 8
    assert_refused_or_right(path, bad)


def test_every_byte_counts(saved):
    """Each byte, in turn, with all bits flipped; there is not one at which damage gives another value."""
    path, good = saved
    right = [
        i for i in range(len(good)) if assert_refused_or_right(path, good[:i] + bytes([~good[i] & 255]) + good[i + 1 :])
    ]
    assert not right


@given(data=st.data())
def test_a_truncated_or_longer_file_is_refused(saved, data):
    """At any length, and with anything appended."""
    path, good = saved
    length = data.draw(st.integers(0, len(good) - 1))
    assert not assert_refused_or_right(path, good[:length])
    assert not assert_refused_or_right(path, good + data.draw(st.binary(min_size=1, max_size=100)))


@given(data=st.data())
def test_parts_that_were_swapped_or_zeroed_are_refused(saved, data):
    """As after a crash of the machine, or of the disk."""
    path, good = saved
    size = data.draw(st.integers(1, 64))
    a, b = sorted(data.draw(st.lists(st.integers(0, len(good) - size), min_size=2, max_size=2)))
    zeroed = good[:a] + bytes(size) + good[a + size :]
    assert assert_refused_or_right(path, zeroed) == (zeroed == good)
    if a + size <= b:
        swapped = good[:a] + good[b : b + size] + good[a + size : b] + good[a : a + size] + good[b + size :]
        assert assert_refused_or_right(path, swapped) == (swapped == good)


@given(data=st.data())
def test_files_without_digests_are_read_or_refused(tmp_path_factory, data):
    """What other programs wrote and the disk damaged: a value or a named error, never a crash."""
    path = tmp_path_factory.mktemp("foreign") / "x.safetensors"
    good = safetensors.numpy.save({"w": np.arange(4.0), "b": np.array([True, False])})
    bad = bytearray(good)
    for position in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=4)):
        bad[position] = data.draw(st.integers(0, 255))
    path.write_bytes(bad[: data.draw(st.integers(0, len(bad)))])
    load_or_error(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BOOL", "U8", "F4", "?"]) | JSON,
        "shape": st.lists(st.integers(-1, 2**70) | st.booleans(), max_size=70) | JSON,
        "data_offsets": st.lists(st.integers(-9, 2**70), min_size=2, max_size=2) | JSON,
    }
)


@given(header=st.dictionaries(st.text(max_size=5) | st.just("__metadata__"), ENTRY | JSON, max_size=4) | JSON)
@example(header={"x": {"dtype": "U8", "shape": [0, 2**61, 2**61], "data_offsets": [0, 0]}})
@example(header={"x": {"dtype": "U8", "shape": [2**50], "data_offsets": [0, 2**50]}})
@example(header={"__metadata__": {"jscope.digest": ""}})
@example(header={"__metadata__": {"jscope.dtypes": '{"x": []}'}})
def test_no_header_crashes_the_reader(tmp_path_factory, header):
    """Any JSON at all in the place of the header."""
    path = tmp_path_factory.mktemp("header") / "x.safetensors"
    path.write_bytes(with_header(json.dumps(header)))
    load_or_error(path)


def with_header(text, data=b""):
    """A file with this header."""
    return len(text.encode()).to_bytes(8, "little") + text.encode() + data


def row(begin, end, shape=None):
    return {"dtype": "U8", "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


HEADERS = {
    "a header of petabytes": (
        b"\xff" * 6 + b"\0\0{}",
        "its header claims 281,474,976,710,655 bytes, and the file has 10",
    ),
    "a header beyond the limit": ((200_000_000).to_bytes(8, "little") + b" " * 200_000_000, "may have 100,000,000"),
    "an array of petabytes": (with_header(json.dumps({"x": row(0, 2**50)})), "the arrays take 1,125,899,906,842,624"),
    "no bytes": (b"", "has 0 bytes; a safetensors file has at least 8"),
    "no header": (b"\0" * 8, "not that of a safetensors file"),
    "a shape that does not fit": (
        with_header(json.dumps({"x": row(0, 4, [5])}), b"1234"),
        "so 5 bytes, but offsets for 4",
    ),
    "arrays that overlap": (with_header(json.dumps({"x": row(0, 3), "y": row(2, 4)}), b"1234"), "they overlap"),
    "a hole": (with_header(json.dumps({"x": row(0, 1), "y": row(2, 4)}), b"1234"), "they leave a hole"),
    "a name twice": (with_header('{"x": 1, "x": 2}'), "a name is there twice"),
    "a deep header": (with_header("[" * 100_000), "not that of a safetensors file"),
    "a number of many digits": (with_header('{"x": ' + "9" * 10_000 + "}"), "not that of a safetensors file"),
    "true as a size": (
        with_header('{"x": {"dtype": "U8", "shape": [true], "data_offsets": [0, 1]}}', b"1"),
        "has the shape",
    ),
    **{
        f"{shape} as a shape, after [1]": (
            with_header(
                f'{{"w": {json.dumps(row(0, 1))}, "x": {{"dtype": "U8", "shape": {shape}, "data_offsets": [1, 2]}}}}'
            ),
            "`x` has .*the shape",
        )
        for shape in ("[true]", "[1.0]", "[[1]]", "{}", '""', "[NaN]")
    },
    "a dtype that is a list": (with_header(json.dumps({"x": row(0, 1) | {"dtype": []}}), b"1"), "`x` has the dtype"),
    "offsets with a point": (
        with_header('{"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1.0]}}', b"1"),
        "`x` has the offsets",
    ),
    "arrays in another order": (
        with_header(json.dumps({"x": row(2, 4), "y": row(0, 1)}), b"1234"),
        "`x` begins at 2, but `y` ends at 1: they leave a hole",
    ),
    "a bool of two": (with_header(json.dumps({"x": row(0, 1) | {"dtype": "BOOL"}}), b"\2"), "bytes other than 0 and 1"),
    "too many axes": (with_header(json.dumps({"x": row(0, 1, [1] * 65)}), b"1"), "has the shape"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_damage_is_told(tmp_path, case):
    """The message says what contradicts what."""
    data, match = HEADERS[case]
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(checkpoint.CorruptCheckpointError, match=match):
        files.load(path)


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a//b", "a\0b", "", "x" * 10_000, "a/", "."])
def test_names_from_files_stay_names(tmp_path, name):
    """Whatever a file calls its arrays: they can be listed and renamed, and no path is made of them."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(with_header(json.dumps({name: row(0, 1)}), b"1"))
    assert files.open(path).get_tensor(name).tolist() == [ord("1")]
    found, refused = load_or_error(path)
    assert repr(name) in str(refused) if found is None else jscope.tree.flatten(found)[name].tolist() == [ord("1")]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def pickled(path):
    path.write_bytes(pickle.dumps({"w": [1]}))


def numpy_objects(path):
    with path.open("wb") as file:
        np.save(file, np.array([None]), allow_pickle=True)


def archive(path):
    with path.open("wb") as file:
        np.savez(file, w=np.ones(2))


@pytest.mark.parametrize("write", [pickled, numpy_objects, archive])
def test_pickled_content_is_refused(tmp_path, write):
    """By what is in a file, whatever its name is."""
    for name in ("model.safetensors", "model.pkl", "model.pt", "model.npy"):
        write(tmp_path / name)
        with pytest.raises(checkpoint.UnsupportedCheckpointError, match=r"pickle.*run its code.*\n.*safetensors.save"):
            checkpoint.load_checkpoint(tmp_path / name)


def test_unknown_dtypes_are_unsupported(tmp_path):
    """Not corrupt: the file may be in order, but NumPy has no such numbers. The other arrays can be read."""
    path = tmp_path / "x.safetensors"
    rows = {"x": row(0, 1, [2]) | {"dtype": "F4"}, "y": row(1, 4)}
    path.write_bytes(with_header(json.dumps(rows), b"1234"))
    reader = files.open(path)
    assert reader.get_variable_to_shape_map() == {"x": [2], "y": [3]}
    assert reader.get_variable_to_dtype_map()["x"].names == ("F4",)
    with pytest.raises(checkpoint.UnsupportedCheckpointError, match=r"`x` in .* has the dtype F4, which NumPy lacks"):
        files.load(path)
    assert files.load(path, select="y")["y"].tolist() == [ord(c) for c in "234"]
    assert checkpoint.restore({"y": np.zeros(3, np.uint8)}, path, select="y")["y"].tolist() == [50, 51, 52]


POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 12345\n"
)


def test_files_that_git_has_not_fetched_are_told(tmp_path):
    """In place of any file of any format."""
    checkpoint.tensorbundle.save(tmp_path / "m", {"w": np.ones(100)})
    names = ["x.safetensors", "model.safetensors.index.json", "m.data-00000-of-00001", "m.index"]
    for name in names:
        (tmp_path / name).write_bytes(POINTER)
        with pytest.raises(
            checkpoint.UnsupportedCheckpointError, match=rf"{name}` is a Git LFS pointer.*\n.*git lfs pull"
        ):
            checkpoint.load_variable(tmp_path / name, "w")


def test_a_program_that_keeps_our_metadata_is_told(tmp_path):
    """It changed the arrays and kept the digests: not what jscope saved."""
    files.save(tmp_path / "a", {"w": np.ones(2)})
    with safetensors.safe_open(tmp_path / "a", "numpy") as file:
        metadata = file.metadata()
    safetensors.numpy.save_file({"w": np.zeros(3)}, tmp_path / "b", metadata=metadata)
    with pytest.raises(checkpoint.CorruptCheckpointError, match=r"rewrites the file must leave out .*jscope\.digest"):
        files.open(tmp_path / "b")
