"""Damaged and hostile checkpoints: a named error or the right value, never anything else."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jscope.checkpoint import tensorbundle
from jscope.checkpoint._bundle import _entries, _table
from jscope.checkpoint._bundle._crc32c import crc32c, mask
from jscope.checkpoint._bundle._entries import Entry
from jscope.checkpoint._bundle._proto import encode_bytes, encode_integer
from jscope.checkpoint._errors import CheckpointError, CorruptCheckpointError, MissingCheckpointError

DATA = Path(__file__).parent / "data"


def contents(path):
    """Returns all that can be read, by name; what raises a `CheckpointError` is left out."""
    found = {}
    reader = tensorbundle.open(path)
    for name in reader.get_variable_to_shape_map():
        with contextlib.suppress(CheckpointError):
            value = reader.get_tensor(name)
            found[name] = (value.dtype.name, value.shape, value.tolist())
    return found


WANTED = {folder: contents(DATA / folder) for folder in ("partitioned", "merged", "dtypes", "objects")}
FILES = sorted(path for folder in WANTED for path in (DATA / folder).iterdir())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A copy of all of them, to be damaged and mended."""
    root = tmp_path_factory.mktemp("data")
    for folder in WANTED:
        shutil.copytree(DATA / folder, root / folder)
    return root


@contextlib.contextmanager
def damaged(place, file, content):
    """A folder in which one file has other content, or is not there."""
    path = place / file.relative_to(DATA)
    # A new file: what maps the old one keeps it.
    path.unlink()
    try:
        if content is not None:
            path.write_bytes(content)
        yield path.parent
    finally:
        path.unlink(missing_ok=True)
        shutil.copy(file, path)


def check(place, file, content):
    """The law: what can be read is what was saved, and what cannot be read raises a `CheckpointError`."""
    wanted = WANTED[file.parent.name]
    with damaged(place, file, content) as folder, contextlib.suppress(CheckpointError):
        found = contents(folder)
        assert found.items() <= wanted.items()
        assert file.suffix != ".index" or found == wanted  # No variable is lost unnoticed.


@pytest.mark.parametrize("file", [path for path in FILES if path.parent.name == "merged"], ids=lambda path: path.suffix)
def test_every_bit_counts(place, file):
    """One bit flipped, each bit of each file of a small checkpoint."""
    content = file.read_bytes()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        check(place, file, bytes(flipped))


@given(st.data(), st.sampled_from(FILES))
def test_damage(place, data, file):
    """Bits flipped, bytes cut off, put in, taken out, zeroed, or appended."""
    content = file.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    some = data.draw(st.binary(min_size=1, max_size=20))
    damage = data.draw(
        st.sampled_from(
            [
                content[:at],
                content[:at] + bytes([content[at] ^ some[0]]) + content[at + 1 :],
                content[:at] + some + content[at:],
                content[:at] + content[at + len(some) :],
                (content[:at] + bytes(len(some)) + content[at + len(some) :])[: len(content)],
                content + some,
                some,
                b"",
                None,
            ]
        )
    )
    check(place, file, damage)


@given(st.sampled_from(FILES), st.sampled_from(FILES))
def test_swapped_files(place, file, other):
    """Another file under this name, of this checkpoint or another; but a whole other index is another checkpoint."""
    if other.suffix != ".index" and file.name != "checkpoint":
        check(place, file, other.read_bytes())


def test_the_data_of_another_step(tmp_path):
    """The same variables, other values."""
    for step in (1, 2):
        tensorbundle.save(tmp_path / f"m-{step}", {"w": np.full(5, step, np.float32), "s": np.array([f"step{step}"])})
    (tmp_path / "m-2.data-00000-of-00001").rename(tmp_path / "m-1.data-00000-of-00001")
    reader = tensorbundle.open(tmp_path / "m-1")
    for name in ("w", "s"):
        with pytest.raises(CorruptCheckpointError, match=rf"`{name}` cannot be read .*: its checksum is wrong"):
            reader.get_tensor(name)


@given(st.binary(max_size=300))
@example(b"\\8\\x\\777\\")
def test_a_state_file_of_anything(place, content):
    """Names the checkpoint, another one, or none; whatever it has in it."""
    check(place, DATA / "partitioned/checkpoint", b'model_checkpoint_path: "' + content + b'"\n')
    check(place, DATA / "partitioned/checkpoint", content)


