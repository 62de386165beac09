"""Noise for training."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import nn
from jscope.errors import InvalidArgumentError

KEY = jax.random.key(0)
ONES = jnp.ones((40, 5, 8))


def noisy(layer, x, *args, **options):
    model = jscope.transform(functools.partial(layer, training=True, **options))
    return jax.jit(model.with_rng(KEY).apply, static_argnums=range(2, 2 + len(args)))({}, x, *args)


@pytest.mark.parametrize("layer", [nn.dropout, nn.drop_path])
def test_dropping_keeps_the_mean(layer):
    """What is kept is larger by as much as is dropped."""
    y = np.asarray(noisy(layer, jnp.ones((4000, 2)), 0.2))
    assert set(y.ravel().tolist()) == {0.0, 1.25}
    assert abs(float(y.mean()) - 1) < 4 * 0.5 / 4000**0.5


def test_elements_are_dropped_together_along_axes():
    """Along `broadcast_axes`, counted from either end; whole examples with `drop_path`."""
    for axes in ((1,), (-2,)):
        y = np.asarray(noisy(nn.dropout, ONES, 0.5, broadcast_axes=axes))
        assert (y == y[:, :1]).all()
        assert (y != y[:, :, :1]).any()
    y = np.asarray(noisy(nn.drop_path, ONES, 0.5))
    assert (y == y[:, :1, :1]).all()
    assert (y != y[:1]).any()


def test_all_and_nothing_may_be_dropped():
    """With gradients that are finite."""
    for rate, slope in ((0.0, 1.0), (1.0, 0.0)):
        grad = jax.grad(lambda x, rate=rate: noisy(nn.dropout, x, rate).sum())(ONES)
        assert (grad == slope).all()


def test_rates_may_be_traced():
    """A schedule is known only when the program runs."""
    model = jscope.transform(functools.partial(nn.dropout, training=True)).with_rng(KEY)
    y = jax.jit(model.apply)({}, ONES, 0.5)
    assert set(y.ravel().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("layer", [nn.dropout, nn.drop_path, nn.gaussian_noise])
@pytest.mark.parametrize("number", [jnp.float32(0.5), np.float64(0.5)], ids=["jax", "numpy"])
def test_a_schedule_leaves_the_dtype_as_it_is(layer, number):
    """Whatever its own is: traced or not, the output has the dtype of the input and the values of a Python number."""
    x, model = ONES.astype(jnp.bfloat16), jscope.transform(functools.partial(layer, training=True)).with_rng(KEY)
    # As a number that is known while JAX traces, and as one that is not.
    outs = jax.jit(lambda traced: [model.apply({}, x, rate) for rate in (0.5, number, traced)])(number)
    assert {y.dtype for y in outs} == {jnp.dtype(jnp.bfloat16)}
    chex.assert_trees_all_equal(*outs)


def test_layers_of_different_names_drop_differently():
    """The key depends on the scope's path."""
    f = lambda scope, x: [nn.dropout(scope / name, x, 0.5, training=True) for name in "ab"]  # noqa: E731
    a, b = jscope.transform(f).with_rng(KEY).apply({}, ONES)
    assert (a != b).any()


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        (nn.dropout, {"rate": 1.5, "training": True}, "`rate` is 1.5"),
        (nn.dropout, {"rate": -0.1, "training": False}, "`rate` is -0.1"),
        (nn.dropout, {"rate": 0.1, "training": 1}, "`training` is 1"),
        (nn.dropout, {"rate": 0.1, "training": True, "broadcast_axes": (3,)}, "`axis` is 3"),
        (nn.drop_path, {"rate": 2, "training": True}, "`rate` is 2"),
        (nn.gaussian_noise, {"stddev": -1.0, "training": True}, "`stddev` is -1.0"),
    ],
)
def test_bad_input_is_refused(layer, options, message):
    """Scope, found and asked, and what to do."""
    with pytest.raises(InvalidArgumentError, match=rf"`nn\.{layer.__name__}` in the scope `n`: {message}"):
        jscope.specs(lambda scope: layer(scope / "n", ONES, **options))
