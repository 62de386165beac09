"""Conversions: what a table makes of arrays is what its patterns say, and comes back."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings

from jscope import checkpoint
from jscope.checkpoint import Conversion, Rule, safetensors
from tests.checkpoint.tables import conversions


def equal(found, expected):
    """Asserts that names, shapes, dtypes and bytes are those expected."""
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        value = np.asarray(found[name])
        assert (value.dtype, value.shape) == (array.dtype, array.shape), name
        assert value.tobytes() == array.tobytes(), name


def check_in_memory(case):
    """A random table makes what it must of arrays, and its inverse takes that back."""
    conversion, theirs, ours = case
    equal(conversion.arrays(theirs), ours)
    equal(conversion.inverse.arrays(ours), theirs)
    assert conversion.inverse.inverse == conversion
    assert Conversion.from_toml(conversion.to_toml()) == conversion
    equal(conversion.then(conversion.inverse).arrays(theirs), theirs)


@settings(max_examples=100)
@given(conversions())
def test_random_tables_are_taken_back(case):
    """In memory; against arrays that are cut and transposed by NumPy."""
    check_in_memory(case)


@pytest.mark.slow
@settings(max_examples=3000)
@given(conversions(rules=2))
def test_many_random_tables_are_taken_back(case):
    """The same, of more tables."""
    check_in_memory(case)


@settings(max_examples=60)
@given(conversions(rules=1))
def test_regions_are_those_of_the_whole(case):
    """What is read of one region of an array is that region of what is read of all, in both directions."""
    conversion, theirs, ours = case
    for each, source in ((conversion, theirs), (conversion.inverse, ours)):
        whole = each.arrays(source)
        for name, blocks in each.blocks(source, {})[0].items():
            random = np.random.default_rng(0)
            for _ in range(3):
                ranges = [sorted(random.integers(0, size + 1, 2)) for size in blocks.shape]
                index = tuple(slice(*map(int, pair)) for pair in ranges)
                found = blocks.read([(each.start, each.stop) for each in index])
                np.testing.assert_array_equal(found, whole[name][index])


def check_traced(case):
    """Arrays of JAX become what arrays of NumPy do, also under `jit`."""
    conversion, theirs, ours = case
    if all(array.dtype != np.complex64 for array in theirs.values()):
        back = jax.jit(conversion.inverse.arrays)(jax.jit(conversion.arrays)(theirs))
        equal(conversion.arrays(jax.device_put(theirs)), ours)
        equal(back, theirs)


@settings(max_examples=5)
@given(conversions(rules=1))
def test_traced_tables_do_the_same(case):
    """Arrays of JAX."""
    check_traced(case)


@pytest.mark.slow
@settings(max_examples=40)
@given(conversions(rules=1))
def test_more_traced_tables_do_the_same(case):
    """The same, of more tables."""
    check_traced(case)


PARTS = ("query", "key", "value")


def by_head(y, h, k):
    """GPT-NeoX and BLOOM: the query, key and value of one head beside each other."""
    y = y.reshape(h, 3, k)
    return y[:, 0], y[:, 1], y[:, 2]


def multi_query(y, h, k):
    """Falcon-7B: all queries, and then one key and one value for all heads."""
    y = y.reshape(h + 2, k)
    return y[:h], y[h:-1], y[-1:]


def by_group(y, h, k, g=4):
    """Falcon-40B: the queries of some heads, with the key and the value that these share."""
    y = y.reshape(g, h // g + 2, k)
    return y[:, :-2].reshape(h, k), y[:, -2], y[:, -1]


FUSED = {
    "gpt-neox": (by_head, 8, 8, 8, "(h part k)", "h k", {"h": 8}),
    "gpt-neox, heads not apart": (by_head, 8, 8, 8, "(h part k)", "(h k)", {"h": 8, "k": 8}),
    "bloom": (by_head, 16, 4, 16, "(h part k)", "h k", {"k": 4}),
    "falcon-7b": (multi_query, 12, 8, 1, "(part h k)", "h k", {"h": {"query": 12, "key": 1, "value": 1}}),
    "falcon-40b": (by_group, 16, 8, 4, "(g part n k)", "(g n) k", {"g": 4, "n": {"query": 4, "key": 1, "value": 1}}),
}
"""How each takes its outputs apart, how many heads there are, how wide, of keys; and the pattern that says the same."""


@pytest.mark.parametrize("name", FUSED)
def test_query_key_and_value_of_one_head_may_lie_beside_each_other(name, tmp_path):
    """A matrix of all, of sizes by formula, is split as the model that has it splits its outputs; and taken back."""
    split, h, k, g, axes, ours, where = FUSED[name]
    random, where = np.random.default_rng(0), {"part": list(PARTS)} | where
    weight, bias = (random.standard_normal(((h + 2 * g) * k, *more)) for more in ((h * k,), ()))
    theirs = {
        f"h.{i}.query_key_value.{leaf}": x + i for i in range(2) for leaf, x in (("weight", weight), ("bias", bias))
    }
    table = Conversion(
        [
            Rule("layers/{part}/kernel", "h.{i}.query_key_value.weight", f"{axes} d -> i d {ours}", where=where),
            Rule("layers/{part}/bias", "h.{i}.query_key_value.bias", f"{axes} -> i {ours}", where=where),
        ]
    )
    found, x = table.arrays(theirs), random.standard_normal(h * k)
    for i in range(2):
        expected = split((weight + i) @ x + bias + i, h, k)
        for part, each in zip(PARTS, expected, strict=True):
            kernel, bias_of = (found[f"layers/{part}/{leaf}"][i] for leaf in ("kernel", "bias"))
            np.testing.assert_allclose(np.tensordot(x, kernel, 1) + bias_of, each.reshape(bias_of.shape), rtol=1e-9)
    check_in_memory((table, theirs, found))
    safetensors.save(tmp_path / "x.safetensors", found, conversion=table.inverse)
    equal({each: checkpoint.load_variable(tmp_path / "x.safetensors", each) for each in theirs}, theirs)