def test_a_state_file_that_names_nothing(tmp_path):
    """The error says what to give in place of the directory."""
    tensorbundle.save(tmp_path / "m", {"w": np.ones(1)})
    (tmp_path / "checkpoint").write_text("")
    with pytest.raises(CorruptCheckpointError, match=r"names no checkpoint.*\n.*It holds `m`\."):
        tensorbundle.open(tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "n"')
    with pytest.raises(MissingCheckpointError, match="There is no TensorFlow checkpoint at"):
        tensorbundle.open(tmp_path)


def message(entry):
    """Encodes an entry with its slices, which the writer never has."""
    out = entry.encode()
    for extents in entry.slices:
        parts = [encode_integer(1, start) + (encode_integer(2, n) if n >= 0 else b"") for start, n in extents]
        out += encode_bytes(7, b"".join(encode_bytes(1, part) for part in parts))
    return out


def hostile(folder, entries, data=b"\0" * 64):
    """Writes a checkpoint that is formally in order, whatever its entries say."""
    header = encode_integer(1, 1) + encode_bytes(3, encode_integer(1, 1))
    items = {b"": header} | {key: message(entry) for key, entry in entries.items()}
    (folder / "m.index").write_bytes(_table.encode_table(sorted(items.items())))
    (folder / "m.data-00000-of-00001").write_bytes(data)
    return folder / "m"


def part(shape, offset=0, dtype=1, size=None):
    size = 4 * int(np.prod(shape)) if size is None else size
    return Entry(dtype, shape, 0, offset, size, mask(crc32c(b"\0" * size)))


SLICED = {
    "fits": ([((0, 2), (0, -1)), ((2, 2), (0, -1))], [(2, 3), (2, 3)], None),
    "missing": ([((0, 2), (0, -1)), ((2, 2), (0, -1))], [(2, 3)], r"its slice \[2:4, :\] is missing"),
    "overlap": ([((0, 2), (0, -1)), ((1, 2), (0, -1))], [(2, 3), (2, 3)], "its slices overlap"),
    "twice": ([((0, 2), (0, -1))] * 2, [(2, 3)] * 2, "its slices overlap"),
    "short": ([((0, 2), (0, -1))], [(2, 3)], r"only 6 of 12 elements were saved under this name"),
    "beyond": ([((0, 2), (0, -1)), ((3, 2), (0, -1))], [(2, 3), (2, 3)], r"its slice \[3:5, :\] reaches beyond it"),
    "negative": ([((-2, 2), (0, -1))], [(2, 3)], r"its slice \[-2:0, :\] reaches beyond it"),
    "shape": ([((0, 2), (0, -1)), ((2, 2), (0, -1))], [(2, 3), (3, 2)], "is of another shape or dtype"),
    "axes": ([((0, 2),), ((2, 2),)], [(2, 3), (2, 3)], "it has 2 axes, and a slice with 1"),
}


@pytest.mark.parametrize("case", SLICED)
def test_slices_cover_the_variable(tmp_path, case):
    """Once each element, no more, no less."""
    slices, shapes, wrong = SLICED[case]
    entries = {b"w": Entry(1, (4, 3), slices=tuple(slices))}
    entries |= {_entries.slice_key("w", extents): part(shape) for extents, shape in zip(slices, shapes, strict=False)}
    prefix = hostile(tmp_path, entries)
    if wrong is None:
        assert tensorbundle.open(prefix).get_tensor("w").tolist() == [[0.0] * 3] * 4
    else:
        with pytest.raises(CheckpointError, match=wrong):
            tensorbundle.open(prefix).get_tensor("w")


def test_slices_that_share_their_bytes(tmp_path):
    """A small file does not become a large array."""
    slices = tuple(((i, 1), (0, -1)) for i in range(1000))
    entries = {_entries.slice_key("w", extents): part((1, 16)) for extents in slices}
    prefix = hostile(tmp_path, entries | {b"w": Entry(1, (1000, 16), slices=slices)})
    with pytest.raises(CorruptCheckpointError, match="its slices claim more bytes than their files have"):
        tensorbundle.open(prefix).get_tensor("w")


NUMBERS = st.one_of(st.integers(-2, 20), st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**50, 2**62]))
ENTRIES = st.builds(
    Entry,
    dtype=st.integers(-1, 130),
    shape=st.lists(NUMBERS, max_size=3).map(tuple),
    shard=st.integers(-1, 1),
    offset=NUMBERS,
    size=NUMBERS,
    crc=st.sampled_from([0, mask(crc32c(b"\0" * 8)), mask(crc32c(b"\0" * 64))]),
    slices=st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3).map(tuple), max_size=2).map(tuple),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@given(ENTRIES, ENTRIES)
def test_entries_of_anything(folder, entry, inner):
    """With right checksums all around: an error, or an array no larger than the file; never petabytes."""
    keys = {_entries.slice_key("w", extents): inner for extents in entry.slices if all(a < 2**63 for a, _ in extents)}
    prefix = hostile(folder, keys | {b"w": entry})
    with contextlib.suppress(CheckpointError):
        assert tensorbundle.open(prefix).get_tensor("w").nbytes <= 64


@pytest.mark.parametrize("number", [11, 20, 21, 101, 999])
def test_dtypes_that_are_refused(tmp_path, number):
    """By name; the others of the checkpoint can be read."""
    prefix = hostile(tmp_path, {b"w": Entry(number), b"v": part((2,))})
    reader = tensorbundle.open(prefix)
    name = {11: "qint8", 20: "resource", 21: "variant", 101: "float32_ref", 999: "dtype number 999"}[number]
    assert reader.get_variable_to_dtype_map()["w"].names == (name,)
    assert reader.get_tensor("v").tolist() == [0, 0]
    with pytest.raises(CheckpointError, match=rf"`w` in `.*` is of TensorFlow's dtype {name}, which"):
        reader.get_tensor("w")
