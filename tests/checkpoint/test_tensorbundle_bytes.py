import contextlib
import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jscope.checkpoint import tensorbundle
from jscope.checkpoint._bundle import _crc32c, _entries, _snappy, _table
from jscope.checkpoint._bundle._crc32c import crc32c, mask, with_numpy
from jscope.checkpoint._bundle._entries import Entry, Index
from jscope.checkpoint._bundle._proto import MalformedError, encode_bytes, encode_integer, encode_varint, varint
from jscope.checkpoint._errors import CorruptCheckpointError

VECTORS = {
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
    b"": 0,
    b"a": 0xC1D04330,
}
"""From RFC 3720, B.4, but for the last two."""


def by_definition(data, value=0):
    """Bit by bit."""
    crc = value ^ 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("data", VECTORS)
def test_checksums_of_the_standard(data):
    """Whichever way they are computed."""
    assert crc32c(data) == with_numpy(data) == by_definition(data) == VECTORS[data]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 5680, 5681, 5682, 45476, 45477, 60001])
def test_checksums_of_all_sizes(size):
    """Around the sizes where folding begins, in one piece or two."""
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    whole = by_definition(data)
    assert with_numpy(data) == crc32c(data) == whole
    assert with_numpy(data[size // 3 :], with_numpy(data[: size // 3])) == whole


@pytest.mark.parametrize("extra", [-5, -4, -3, -1, 0, 1, 4, 100])
def test_checksums_of_large_data(extra):
    """Several blocks, and around their ends: as in pieces that fit one block."""
    data = np.random.default_rng(0).integers(0, 256, 2 * _crc32c._BLOCK + extra, np.uint8)
    value = 0
    for start in range(0, len(data), 50_000):
        value = with_numpy(data[start : start + 50_000], value)
    assert with_numpy(data) == crc32c(data) == value


def test_the_polynomial_divides_what_folding_adds():
    """The remainder of x^5685 + x^1362 + x^426 + 1 is 0."""
    remainder = sum(1 << degree for degree in (*_crc32c._DEGREES, 0))
    while remainder.bit_length() > 32:
        remainder ^= 0x11EDC6F41 << remainder.bit_length() - 33
    assert remainder == 0


def compress(data, piece=7):
    """Compresses with literals and copies of every kind that the format has, far from well."""
    out = bytearray(encode_varint(len(data)))
    for at in range(0, len(data), piece):
        part = data[at : at + piece]
        found = data.rfind(part, 0, at) if len(part) >= 4 else -1
        back, size = at - found, len(part)
        if found < 0:
            out += literal(part)
        elif back < 2048 and size <= 11:
            out += bytes([back >> 8 << 5 | size - 4 << 2 | 1, back & 255])
        elif back < 65536:
            out += bytes([size - 1 << 2 | 2]) + back.to_bytes(2, "little")
        else:
            out += bytes([size - 1 << 2 | 3]) + back.to_bytes(4, "little")
    return bytes(out)


def literal(part):
    if len(part) <= 60:
        return bytes([len(part) - 1 << 2]) + part
    more = (len(part) - 1).to_bytes(((len(part) - 1).bit_length() + 7) // 8, "little")
    return bytes([59 + len(more) << 2]) + more + part


@given(st.lists(st.sampled_from([b"abcdefg", b"hijklmn", b"\0" * 7, b"opqrstuvwxyz"])), st.integers(1, 60))
def test_snappy_inverts_compression(words, piece):
    """Of anything."""
    data = b"".join(words)
    assert _snappy.decompress(compress(data, piece)) == data


@pytest.mark.parametrize("size", [60, 61, 256, 257, 70_000])
def test_snappy_literals(size):
    """Their size takes none to three bytes more."""
    data = np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes()
    assert _snappy.decompress(encode_varint(size) + literal(data)) == data


def test_snappy_copies_from_afar():
    """Distances of one, two and four bytes."""
    data = b"0123456" + bytes(7 * 200) + b"0123456" + bytes(7 * 10_000) + b"0123456"
    assert _snappy.decompress(compress(data)) == data


@given(st.binary(max_size=40))
def test_snappy_of_anything_ends(data):
    """In bytes or in the one error, and never in more memory than there is input for."""
    with contextlib.suppress(MalformedError):
        assert len(_snappy.decompress(data)) <= 32 * len(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encode_varint(1 << 40) + b"\0a", "claim to hold 1099511627776"),
        (b"\x05\x10abc", "a literal of snappy runs over the end"),
        (b"\x08\x00a\x01\x05", "reaches before the beginning"),
        (b"\x08\x00a\x01\x00", "reaches before the beginning"),
        (b"\x02\x00a", "holds other than the 2 bytes"),
        (b"\x01\x04ab", "holds other than the 1 bytes"),
        (b"", "a number does not end"),
    ],
)
def test_snappy_says_what_is_wrong(data, message):
    """Sizes, literals, copies."""
    with pytest.raises(MalformedError, match=message):
        _snappy.decompress(data)


@given(st.dictionaries(st.binary(min_size=1, max_size=30), st.binary(max_size=30)))
def test_a_table_is_read_as_it_was_written(items):
    """In the order of its keys."""
    assert dict(_table.decode_table(_table.encode_table(sorted(items.items())))) == items


def test_a_table_of_many_blocks():
    """As many as it takes."""
    items = [(f"key/{i:07}".encode(), b"value" * 3) for i in range(20_000)]
    assert list(_table.decode_table(_table.encode_table(items))) == items


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_of_variable_length(number):
    """Negative ones, too, which take ten bytes."""
    assert varint(encode_varint(number), 0)[0] == number % 2**64


def test_a_number_that_does_not_end():
    """Or has more than 64 bits."""
    for data in (b"", b"\x80", b"\x80" * 10 + b"\x01", b"\xff" * 9 + b"\x02"):
        with pytest.raises(MalformedError, match="does not end"):
            varint(data, 0)


def test_keys_of_slices_sort_as_slices_do():
    """By name, rank, and then start and length of each axis."""
    numbers = [-(2**63), -8193, -8192, -65, -64, -1, 0, 1, 63, 64, 8191, 8192, 2**20, 2**62, 2**63 - 1]
    keys = [_entries.slice_key("w", (pair,)) for pair in itertools.product(numbers, numbers)]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    names = ["a", "a\0", "a\0b", "a/b", "b", "ab" * 300]
    keys = [_entries.slice_key(name, ((0, -1),)) for name in sorted(names)]
    assert keys == sorted(keys)


def compressed(table):
    """The same table, its blocks compressed by snappy."""
    out = bytearray()

    def append(block):
        handle = encode_varint(len(out)) + encode_varint(len(block))
        out.extend(block + b"\1" + mask(crc32c(block + b"\1")).to_bytes(4, "little"))
        return handle

    handle = append(compress(_table._encoded_block(list(_table.decode_table(table)), 16)))
    index = append(compress(_table._encoded_block([(b"\xff", handle)], 1)))
    return bytes(out) + (handle + index).ljust(40, b"\0") + _table.MAGIC


def test_compressed_indices(tmp_path):
    """Which TensorFlow reads but does not write."""
    tensorbundle.save(tmp_path / "m", {"layer/w": np.arange(3), "layer/b": np.arange(4)})
    index = tmp_path / "m.index"
    index.write_bytes(compressed(index.read_bytes()))
    assert tensorbundle.open(tmp_path / "m").get_tensor("layer/b").tolist() == [0, 1, 2, 3]


BIG = {
    "int": np.array([1, -2, 2**40], ">i8"),
    "float": np.array([[1.5, -2.25]], ">f4"),
    "complex": np.array([1 + 2j], ">c16"),
    "byte": np.array([1, 255], np.uint8),
    "bool": np.array([True, False]),
}


def big_endian(prefix):
    """Writes what a big-endian machine would: the table is the same, what is in the data file is not."""
    data, entries = b"", {}
    for i, (name, array) in enumerate(BIG.items()):
        number = {"int": 9, "float": 1, "complex": 18, "byte": 4, "bool": 10}[name]
        raw = array.tobytes()
        entries[name] = Entry(number, array.shape, 0, len(data), len(raw), mask(crc32c(raw)))
        data += raw + b"x" * i  # So that what follows lies at odd places.
    lengths = (3).to_bytes(4, "big")
    stored = mask(crc32c(lengths)).to_bytes(4, "big")
    raw = b"\x03" + stored + b"abc"
    entries["string"] = Entry(7, (), 0, len(data), len(raw), mask(crc32c(lengths + stored + b"abc")))
    (prefix.parent / f"{prefix.name}.data-00000-of-00001").write_bytes(data + raw)
    items = dict(_table.decode_table(Index(entries, {}).encode()))
    items[b""] = encode_integer(1, 1) + encode_integer(2, 1) + encode_bytes(3, encode_integer(1, 1))
    (prefix.parent / f"{prefix.name}.index").write_bytes(_table.encode_table(items.items()))


def test_big_endian_checkpoints(tmp_path):
    """They are read into the order of this machine, wherever their arrays lie."""
    big_endian(tmp_path / "m")
    reader = tensorbundle.open(tmp_path / "m")
    for name, array in BIG.items():
        found = reader.get_tensor(name)
        assert found.tolist() == array.tolist()
        assert found.dtype.isnative
        assert found.flags.aligned
    assert reader.get_tensor("string").item() == b"abc"


def index_of(**entries):
    return Index(entries, {}).encode()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b"", "it has 0 bytes"),
        (b"\0" * 100, "its last bytes are not those of an index"),
        (_table.encode_table([]), "a table, but not of a checkpoint"),
        (_table.encode_table([(b"", b"")]), "it names 0 data files"),
        (_table.encode_table([(b"", encode_integer(1, 1 << 30))]), "it names 1073741824 data files"),
        (
            _table.encode_table([(b"", encode_integer(1, 1) + encode_bytes(3, encode_integer(2, 9)))]),
            "reader of version 9",
        ),
        (_table.encode_table([(b"", encode_integer(1, 1)), (b"\xff", b"")]), r"the name b'\xff' is not UTF-8"),
        (_table.encode_table([(b"", encode_integer(1, 1)), (b"w", b"\x0b")]), "a field is of the unknown kind 3"),
        (_table.encode_table([(b"", encode_integer(1, 1)), (b"w", b"\x08")]), "a number does not end"),
        (_table.encode_table([(b"", encode_integer(1, 1)), (b"w", b"\x12\x09")]), "a field runs over the end"),
        (_table.encode_table([(b"", encode_integer(1, 1)), (b"w", b"\x10\x01")]), "holds a number in place of bytes"),
        (_table.encode_table([(b"", encode_integer(1, 1)), (b"w", b"\x0a\x00")]), "holds bytes in place of a number"),
        (_table.encode_table([(b"b", b""), (b"a", b"")]), "it is a table, but not of a checkpoint"),
        (_table.encode_table([(b"", encode_integer(1, 1)), (b"b", b""), (b"a", b"")]), "its keys are not in order"),
        (
            index_of(w=Entry(1, (1 << 50,), 0, 0, 1 << 52)),
            "it has 4503599627370496 bytes at 0 of `m.data-00000-of-00001`, which has only 64",
        ),
        (index_of(w=Entry(1, (1 << 61, 0))), "`w`: it claims the shape [2305843009213693952, 0]"),
        (index_of(w=Entry(1, (-1,))), "claims the shape [-1]"),
        (index_of(w=Entry(1, (1,) * 65, 0, 0, 4)), "claims the shape"),
        (index_of(w=Entry(1, (2,), 0, 0, 7)), "`w`: float32[2] claims 7 bytes"),
        (index_of(w=Entry(7, (1 << 40,), 0, 0, 7)), "`w`: 1099511627776 strings claim 7 bytes"),
        (index_of(w=Entry(1, (2,), 1, 0, 8)), "claims 8 bytes at 0 of data file 1"),
        (index_of(w=Entry(1, (2,), 0, -1, 8)), "claims 8 bytes at -1"),
    ],
)
def test_what_an_index_may_not_say(tmp_path, index, message):
    """Each is told before anything is allocated, with the name of the file or of the variable."""
    (tmp_path / "m.index").write_bytes(index)
    (tmp_path / "m.data-00000-of-00001").write_bytes(b"\0" * 64)
    with pytest.raises(CorruptCheckpointError, match=re.escape(message)) as caught:
        tensorbundle.open(tmp_path / "m").get_tensor("w")
    assert str(tmp_path / "m") in str(caught.value)
