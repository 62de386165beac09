"""`jscope._util._threefry`: JAX's own numbers, on the host."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jscope._util import _threefry

WORDS = st.integers(0, 2**32 - 1)


@given(WORDS, WORDS, WORDS)
def test_it_is_jax_random_fold_in(a, b, number):
    """For every key and every number, to the bit."""
    key = jax.random.wrap_key_data(np.uint32([a, b]), impl="threefry2x32")
    expected = jax.random.key_data(jax.random.fold_in(key, np.uint32(number)))
    np.testing.assert_array_equal(_threefry.fold_in(np.uint32([a, b]), np.uint32([number])), [expected])


def test_one_key_takes_many_numbers_and_many_keys_one_each():
    """Row by row."""
    key, numbers = np.uint32([3, 5]), np.arange(5, dtype=np.uint32)
    once = _threefry.fold_in(key, numbers)
    twice = _threefry.fold_in(once, numbers[::-1])
    for row, (number, other) in enumerate(zip(numbers, numbers[::-1], strict=True)):
        np.testing.assert_array_equal(twice[row : row + 1], _threefry.fold_in(once[row], np.uint32([other])))
        np.testing.assert_array_equal(once[row : row + 1], _threefry.fold_in(key, np.uint32([number])))


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("traced", [False, True])
def test_both_numbers_of_a_pair_are_folded(impl, traced):
    """For every generator, under a trace and not."""
    key, pairs = jax.random.key(7, impl=impl), np.uint32([[1, 2], [2, 1], [2**32 - 1, 0]])
    fold = jax.jit(_threefry.fold_all) if traced else _threefry.fold_all
    expected = [jax.random.key_data(jax.random.fold_in(jax.random.fold_in(key, a), b)) for a, b in pairs]
    np.testing.assert_array_equal(fold(key, pairs), expected)
