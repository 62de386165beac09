import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jscope import regularizers
from jscope.errors import InvalidArgumentError, ShapeMismatchError

VALUE = jnp.array([[1.0, -2.0, 0.0], [3.0, 0.5, -1.0]])
ALL = [
    regularizers.l1(0.5),
    regularizers.l2(0.5),
    regularizers.l1_l2(0.5, 0.25),
    regularizers.orthogonal(0.5),
    regularizers.orthogonal(0.5, "columns"),
]


def test_equal_calls_make_equal_values():
    """A regularizer is equal to what the same call makes, hashes alike, and prints as that call."""
    assert regularizers.l2(1) == regularizers.l2(1.0) != regularizers.l1(1)
    assert len({regularizers.l2(0.5), regularizers.l2(np.float32(0.5))}) == 1
    for regularizer in ALL:
        assert eval(repr(regularizer), vars(regularizers)) == regularizer


def test_penalties_are_those_of_keras():
    """`l1` sums magnitudes, `l2` squares, `l1_l2` both; each times its scale."""
    magnitudes, squares = 7.5, 15.25
    assert float(regularizers.l1(0.5)(VALUE)) == 0.5 * magnitudes
    assert float(regularizers.l2(0.5)(VALUE)) == 0.5 * squares
    assert float(regularizers.l1_l2(0.5, 0.25)(VALUE)) == 0.5 * magnitudes + 0.25 * squares


@pytest.mark.parametrize("regularizer", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64, jnp.int32])
def test_a_penalty_is_a_float32_scalar(regularizer, dtype):
    """Whatever the dtype of a variable, its penalty is a real scalar in at least float32."""
    penalty = jax.eval_shape(regularizer, VALUE.astype(dtype))
    assert (penalty.shape, penalty.dtype) == ((), jnp.float32)


def test_sums_do_not_overflow_half_types():
    """A sum that float16 cannot hold is right, because it is not made in float16."""
    assert float(regularizers.l2(1)(jnp.full((1000,), 100, jnp.float16))) == 1e7


@pytest.mark.parametrize("regularizer", ALL, ids=repr)
def test_complex_values_count_by_magnitude(regularizer):
    """Turning a complex variable by a common phase leaves its penalty unchanged."""
    turned = VALUE.astype(jnp.complex64) * jnp.exp(jnp.complex64(0.7j))
    chex.assert_trees_all_close(regularizer(turned), regularizer(VALUE), atol=1e-6)


@pytest.mark.parametrize("regularizer", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_gradients_are_finite_at_zero(regularizer, dtype):
    """At zero, where magnitudes have a kink, the gradient is zero and not NaN."""
    zero = jnp.zeros((2, 3), dtype)
    chex.assert_trees_all_equal(jax.jit(jax.grad(regularizer))(zero), zero)


def test_l2_is_curved_at_zero():
    """The second derivative of `l2` is twice its scale everywhere, at zero, too."""
    assert jax.grad(jax.grad(regularizers.l2(0.5)))(0.0) == 1.0


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_orthogonal_is_the_mean_cosine(mode):
    """The penalty is the mean magnitude of the cosine between two different rows (or columns)."""
    rows = np.asarray(VALUE if mode == "rows" else VALUE.T)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = np.abs(rows @ rows.T)[np.triu_indices(len(rows), k=1)]
    assert float(regularizers.orthogonal(0.5, mode)(VALUE)) == pytest.approx(0.5 * cosines.mean(), rel=1e-5)


def test_a_single_row_is_orthogonal():
    """Where there are no two rows there is nothing to penalise."""
    assert float(regularizers.orthogonal(1)(jnp.ones((1, 3)))) == 0


@pytest.mark.parametrize("scale", [-1, math.inf, math.nan, "a", None])
@pytest.mark.parametrize("make", [regularizers.l1, regularizers.l2, regularizers.orthogonal])
def test_a_bad_scale_is_an_error(make, scale):
    """A scale is a finite number of at least 0."""
    with pytest.raises(
        InvalidArgumentError, match=f"`scale` of `{make.__name__}` must be .* at least 0, not {scale!r}"
    ):
        make(scale)


def test_a_bad_scale_of_two_is_named():
    """Of two scales the error names the wrong one."""
    with pytest.raises(InvalidArgumentError, match="`l2` of `l1_l2` must be a finite number of at least 0, not -1"):
        regularizers.l1_l2(1, -1)


def test_a_bad_mode_is_an_error():
    """`orthogonal` compares rows or columns, nothing else."""
    with pytest.raises(InvalidArgumentError, match='must be "rows" or "columns", not \'diagonals\''):
        regularizers.orthogonal(1, "diagonals")  # pyright: ignore[reportArgumentType]


def test_orthogonal_needs_a_matrix():
    """Rows and columns are those of a matrix."""
    with pytest.raises(ShapeMismatchError, match=r"needs a matrix, found shape \(2, 3, 4\)"):
        regularizers.orthogonal(1)(jnp.ones((2, 3, 4)))
