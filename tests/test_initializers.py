import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jscope import initializers
from jscope.errors import InitializerError, InvalidArgumentError

KEY = jax.random.key(0)
LARGE = (300, 400)
FACTORIES = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal")

# Two calls that should make equal values, and the repr of both.
VALUES = {
    "zeros": lambda: initializers.zeros,
    "ones": lambda: initializers.constant(1.0),
    "constant(0.5)": lambda: initializers.constant(np.float32(0.5)),
    "constant((1, 2))": lambda: initializers.constant([1, 2]),
    "uniform(minval=-1.0, maxval=1.0)": lambda: initializers.random_uniform(-1, 1),
    "normal(stddev=0.5, mean=0.0)": lambda: initializers.random_normal(0.5),
    "truncated_normal(stddev=0.5, mean=1.0)": lambda: initializers.truncated_normal(0.5, mean=1),
    "variance_scaling(1.0, 'fan_out', 'normal', -2, -1, ())": lambda: initializers.variance_scaling(
        1, "fan_out", "normal"
    ),
    **{f"{name}()": getattr(initializers, name) for name in FACTORIES},
    "orthogonal(scale=2.0, column_axis=-1)": lambda: initializers.orthogonal(2),
    "delta_orthogonal(scale=1.0)": initializers.delta_orthogonal,
    "identity(gain=1.0)": initializers.identity,
}


@pytest.mark.parametrize("name", VALUES)
def test_one_call_makes_one_value(name):
    """What the same call makes is equal, hashes alike, and prints as that call."""
    one, other = VALUES[name](), VALUES[name]()
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == name
    assert eval(name, vars(initializers)) == one


def test_other_calls_make_other_values():
    """No two different calls make equal values."""
    assert len({make() for make in VALUES.values()}) == len(VALUES)


def test_equal_initializers_compile_once():
    """A program compiled for one initializer serves every equal one."""
    draw = jax.jit(chex.assert_max_traces(lambda key, make: make(key, (2, 3)), n=1), static_argnums=1)
    chex.assert_trees_all_equal(
        draw(KEY, initializers.glorot_uniform()), draw(KEY, initializers.variance_scaling(1, "fan_avg", "uniform"))
    )


@pytest.mark.parametrize("name", FACTORIES)
def test_named_scalings_are_those_of_jax(name):
    """A variance scaling gives the numbers of its namesake in `jax.nn.initializers`."""
    ours, theirs = getattr(initializers, name)(), getattr(jax.nn.initializers, name)()
    chex.assert_trees_all_equal(ours(KEY, (3, 4)), theirs(KEY, (3, 4), jnp.float32))


@pytest.mark.parametrize(
    ("mode", "distribution", "dtype"),
    [
        ("fan_out", "normal", jnp.bfloat16),
        ("fan_geo_avg", "uniform", jnp.complex64),
    ],
)
def test_variance_scaling_is_that_of_jax(mode, distribution, dtype):
    """`variance_scaling` gives the numbers of its namesake, for any choice of axes and any dtype."""
    arguments = (0.5, mode, distribution, 0, (1,), -1)
    theirs = jax.nn.initializers.variance_scaling(*arguments)(KEY, (3, 4, 5), dtype)
    chex.assert_trees_all_equal(initializers.variance_scaling(*arguments)(KEY, (3, 4, 5), dtype), theirs)


def test_other_initializers_are_those_of_jax():
    """Where jax.nn has the same distribution, the numbers are the same, too."""
    ours, theirs = initializers, jax.nn.initializers
    for one, other, shape in [
        (ours.normal(0.5), theirs.normal(0.5), LARGE),
        (ours.truncated_normal(0.5), theirs.truncated_normal(0.5), LARGE),
        (ours.orthogonal(2, 0), theirs.orthogonal(2, 0), (3, 5)),
        (ours.delta_orthogonal(2), theirs.delta_orthogonal(2), (3, 8, 8)),
    ]:
        chex.assert_trees_all_close(one(KEY, shape), other(KEY, shape, jnp.float32), rtol=1e-6)


