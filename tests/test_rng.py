"""Laws of the hash that makes keys of names."""

from __future__ import annotations

import hashlib

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import jscope
from jscope import _rng
from tests.models import KEY

UINT32 = st.integers(0, 2**32 - 1)
few = settings(max_examples=25)
traced_mix = jax.jit(_rng.mix)


@few
@given(UINT32, UINT32)
def test_mix_agrees_on_python_ints_numpy_and_traced_integers(lane, part):
    """The mixing function gives one number, whatever kind of integers it is given."""
    python = _rng.mix(lane, part)
    assert type(python) is int
    assert 0 <= python < 2**32
    assert int(traced_mix(np.uint32(lane), np.uint32(part))) == python
    assert _rng.mix(np.array([lane], np.uint32), np.array([part], np.uint32)).tolist() == [python]
    assert int(_rng.mix(jnp.uint32(lane), jnp.uint32(part))) == python


@few
@given(UINT32, UINT32)
def test_mix_keeps_parts_apart(one, other):
    """For each lane, mixing is a bijection of the part: two parts never collide in one step."""
    assert (_rng.mix(7, one) == _rng.mix(7, other)) == (one == other)
    assert (_rng.mix(one, 7) == _rng.mix(other, 7)) == (one == other)


def reference_mix(lane, part):
    """MurmurHash3 (32 bits) as its author wrote it, in plain arithmetic."""

    def rotate(x, r):
        return (x << r | x >> 32 - r) % 2**32

    part = rotate(part * 0xCC9E2D51 % 2**32, 15) * 0x1B873593 % 2**32
    lane = (rotate(lane ^ part, 13) * 5 + 0xE6546B64) % 2**32
    lane = (lane ^ lane >> 16) * 0x85EBCA6B % 2**32
    lane = (lane ^ lane >> 13) * 0xC2B2AE35 % 2**32
    return lane ^ lane >> 16


@few
@given(UINT32, UINT32)
def test_mix_is_the_documented_function(lane, part):
    """Anybody can compute it from the documentation."""
    assert _rng.mix(lane, part) == reference_mix(lane, part)


@few
@given(UINT32)
def test_a_decimal_name_stands_for_its_number(index):
    """The name `"3"` hashes as the loop index 3 does."""
    assert _rng.lanes_of(str(index)) == (index, index)
    assert _rng.extend(_rng.SEED, [str(index)]) == _rng.extend(_rng.SEED, [index])


