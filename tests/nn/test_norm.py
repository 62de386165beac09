"""Norms: what Keras does not have, and what is refused. The rest is in `test_keras.py`."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import nn
from jscope.errors import InvalidArgumentError

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (8, 3, 4)) * 2 + 1
TRAINING = functools.partial(nn.batch_norm, training=True)


def train(layer, x, *args):
    """Returns the output of a step of training and the moving statistics after it."""
    model = jscope.transform_with_state(layer)
    start = {"gamma": jnp.ones(4), "beta": jnp.zeros(4)}, {"moving_mean": jnp.zeros(4), "moving_variance": jnp.ones(4)}
    return jax.jit(model.apply)(*start, x, *args)


def test_statistics_over_a_mapped_axis_are_those_of_the_whole_batch():
    """With `axis_name`, under `vmap` and with a mask, too."""

    def split(scope, x, mask=None):
        one = functools.partial(TRAINING, axis_name="devices")
        f = one if mask is None else lambda scope, x, mask: one(scope, x, mask=mask)
        args = (x,) if mask is None else (x, mask)
        return jscope.vmap(f, axis_name="devices", variables="shared")(scope, *args)

    y, state = train(split, X.reshape(4, 2, 3, 4))
    chex.assert_trees_all_close((y.reshape(X.shape), state), train(TRAINING, X), atol=1e-5)
    mask = X[..., 0] > 0
    y, state = train(split, X.reshape(4, 2, 3, 4), mask.reshape(4, 2, 3))
    whole = train(lambda scope, x, mask: TRAINING(scope, x, mask=mask), X, mask)
    chex.assert_trees_all_close((y.reshape(X.shape), state), whole, atol=1e-5)


def test_what_is_masked_does_not_count():
    """Not even if it is NaN; and a mask that leaves nothing leaves the moving statistics."""
    masked = lambda scope, x, mask: TRAINING(scope, x, mask=mask)  # noqa: E731
    mask = jnp.arange(8)[:, None] + jnp.zeros((8, 3), int) < 5
    _, state = train(masked, jnp.where(mask[..., None], X, jnp.nan), mask)
    chex.assert_trees_all_close(state, train(TRAINING, X[:5])[1], atol=1e-6)
    y, state = train(masked, X, jnp.zeros((8, 3), bool))
    assert jnp.isfinite(y).all()
    chex.assert_trees_all_equal(state, {"moving_mean": jnp.zeros(4), "moving_variance": jnp.ones(4)})


def test_the_unbiased_variance_is_that_of_a_sample():
    """It moves the moving variance; the output stays. One example has none, and keeps the biased one."""
    unbiased = functools.partial(TRAINING, unbiased=True)
    (y, state), (expected, _) = train(unbiased, X), train(TRAINING, X)
    chex.assert_trees_all_close(y, expected)
    variance = X.reshape(-1, 4).var(0, ddof=1)
    assert jnp.allclose(state["moving_variance"], 0.99 + 0.01 * variance, atol=1e-6)
    _, state = train(unbiased, X[:1, 0])
    assert jnp.allclose(state["moving_variance"], 0.99)


def test_batch_norm_evaluates_with_the_moving_statistics():
    """They are read, and not written."""
    params = {"gamma": jnp.full(4, 2.0), "beta": jnp.ones(4)}
    state = {"moving_mean": jnp.full(4, 0.5), "moving_variance": jnp.full(4, 4.0)}
    model = jscope.transform_with_state(functools.partial(nn.batch_norm, training=False, epsilon=0.0))
    y, after = model.apply(params, state, X)
    assert jnp.allclose(y, X - 0.5 + 1, atol=1e-5)
    chex.assert_trees_all_equal(after, state)


def test_a_vector_of_zeros_stays():
    """Its gradient is finite, and nothing is divided by zero."""
    x = jnp.zeros((2, 3))
    value, grad = jax.jit(jax.value_and_grad(lambda x: nn.l2_normalize(x).sum()))(x)
    assert value == 0
    assert jnp.isfinite(grad).all()


@pytest.mark.parametrize(
    ("layer", "x", "options", "message"),
    [
        (nn.layer_norm, X, {"axis": 3}, r"`axis` is 3, but the input has 3 axes"),
        (nn.layer_norm, X, {"axis": (1, -2)}, r"`axis` is \(1, -2\)"),
        (nn.rms_norm, jnp.float32(1), {}, "rank at least 1 is needed"),
        (nn.group_norm, X, {"groups": 3}, "4 channels do not fall into groups=3 equal parts"),
        (nn.instance_norm, X[0], {}, "rank at least 3 is needed"),
        (nn.batch_norm, X[0, 0], {"training": True}, "rank at least 2 is needed"),
        (nn.batch_norm, X, {"training": None}, "`training` is None"),
        (nn.batch_norm, X, {"training": True, "mask": jnp.ones(8)}, r"the mask is an array of shape \(8,\)"),
    ],
)
def test_bad_input_is_refused(layer, x, options, message):
    """Scope, found and asked, and what to do."""
    with pytest.raises(InvalidArgumentError, match=rf"`nn\.{layer.__name__}` in the scope `n`: .*{message}"):
        jscope.specs(lambda scope: layer(scope / "n", x, **options))
