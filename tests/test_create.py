"""Laws of what a `get_variable` call asks for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import initializers
from jscope._check import checked_dtype, checked_shape
from tests.models import KEY


def spec_of(*args, defaults=None, **options):
    """The spec that one call makes."""
    return jscope.specs(lambda s: s.with_defaults(**(defaults or {})).get_variable("w", *args, **options))["w"]


@pytest.mark.parametrize(
    "shape", [(2, 3), [2, 3], np.array([2, 3]), (np.int64(2), np.int32(3)), jax.ShapeDtypeStruct((2, 3), "int8").shape]
)
def test_a_shape_is_any_sequence_of_ints(shape):
    """All spellings of a shape give a tuple of Python ints."""
    found = checked_shape("w", shape)
    assert found == (2, 3)
    assert all(type(dim) is int for dim in found)


@pytest.mark.parametrize("shape", [3, np.int64(3), (3,)])
def test_one_int_is_a_shape_of_one_axis(shape):
    """`get_variable("b", 3)` makes a vector."""
    assert checked_shape("w", shape) == (3,)


def test_a_scalar_has_the_empty_shape():
    """`()` is a shape."""
    assert spec_of(()).shape == ()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, "bfloat16", np.dtype(jnp.bfloat16)])
def test_a_dtype_is_anything_jax_knows(dtype):
    """All spellings of a dtype give a numpy dtype."""
    assert checked_dtype("w", dtype) == np.dtype(jnp.bfloat16)


def test_64_bits_become_32_where_jax_has_them_off():
    """The spec has the dtype that the array will have."""
    assert spec_of((2,), np.float64).dtype == np.float32
    assert spec_of((2,), int).dtype == np.int32


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64])
def test_floats_start_glorot_uniform(dtype):
    """The library's default initializer of floats and complex numbers."""
    assert spec_of((2, 3), dtype).initializer == initializers.glorot_uniform()


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, bool])
def test_integers_and_bools_start_at_zero(dtype):
    """The library's default initializer of the rest."""
    assert spec_of((2, 3), dtype).initializer == initializers.zeros


def test_the_default_dtype_is_float32():
    """Unless somebody says otherwise."""
    assert spec_of((2,)).dtype == np.float32
    assert spec_of((2,), defaults={"dtype": jnp.bfloat16}).dtype == jnp.bfloat16


def test_the_call_wins_over_the_scope():
    """What the call says is taken; what it leaves out comes from the scope."""
    outer, inner = initializers.normal(0.1), initializers.normal(0.2)
    defaults = {"initializer": outer, "regularizer": jscope.regularizers.l2(0.1), "dtype": jnp.bfloat16}
    spec = spec_of((2, 2), jnp.float32, inner, defaults=defaults)
    assert (spec.initializer, spec.dtype, spec.regularizer) == (inner, np.float32, jscope.regularizers.l2(0.1))


def test_none_switches_a_default_off():
    """`jscope.OFF` in a call undoes what the scope says."""
    defaults = {
        "initializer": initializers.ones,
        "regularizer": jscope.regularizers.l2(0.1),
        "constraint": jscope.constraints.non_neg,
        "partitioner": lambda shape, dtype: ("x",) * len(shape),
        "dtype": jnp.bfloat16,
    }
    spec = spec_of((2, 3), defaults=defaults, **dict.fromkeys(defaults, jscope.OFF))
    assert (spec.regularizer, spec.constraint, spec.axes) == (None, None, None)
    assert spec.initializer == initializers.glorot_uniform()


def test_a_fallback_comes_after_the_scope_and_before_the_library():
    """What a layer starts a variable from, unless its call or the scope says something else."""
    fallback, default, own = initializers.he_normal(), initializers.normal(0.1), initializers.normal(0.2)

    def start(scope_default, given=None):
        def f(scope):
            scope = scope.with_defaults(initializer=scope_default)
            return scope.get_variable("w", (2, 3), initializer=given, fallback_initializer=fallback)

        return jscope.specs(f)["w"].initializer

    assert start(None) == start(jscope.OFF) == start(default, jscope.OFF) == fallback
    assert (start(default), start(default, own)) == (default, own)


@pytest.mark.parametrize(
    ("value", "shape", "dtype"),
    [
        (0.5, (), "float32"),
        (3, (), "int32"),
        (True, (), "bool"),
        (1j, (), "complex64"),
        (np.arange(3), (3,), "int32"),
        (np.float64(2), (), "float32"),
        (jnp.zeros((2, 1), jnp.bfloat16), (2, 1), "bfloat16"),
    ],
)
def test_a_value_gives_shape_and_dtype(value, shape, dtype):
    """An array or number as the initializer needs no shape, and is the initial value."""
    spec = spec_of(initializer=value)
    assert (spec.shape, spec.dtype.name) == (shape, dtype)
    made = jscope.init(lambda s: s.get_variable("w", initializer=value), KEY(0))["w"]
    np.testing.assert_array_equal(made, np.asarray(value, spec.dtype))


def test_a_number_takes_the_dtype_of_the_call():
    """`initializer=0` with a dtype is a scalar of that dtype."""
    assert spec_of(dtype=jnp.bfloat16, initializer=0).dtype == jnp.bfloat16


def test_axes_come_from_the_call_or_from_the_partitioner():
    """A partitioner names the axes where the call does not."""
    defaults = {"partitioner": lambda shape, dtype: ("embed", None)}
    assert spec_of((2, 3), defaults=defaults).axes == ("embed", None)
    assert spec_of((2, 3), defaults=defaults, axes=("a", "b")).axes == ("a", "b")


def test_a_spec_knows_where_it_was_created():
    """`site` is the file and line of the user's call."""
    assert "test_create.py:" in spec_of((2,)).site


def test_a_spec_knows_its_size():
    """`size` and `nbytes` count elements and bytes; `str` is one line."""
    spec = spec_of((2, 3), jnp.bfloat16, collections=["c"])
    assert (spec.name, spec.size, spec.nbytes, spec.kind, spec.collections) == ("w", 6, 12, "param", ("c",))
    assert str(spec) == "param `w`: bfloat16[2, 3]"


@pytest.mark.parametrize("shape", [[2, 3], (np.int64(2), 3), (2, 3)])
def test_apply_takes_the_shapes_that_init_takes(shape):
    """A shape that made a variable finds it again."""
    params = jscope.init(lambda s: s.get_variable("w", shape), KEY(0))
    assert jscope.apply(lambda s: s.get_variable("w", shape), params) is params["w"]


def test_apply_takes_a_shape_that_is_an_array():
    """A numpy shape, which `init` takes, finds its variable again."""
    params = jscope.init(lambda s: s.get_variable("w", np.array([2, 3])), KEY(0))
    assert jscope.apply(lambda s: s.get_variable("w", np.array([2, 3])), params) is params["w"]
