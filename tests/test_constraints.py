import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from jscope import constraints
from jscope.errors import InvalidArgumentError

NORMS = [
    constraints.max_norm(2.0),
    constraints.unit_norm(),
    constraints.min_max_norm(1.0, 2.0),
    constraints.min_max_norm(1.0, 2.0, rate=0.5),
]
ALL = [*NORMS, constraints.clip(-1.0, 2.0), constraints.non_neg]

matrices = nps.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=16))


def norms(value, axis=0):
    """The norms along `axis`, in the words of NumPy."""
    return np.linalg.norm(np.asarray(value), axis=axis)


def test_equal_calls_make_equal_values():
    """A constraint is equal to what the same call makes, hashes alike, and prints as that call."""
    assert constraints.max_norm(2) == constraints.max_norm(2.0) != constraints.max_norm(2.0, axis=1)
    assert len({constraints.non_neg, constraints.clip(0.0, None)}) == 1
    for constraint in ALL:
        assert eval(repr(constraint), vars(constraints)) == constraint


@given(matrices)
def test_max_norm_bounds_the_norm(value):
    """`max_norm` scales down to the limit what is above it, and leaves the rest exactly as it was."""
    limited = np.asarray(constraints.max_norm(2.0)(jnp.asarray(value)))
    assert norms(limited) == pytest.approx(np.minimum(norms(value), 2), rel=1e-5)
    allowed = norms(value) < 2
    chex.assert_trees_all_equal(limited[:, allowed], value[:, allowed])


@given(matrices)
def test_unit_norm_makes_the_norm_one(value):
    """`unit_norm` makes every norm 1, but for what is zero."""
    assert norms(constraints.unit_norm()(jnp.asarray(value))) == pytest.approx(np.sign(norms(value)), rel=1e-5)


@given(matrices, st.sampled_from([0, 0.25, 1]))
def test_min_max_norm_moves_the_norm(value, rate):
    """`min_max_norm` moves every norm towards its bounds by the rate, but for what is zero."""
    moved = constraints.min_max_norm(1.0, 2.0, rate)(jnp.asarray(value))
    old = norms(value)
    new = (1 - rate) * old + rate * np.clip(old, 1, 2)
    assert norms(moved) == pytest.approx(np.where(old > 0, new, 0), rel=1e-5)


@given(matrices)
def test_clip_and_non_neg_bound_every_element(value):
    """`clip` moves every element into its interval; `non_neg` is the interval without an upper end."""
    chex.assert_trees_all_equal(constraints.clip(-1, 2)(jnp.asarray(value)), np.clip(value, -1, 2))
    chex.assert_trees_all_equal(constraints.non_neg(jnp.asarray(value)), np.maximum(value, 0))


@pytest.mark.parametrize(("axis", "ones"), [(1, (2, 4)), ((0, 1), (4,)), (None, ()), (-1, (2, 3))])
def test_norms_are_along_the_axis(axis, ones):
    """`axis` names the axes that a norm sums over: one, several, or with None all of them."""
    value = constraints.unit_norm(axis)(1.0 + jnp.arange(24.0).reshape(2, 3, 4))
    chex.assert_trees_all_close(jnp.sum(value**2, axis=axis), jnp.ones(ones), rtol=1e-5)


@pytest.mark.parametrize("constraint", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_shape_and_dtype_stay(constraint, dtype):
    """A constraint changes neither shape nor dtype."""
    value = jnp.full((3, 4), -2, dtype)
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(constraint, value), value)


@pytest.mark.parametrize("constraint", NORMS, ids=repr)
def test_complex_values_keep_their_phase(constraint):
    """A norm constraint treats a complex variable by magnitude, and commutes with a common phase."""
    value, phase = jnp.arange(6.0).reshape(2, 3), jnp.exp(jnp.complex64(0.7j))
    turned, expected = value.astype(jnp.complex64) * phase, constraint(value).astype(jnp.complex64) * phase
    chex.assert_trees_all_close(constraint(turned), expected, rtol=1e-5)


def test_integers_can_be_clipped():
    """`clip` and `non_neg` work for integers, too."""
    assert constraints.non_neg(jnp.array([-1, 2])).tolist() == [0, 2]
    assert constraints.clip(0, 1)(jnp.array([-1, 2])).tolist() == [0, 1]


@pytest.mark.parametrize("constraint", ALL, ids=repr)
def test_zero_is_safe(constraint):
    """What is zero stays zero, with a finite gradient."""
    zero = jnp.zeros((2, 3))
    chex.assert_trees_all_equal(constraint(zero), zero)
    chex.assert_tree_all_finite(jax.jit(jax.grad(lambda value: jnp.sum(constraint(value))))(zero))


@pytest.mark.parametrize("constraint", ALL, ids=repr)
def test_jit_changes_no_value(constraint):
    """Under `jit` a constraint gives what it gives without."""
    value = jnp.arange(-5.0, 7.0).reshape(3, 4)
    chex.assert_trees_all_close(jax.jit(constraint)(value), constraint(value), rtol=1e-6)


BAD_CALLS = [
    (lambda: constraints.max_norm(-1), r"`max_norm\(limit=-1, axis=0\)` must have numbers with 0 <= limit"),
    (lambda: constraints.max_norm(math.nan), "0 <= limit"),
    (lambda: constraints.min_max_norm(2, 1), "0 <= low <= high"),
    (lambda: constraints.min_max_norm(0, 1, rate=2), "0 <= rate <= 1"),
    (lambda: constraints.clip(1, 0), "low <= high"),
    (lambda: constraints.clip("a", None), "low <= high"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS, ids=[message[-16:] for _, message in BAD_CALLS])
def test_bounds_in_no_order_are_an_error(call, message):
    """Bounds that allow nothing are an error where the constraint is made."""
    with pytest.raises(InvalidArgumentError, match=message):
        call()
