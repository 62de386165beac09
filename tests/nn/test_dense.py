"""Layers that multiply by a matrix."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import initializers, nn

KEY = jax.random.key(0)


def test_dense_is_a_product_and_a_bias():
    """Over the last axis, whatever the rank."""
    for shape in ((3,), (2, 3), (2, 4, 3)):
        x = jax.random.normal(KEY, shape)
        params = jscope.init(nn.dense, KEY, x, 5, bias_initializer=initializers.normal(1.0))
        expected = np.asarray(x) @ np.asarray(params["kernel"]) + np.asarray(params["bias"])
        assert np.allclose(jscope.apply(nn.dense, params, x, 5), expected, atol=1e-6)


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