def test_aliases_are_the_same_functions():
    """What has two names in use has them here."""
    assert initializers.random_uniform is initializers.uniform
    assert initializers.random_normal is initializers.normal
    assert initializers.xavier_uniform is initializers.glorot_uniform
    assert initializers.xavier_normal is initializers.glorot_normal
    assert initializers.kaiming_uniform is initializers.he_uniform
    assert initializers.kaiming_normal is initializers.he_normal


@pytest.mark.parametrize(
    ("make", "mean", "stddev", "low", "high"),
    [
        (initializers.uniform(-1, 3), 1, 4 / math.sqrt(12), -1, 3),
        (initializers.normal(2, mean=3), 3, 2, -math.inf, math.inf),
        (initializers.truncated_normal(2, mean=3), 3, 2 * 0.87962566, -1, 7),
        (initializers.glorot_uniform(), 0, math.sqrt(1 / 350), -math.sqrt(3 / 350), math.sqrt(3 / 350)),
        (initializers.he_normal(), 0, math.sqrt(2 / 300), -0.19, 0.19),
        (initializers.lecun_uniform(), 0, math.sqrt(1 / 300), -0.1, 0.1),
        (initializers.variance_scaling(3, "fan_out", "normal"), 0, math.sqrt(3 / 400), -math.inf, math.inf),
        (initializers.uniform_unit_scaling(2), 0, math.sqrt(4 / 300), -0.2, 0.2),
    ],
    ids=repr,
)
def test_moments_and_bounds(make, mean, stddev, low, high):
    """Mean, standard deviation and range are those of the distribution."""
    values = np.asarray(jax.jit(make, static_argnums=1)(KEY, LARGE), np.float64)
    # Five standard errors: a right distribution fails once in a million keys, and this key is fixed.
    assert abs(values.mean() - mean) < 5 * stddev / math.sqrt(values.size)
    assert values.std() == pytest.approx(stddev, rel=0.02)
    assert low <= values.min() < values.max() <= high


def test_integers_are_uniform():
    """For an integer dtype `uniform` draws every integer from `minval` up to but without `maxval`, equally often."""
    values, counts = np.unique(initializers.uniform(-2, 3)(KEY, LARGE, jnp.int32), return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert counts / math.prod(LARGE) == pytest.approx(0.2, rel=0.05)


def test_complex_values_fill_a_disk():
    """Complex `glorot_uniform` has the variance of the real one, in all directions alike."""
    values = np.asarray(initializers.glorot_uniform()(KEY, LARGE, jnp.complex64))
    assert np.mean(np.abs(values) ** 2) == pytest.approx(1 / 350, rel=0.02)
    assert np.abs(values).max() <= math.sqrt(2 / 350) * 1.0001
    assert np.abs(np.mean(values**2)) < 1e-4


@given(st.lists(st.integers(0, 9), max_size=6).map(tuple), st.sampled_from(["float32", "bfloat16", "complex64"]))
def test_default_makes_every_shape(shape, dtype):
    """The default initializer makes floats and complex numbers of every shape, empty ones and scalars, too."""
    value = jax.eval_shape(lambda key: initializers.default(dtype)(key, shape, dtype), KEY)
    assert (value.shape, value.dtype) == (shape, jnp.dtype(dtype))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bool_])
def test_default_of_integers_is_zeros(dtype):
    """Integers and truth values start at zero."""
    assert initializers.default(dtype) is initializers.zeros
    assert not initializers.default(dtype)(KEY, (3,), dtype).any()


