"""Layers that multiply by a matrix."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import initializers, nn
from tests.nn.cases import wave

KEY = jax.random.key(0)


def test_dense_is_a_product_and_a_bias():
    """Over the last axis, whatever the rank."""
    params = {"kernel": wave((3, 5), 0), "bias": wave((5,), 1)}
    xs = [wave(shape, 2) for shape in ((3,), (2, 3), (2, 4, 3))]
    ys = jax.jit(lambda xs: [jscope.apply(nn.dense, params, x, 5) for x in xs])(xs)
    for x, y in zip(xs, ys, strict=True):
        assert np.allclose(y, x @ params["kernel"] + params["bias"], atol=1e-6)


def test_keyword_then_scope_then_keras():
    """The initializer of a kernel; that of a bias is not the scope's matter."""

    def start(default, **options):
        f = lambda scope, x: nn.dense(scope.with_defaults(initializer=default), x, 5, **options)  # noqa: E731
        specs = jscope.specs(f, jnp.ones((2, 3)))
        return specs["kernel"].initializer, specs["bias"].initializer

    he, small, zeros = initializers.he_normal(), initializers.normal(0.1), initializers.zeros
    assert start(None) == (initializers.glorot_uniform(), zeros)
    assert start(he) == (he, zeros)
    assert start(he, kernel_initializer=small, bias_initializer=he) == (small, he)
    assert start(he, kernel_initializer=jscope.OFF) == (initializers.glorot_uniform(), zeros)


def test_bad_input_is_refused_by_name():
    """Scope, found and asked, and what to do."""
    f = lambda scope, x, units: nn.dense(scope / "out", x, units)  # noqa: E731
    with pytest.raises(jscope.errors.InvalidArgumentError, match=r"`nn\.dense` in the scope `out`: the input has"):
        jscope.init(f, KEY, jnp.float32(1), 5)
    with pytest.raises(jscope.errors.InvalidArgumentError, match="`units` is 0"):
        jscope.init(f, KEY, jnp.ones((2, 3)), 0)
    with pytest.raises(jscope.errors.InvalidArgumentError, match=r"the input is a `list`\.\nA layer is called with"):
        jscope.init(lambda scope: nn.dense(scope, [1.0], 5), KEY)
    with pytest.raises(jscope.errors.InvalidArgumentError, match="`units` is traced"):
        jscope.init(lambda scope, x: jscope.jit(nn.dense)(scope, x, 5), KEY, jnp.ones((2, 3)))


def test_fans_are_read_from_the_equation():
    """What is summed over is an input, what the input lacks an output; a default that goes by fans follows."""

    def start(equation, x, sizes, default=None):
        f = lambda scope: nn.einsum(scope.with_defaults(initializer=default), equation, x, sizes)  # noqa: E731
        return jscope.specs(f)["kernel"].initializer

    x = jnp.ones((2, 3, 4))
    assert start("btd,dhk->bthk", x, (5, 6)) == initializers.glorot_uniform((0,), (1, 2), ())
    assert start("bhk,hkd->bd", x, 6) == initializers.glorot_uniform((0, 1), (2,), ())
    assert start("bed,edf->bef", x, 6) == initializers.glorot_uniform((1,), (2,), (0,))
    assert start("bhk,hkd->bd", x, 6, initializers.he_normal()) == initializers.he_normal((0, 1), (2,), ())


def test_axes_of_an_einsum():
    """The bias takes its names from the kernel; axes that only the input has are without one."""
    f = lambda scope, x: nn.einsum(  # noqa: E731
        scope, "...d,dhk->...hk", x, (5, 6), bias_axes="k", axes=("embed", "heads", "kv")
    )
    specs = jscope.specs(f, jnp.ones((2, 3, 4)))
    assert (specs["bias"].shape, specs["bias"].axes) == ((6,), ("kv",))


@pytest.mark.parametrize(
    ("equation", "sizes", "options", "message"),
    [
        ("btd,df", 5, {}, "the equation is 'btd,df'"),
        ("bdd,df->bf", 5, {}, "the equation is 'bdd,df->bf'"),
        ("btd,xf->btf", 5, {}, "the axis `x` stands by itself"),
        ("btd,df->btg", 5, {}, "the axis `f` stands by itself"),
        ("bd,df->bf", 5, {}, r"the input has shape \(2, 3, 4\), but in 'bd,df->bf' the axes 'bd'"),
        ("btd,dhk->bthk", 5, {}, r"has 2 axes that the input lacks \(hk\), but `sizes` is \(5,\)"),
        ("btd,df->btf", 0, {}, "`sizes` is 0"),
        ("btd,df->btf", 5, {"bias_axes": "d"}, "`bias_axes` is 'd'"),
    ],
)
def test_equations_that_make_no_layer_are_refused(equation, sizes, options, message):
    """Scope, found and asked, and what to do."""
    with pytest.raises(jscope.errors.InvalidArgumentError, match=r"`nn\.einsum` in the scope `e`: .*" + message):
        jscope.specs(lambda scope: nn.einsum(scope / "e", equation, jnp.ones((2, 3, 4)), sizes, **options))


def test_the_input_says_in_which_dtype_to_compute():
    """Whatever the kernel is stored in; ints are taken to the kernel's, and reals to complex where that is."""
    for x, stored, expected in (
        (jnp.bfloat16, jnp.float32, jnp.bfloat16),
        (jnp.float32, jnp.bfloat16, jnp.float32),
        (jnp.int32, jnp.float32, jnp.float32),
        (jnp.float32, jnp.complex64, jnp.complex64),
    ):
        params = {"kernel": jax.ShapeDtypeStruct((3, 2), stored), "bias": jax.ShapeDtypeStruct((2,), stored)}
        dense = functools.partial(jscope.apply, nn.dense, units=2)
        assert jax.eval_shape(dense, params, jax.ShapeDtypeStruct((1, 3), x)).dtype == expected