@pytest.mark.parametrize(
    "name", ["w", "03", "-1", "+1", "1.0", "1_0", "²", "٣", "4294967296", "\N{FULLWIDTH DIGIT ONE}"]
)
def test_any_other_name_is_hashed_whole(name):
    """Only canonical decimals of 32 bits are numbers; other names are blake2b's first 8 bytes, little-endian."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    assert _rng.lanes_of(name) == tuple(np.frombuffer(digest, "<u4").tolist())


def test_a_traced_index_is_a_part_like_any_other():
    """A traced path part gives the lanes of the path written out."""
    layers = _rng.extend(_rng.SEED, ["layers"])
    a, b = jax.jit(lambda i: _rng.extend(layers, [i, "w"]))(jnp.uint32(3))
    assert (int(a), int(b)) == _rng.lanes_of_path("layers/3/w")


def test_a_path_is_hashed_part_by_part():
    """The lanes of a path are those of its prefix, extended; so a prefix can be hashed once."""
    assert _rng.lanes_of_path("") == _rng.SEED
    assert _rng.lanes_of_path("a/b/w") == _rng.extend(_rng.lanes_of_path("a/b"), ["w"])


@given(st.lists(st.lists(st.text("ab/0", max_size=3) | st.integers(0, 2**32 - 1), max_size=4), max_size=5))
def test_many_paths_are_hashed_as_one(paths):
    """Whatever their depths, and where indices stand between names."""
    expected = [_rng.extend(_rng.SEED, parts) for parts in paths]
    np.testing.assert_array_equal(_rng.lanes_of_all(paths), np.array(expected, np.uint32).reshape(-1, 2))


def test_no_two_of_100_000_paths_collide():
    """Both lanes together tell them apart (a single lane of 32 bits would not: 69%)."""
    paths = [f"block_{i}/{j}/{name}" for i in range(250) for j in range(100) for name in ("w", "b", "scale", "offset")]
    lanes = {
        _rng.extend(_rng.extend(_rng.SEED, [block]), [j, name]) for block, j, name in (p.split("/") for p in paths)
    }
    assert len(paths) == len(lanes) == 100_000


def test_parts_and_their_order_matter():
    """Paths that differ in where they are cut, or in their order, differ."""
    paths = ["a/b", "b/a", "ab", "a/b/", "a", "b", "0/1", "1/0", "01", "10", "1", "0", "a/0", "0/a"]
    lanes = {_rng.extend(_rng.SEED, path.split("/")) for path in paths}
    assert len(lanes) == len(paths)


def test_the_version_is_mixed_in():
    """Another version of the scheme starts from another seed."""
    assert [seed - _rng.VERSION for seed in _rng.SEED] == [0x6A73636F, 0x70652D68]


def test_a_variable_is_drawn_with_the_key_of_its_path():
    """Its key is `fold_in(fold_in(root, h0), h1)`."""
    a, b = (np.uint32(lane) for lane in _rng.lanes_of_path("enc/w"))
    key = jax.random.fold_in(jax.random.fold_in(KEY(7), a), b)

    def bits(key, shape, dtype):
        return jax.random.bits(key, shape, dtype)

    params = jscope.init(lambda s: (s / "enc").get_variable("w", (3,), jnp.uint32, bits), KEY(7))
    chex.assert_trees_all_equal(params["enc"]["w"], bits(key, (3,), jnp.uint32))


def keys_of(function):
    model = jscope.transform(function).with_rng(KEY(3))
    return [tuple(jax.random.key_data(key).tolist()) for key in jax.tree.leaves(model.apply({}))]


def test_a_scope_gives_fresh_keys():
    """Path, entry, stream and count tell keys apart."""
    keys = keys_of(
        lambda s: [s.rng(), s.rng(), s.rng("x"), (s / "a").rng(), (s / "a").rng(), (s / "a" / "a").rng(), s.rng("1")]
    )
    assert len(set(keys)) == len(keys)


def test_keys_depend_on_nothing_else():
    """Another scope or another stream, asked before, changes no key."""

    def busy(s):
        (s / "b").rng()
        a = s / "a"
        (a / "c").rng()
        a.rng("other")
        return a.rng()

    assert keys_of(busy) == keys_of(lambda s: (s / "a").rng())


def test_no_key_is_that_of_a_variable():
    """`scope.rng` draws from another part of the key space than variables do."""
    key, taken = KEY(3), set()
    for path in ["a", "a/default", "a/0/default/0", "a/rng", ""]:
        taken.add(tuple(jax.random.key_data(_rng.fold(key, _rng.lanes_of_path(path))).tolist()))
    assert taken.isdisjoint(keys_of(lambda s: (s / "a").rng()))


def test_a_scope_entered_anew_repeats_nothing_and_a_value_repeats_itself_across_a_boundary():
    """One scope value gives the same keys to two jitted calls, as a JAX key would; entered anew, others."""

    def model(s):
        ask = jax.jit(lambda s: s.rng())
        a = s / "d"
        return ask(a), ask(a), ask(s / "d")

    first, again, anew = keys_of(model)
    assert first == again != anew


@pytest.mark.parametrize("path", ["", "w", "a/w", "a//w", "/w", "/".join("a" * 5000)])
def test_neither_depth_nor_empty_parts_change_the_hash(path):
    """Every part counts, also where it is empty (TensorFlow's may be), and no path is too deep."""
    assert _rng.lanes_of_path(path) == _rng.extend(_rng.SEED, path.split("/") if path else ())