@pytest.mark.parametrize(("shape", "fan"), [((), 1), ((10_000,), 10_000)])
def test_fans_of_scalars_and_vectors_are_those_of_tensorflow(shape, fan):
    """A vector of n counts as n inputs and n outputs, a scalar as one of each."""
    keys = jax.random.split(KEY, 100_000 // fan)
    values = jax.jit(jax.vmap(lambda key: initializers.glorot_uniform()(key, shape)))(keys)
    limit = math.sqrt(3 / fan)
    assert float(jnp.abs(values).max()) == pytest.approx(limit, rel=1e-3)
    assert float(jnp.std(values)) == pytest.approx(limit / math.sqrt(3), rel=0.02)


def test_unit_scaling_of_a_vector_is_that_of_tf1():
    """`uniform_unit_scaling` counts the axes before the last: none of a vector."""
    values = initializers.uniform_unit_scaling(2)(KEY, (10_000,))
    assert float(jnp.abs(values).max()) == pytest.approx(2 * math.sqrt(3), rel=1e-3)


RANDOM = [
    initializers.uniform(0, 1),
    initializers.normal(1),
    initializers.truncated_normal(1),
    initializers.glorot_uniform(),
    initializers.orthogonal(),
    initializers.delta_orthogonal(),
]


@pytest.mark.parametrize("make", [initializers.ones, *RANDOM], ids=repr)
def test_shape_and_dtype_are_those_asked_for(make):
    """Every initializer makes exactly the shape and dtype that it was asked for, float32 if it was asked for none."""
    for dtype in jnp.float32, jnp.float16, jnp.bfloat16:
        value = jax.eval_shape(lambda key, dtype=dtype: make(key, (3, 4, 4), dtype), KEY)
        assert (value.shape, value.dtype) == ((3, 4, 4), dtype)
    assert jax.eval_shape(lambda key: make(key, (3, 4, 4)), KEY).dtype == jnp.float32


@pytest.mark.parametrize("make", [RANDOM[0], RANDOM[3], RANDOM[4]], ids=repr)
def test_transforms_change_no_value(make):
    """Under `jit`, and under `vmap` over keys, an initializer gives what it gives without."""
    keys, shape = jax.random.split(KEY, 2), (3, 4)
    one_by_one = jnp.stack([jax.jit(make, static_argnums=1)(key, shape) for key in keys])
    chex.assert_trees_all_close(make(keys[0], shape), one_by_one[0], atol=1e-5)
    chex.assert_trees_all_close(jax.vmap(lambda key: make(key, shape))(keys), one_by_one, atol=1e-5)


def test_old_style_keys_work():
    """A `jax.random.PRNGKey` gives what the `jax.random.key` of its seed gives."""
    old = initializers.glorot_uniform()(jax.random.PRNGKey(0), (3, 4))
    chex.assert_trees_all_equal(old, initializers.glorot_uniform()(KEY, (3, 4)))


@pytest.mark.parametrize(
    ("shape", "dtype"), [((3, 5), "float32"), ((5, 3), "float32"), ((2, 3, 4), "float32"), ((3, 5), "complex64")]
)
def test_orthogonal_is_orthogonal(shape, dtype):
    """The shorter side of an orthogonal matrix is orthonormal, up to the scale."""
    matrix = initializers.orthogonal(2)(KEY, shape, dtype).reshape(-1, shape[-1])
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.conj().T
    chex.assert_trees_all_close(short @ short.conj().T, 4 * jnp.eye(len(short), dtype=dtype), atol=1e-4)


@pytest.mark.parametrize("window", [(3,), (3, 4), (1, 2, 3)])
def test_delta_orthogonal_keeps_the_norm(window):
    """A delta-orthogonal kernel is an orthogonal matrix in the middle of its window, and zero elsewhere."""
    kernel = initializers.delta_orthogonal()(KEY, (*window, 3, 5))
    middle = kernel[tuple((size - 1) // 2 for size in window)]
    chex.assert_trees_all_close(middle @ middle.T, jnp.eye(3), atol=1e-5)
    assert jnp.count_nonzero(kernel) == jnp.count_nonzero(middle)


def test_constant_broadcasts():
    """A constant fills any shape that it broadcasts to."""
    value = initializers.constant([[1], [2]])(KEY, (3, 2, 2), jnp.bfloat16)
    chex.assert_trees_all_equal(value, jnp.full((3, 2, 2), jnp.array([[[1], [2]]], jnp.bfloat16)))


MISFITS = [
    (initializers.constant([1, 2]), (3,), jnp.float32, r"that \(2,\) broadcasts to, found \(3,\)"),
    (initializers.constant(0.5), (3,), jnp.int32, "that can hold it, found int32"),
    (initializers.constant(256), (3,), jnp.uint8, "that can hold it, found uint8"),
    (initializers.constant(1j), (3,), jnp.float32, "complexfloating, found float32"),
    (initializers.uniform(0, 0.5), (3,), jnp.int32, "integers as bounds, found int32"),
    (initializers.uniform(0, 1), (3,), jnp.complex64, "floating, found complex64"),
    (initializers.normal(1), (3,), jnp.int32, "inexact, found int32"),
    (initializers.truncated_normal(1), (3,), jnp.complex64, "floating, found complex64"),
    (initializers.glorot_uniform(), (2, 2), jnp.int32, r"`glorot_uniform\(\)` needs .* inexact, found int32"),
    (initializers.he_normal(in_axis=4), (2, 2), jnp.float32, r"all of its axes, found \(2, 2\)"),
    (initializers.orthogonal(), (3,), jnp.float32, r"of rank 2 or more, found \(3,\)"),
    (initializers.orthogonal(), (3, 3), jnp.int32, "inexact, found int32"),
    (initializers.delta_orthogonal(), (3, 3), jnp.float32, r"of rank 3 to 5, found \(3, 3\)"),
    (initializers.delta_orthogonal(), (3, 3, 2), jnp.float32, "no more inputs .* than outputs"),
    (initializers.identity(), (3,), jnp.float32, r"of rank 2, found \(3,\)"),
    (initializers.identity(0.5), (3, 3), jnp.int32, "that can hold it, found int32"),
]


@pytest.mark.parametrize(("make", "shape", "dtype", "message"), MISFITS, ids=lambda value: repr(value)[:40])
def test_a_misfit_is_an_error(make, shape, dtype, message):
    """A shape or dtype that an initializer cannot make is an error that says what it needs."""
    with pytest.raises(InitializerError, match=message):
        make(KEY, shape, dtype)


def test_fans_that_are_not_said_are_those_of_the_fallback():
    """An initializer that goes by fans takes its axes from a fallback that does, unless it names them."""
    fallback = initializers.glorot_uniform((0, 1), 2, 3)
    fitting = initializers.fitting
    assert fitting(None, fallback) == fallback
    assert fitting(initializers.he_normal(), fallback) == initializers.he_normal((0, 1), 2, 3)
    for other in (initializers.he_normal(0, 1), initializers.normal(0.1), 0.5, jax.nn.initializers.he_normal()):
        assert fitting(other, fallback) is other
        assert fitting(other, initializers.zeros) is other


BAD_CALLS = [
    (lambda: initializers.normal(-1), "`stddev` of `normal` must be a finite number of at least 0, not -1"),
    (lambda: initializers.normal(math.inf), "must be a finite number .*not inf"),
    (
        lambda: initializers.truncated_normal(1, mean="a"),
        "`mean` of `truncated_normal` must be a finite number, not 'a'",
    ),
    (lambda: initializers.uniform(2, 1), "is empty"),
    (lambda: initializers.he_normal(in_axis=[0]), r"`in_axis` must be an int or a tuple of them, not \[0\]"),
    (lambda: initializers.variance_scaling(-1, "fan_in", "normal"), "`scale` .* at least 0"),
    (
        lambda: initializers.variance_scaling(1, "fan_foo", "normal"),
        "`mode` must be one of .*'fan_avg'.* not 'fan_foo'",
    ),
    (lambda: initializers.variance_scaling(1, "fan_in", "gamma"), "`distribution` must be one of .* not 'gamma'"),
    (lambda: initializers.constant("a"), "must be a number or an array, not 'a'"),
    (lambda: initializers.constant([[1], [1, 2]]), "must be known and rectangular"),
    (lambda: jax.jit(initializers.constant)(1.0), "must be known and rectangular"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS, ids=[message[:40] for _, message in BAD_CALLS])
def test_a_bad_argument_is_an_error_at_once(call, message):
    """A wrong argument is an error where the initializer is made, not where it is first used."""
    with pytest.raises(InvalidArgumentError, match=message):
        call()
