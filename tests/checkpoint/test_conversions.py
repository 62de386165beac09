"""Conversions: what a table makes of arrays is what its patterns say, and comes back."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings

from jscope.checkpoint import Conversion
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
