"""Pools and their opposites: what Keras does not have, and what is refused. The rest is in `test_keras.py`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from jscope import nn
from jscope.errors import InvalidArgumentError

X = jax.random.normal(jax.random.key(0), (2, 3, 5, 4))


@pytest.mark.parametrize("pool", [nn.max_pool, nn.avg_pool])
def test_any_number_of_batch_axes(pool):
    """A window of length 1 pools the last axis but one; the others are batches."""
    one = pool(X.reshape(6, 5, 4), (2,), padding="same")
    assert jnp.allclose(pool(X, (2,), padding="same"), one.reshape(2, 3, 3, 4), atol=1e-6)


def test_padding_by_pairs_does_not_count():
    """Neither as a largest element nor in a mean."""
    x = -1 - jnp.arange(4.0).reshape(1, 4, 1)
    assert nn.max_pool(x, 2, strides=1, padding=((1, 1),)).ravel().tolist() == [-1, -1, -2, -3, -4]
    assert nn.avg_pool(x, 2, strides=1, padding=((1, 1),)).ravel().tolist() == [-1, -1.5, -2.5, -3.5, -4]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32])
def test_dtypes(dtype):
    """The largest has the dtype of the input; a mean of ints is float32, and one of narrow floats is narrow."""
    x = jax.ShapeDtypeStruct(X.shape, dtype)
    kind = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.float32
    for layer in (nn.max_pool, nn.upsample, nn.avg_pool):
        assert jax.eval_shape(lambda x, layer=layer: layer(x, 2), x).dtype == (kind if layer is nn.avg_pool else dtype)
    assert jax.eval_shape(nn.global_avg_pool, x).dtype == kind


def test_means_of_narrow_floats_are_taken_in_float32():
    """Many small numbers do not get lost beside a large one."""
    x = jnp.concatenate([jnp.full((1, 1, 1), 256.0), jnp.ones((1, 255, 1))], 1).astype(jnp.bfloat16)
    assert nn.avg_pool(x, 256).item() == nn.global_avg_pool(x).item() == 2.0


def test_a_mean_over_nothing_is_zero():
    """Where the mask holds true for no element."""
    assert (nn.global_avg_pool(X, mask=jnp.zeros((2, 3, 5))) == 0).all()


def test_pixels_come_from_channels():
    """The place in the block varies slower than the channel."""
    x = jnp.arange(8.0).reshape(1, 1, 8)
    assert nn.pixel_shuffle(x, 2).tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: nn.max_pool(X, (2, 2, 2, 2)), r"`pool_size` is \(2, 2, 2, 2\) and the input has shape"),
        (lambda: nn.max_pool(X, (4, 1)), "a window of 4 does not fit spatial axis 0 of size 3"),
        (lambda: nn.avg_pool(X, 2, padding="circular"), "`padding` is 'circular'"),
        (lambda: nn.avg_pool(X, 2, padding=((2, 0), (0, 0))), "has room for whole windows"),
        (lambda: nn.global_max_pool(X[0, 0]), "rank at least 3 is needed"),
        (lambda: nn.global_avg_pool(X, mask=jnp.ones(2)), r"the mask is an array of shape \(2,\)"),
        (lambda: nn.upsample(X, 2, interpolation="cubic"), "`interpolation` is 'cubic'"),
        (lambda: nn.pixel_shuffle(X, 3), "the input has 4 channels, and `block_size` is 3"),
    ],
)
def test_bad_input_is_refused(function, message):
    """Found and asked, and what to do."""
    with pytest.raises(InvalidArgumentError, match=rf"`nn\.\w+`: .*{message}"):
        function()
