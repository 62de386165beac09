"""Positions, compared with the formulas of the papers in NumPy."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import nn
from jscope.errors import InvalidArgumentError
from tests.nn.filled import filled
from tests.nn.sequence_cases import numbers

X = jnp.asarray(numbers("x", (2, 5, 3, 8)))
POSITIONS = jnp.asarray([[0, 1, 2, 3, 4], [7, 9, 100, 3, 0]])


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_rotary_multiplies_complex_numbers_by_unit_ones(interleaved, fraction):
    """A pair of features is a complex number, and turns by the position times its rate."""
    k = int(8 * fraction)
    x = np.asarray(X[..., :k], np.float64)
    pairs = x[..., 0::2] + 1j * x[..., 1::2] if interleaved else x[..., : k // 2] + 1j * x[..., k // 2 :]
    rates = 100.0 ** (-2 * np.arange(k // 2) / k)
    turned = pairs * np.exp(1j * np.asarray(POSITIONS)[:, :, None, None] * rates)
    parts = (turned.real, turned.imag)
    expected = np.stack(parts, -1).reshape(x.shape) if interleaved else np.concatenate(parts, -1)
    rotary = functools.partial(nn.rotary, base=100.0, fraction=fraction, interleaved=interleaved)
    out = jax.jit(rotary)(X, POSITIONS)
    np.testing.assert_allclose(out[..., :k], expected, atol=2e-5)
    np.testing.assert_array_equal(out[..., k:], X[..., k:])


def test_rotary_products_tell_only_distances():
    """Moving queries and keys by as much changes no product of them."""

    @jax.jit
    def products(shift):
        q, k = nn.rotary(X, POSITIONS + shift), nn.rotary(2 * X, POSITIONS + shift)
        return jnp.einsum("bthk,bshk->bhts", q, k)

    np.testing.assert_allclose(products(0), products(11), atol=1e-4)


def test_angles_are_computed_in_float32():
    """In bfloat16, positions 256 and 257 would be one."""
    late = jnp.broadcast_to(jnp.arange(5) + 256, (2, 5))
    expected = nn.rotary(X.astype(jnp.bfloat16).astype(jnp.float32), late)
    out = nn.rotary(X.astype(jnp.bfloat16), late)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), expected, atol=0.02)


def test_sinusoidal_is_that_of_the_paper():
    """Sines at even features, cosines at odd ones, for a length and for positions."""
    expected = np.zeros((6, 8))
    for position in range(6):
        for i in range(4):
            angle = position / 10000 ** (2 * i / 8)
            expected[position, 2 * i : 2 * i + 2] = math.sin(angle), math.cos(angle)
    np.testing.assert_allclose(nn.sinusoidal(6, 8), expected, atol=1e-6)
    np.testing.assert_allclose(nn.sinusoidal(jnp.asarray([[5], [2]]), 8)[:, 0], expected[[5, 2]], atol=1e-6)


def test_alibi_has_the_slopes_of_the_paper():
    """A geometric sequence for powers of two; otherwise every other one of the next power fills up."""
    alibi = jax.jit(nn.alibi, static_argnums=(0, 1, 2))
    slopes = lambda heads: (-np.asarray(alibi(heads, 1, 2))[0, :, 0, 1]).tolist()  # noqa: E731
    assert slopes(8) == [2.0**-i for i in range(1, 9)]
    assert slopes(12) == pytest.approx([*slopes(8), *slopes(16)[0:8:2]])
    distance = np.abs(np.arange(3)[:, None] - np.arange(4)[None, :])
    found = jax.jit(lambda positions: nn.alibi(2, 3, positions))(jnp.arange(4))
    np.testing.assert_allclose(found[0, 1], -distance / 256)


def bucket(distance, buckets, furthest, both_ways):
    """T5's rule, for one distance of a key from a query."""
    first = 0
    if both_ways:
        buckets //= 2
        first, distance = (buckets if distance > 0 else 0), abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    far = exact + int(math.log(distance / exact) / math.log(furthest / exact) * (buckets - exact))
    return first + min(far, buckets - 1)


@pytest.mark.parametrize("both_ways", [True, False])
def test_relative_bias_has_the_buckets_of_t5(both_ways):
    """One number for each head and bucket."""
    options = {"num_buckets": 8, "max_distance": 20, "bidirectional": both_ways}
    model = jscope.transform(functools.partial(nn.relative_bias, heads=2, queries=30, keys=25, **options))
    params = filled(model.specs())
    buckets = np.asarray([[bucket(s - t, 8, 20, both_ways) for s in range(25)] for t in range(30)])
    assert set(buckets.flat) == set(range(8)) - (set() if not both_ways else {4})
    np.testing.assert_array_equal(jax.jit(model.apply)(params)[0], np.asarray(params["embeddings"]).T[:, buckets])


def test_bad_positions_are_refused():
    """Floats, odd features, and positions of other tokens."""
    with pytest.raises(InvalidArgumentError, match=r"`nn\.rotary`: the positions have dtype float32"):
        nn.rotary(X, jnp.arange(5.0))
    with pytest.raises(InvalidArgumentError, match=r"the positions have shape \(4,\)"):
        nn.rotary(X, jnp.arange(4))
    with pytest.raises(InvalidArgumentError, match=r"it turns pairs, but 1\.0 of 7 features are 7"):
        nn.rotary(X[..., :7])
    with pytest.raises(InvalidArgumentError, match="`dim` is 3"):
        nn.sinusoidal(4, 3)
    with pytest.raises(InvalidArgumentError, match=r"`nn\.alibi`: `heads` is 0"):
        nn.alibi(0, 2, 2)
