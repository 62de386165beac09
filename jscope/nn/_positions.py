"""Where a token stands is told in one of two ways: turned into its features, or added to the logits.

`sinusoidal` is added to embeddings, `rotary` turns queries and keys; `alibi` and `relative_bias` are biases of the
logits, which `attention` takes as `logit_bias=`. Positions are integers, counted from 0; where a length is asked for,
it stands for `0, 1, ..., length - 1`. All angles are computed in float32: bfloat16 cannot tell position 257 from 256.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._layer import (
    UNIFORM,
    along,
    cast,
    check_rank,
    check_size,
    checked_number,
    described,
    named,
    refuse,
    weight,
)


def rotary(
    x_bthk: jax.Array,
    positions: jax.Array | None = None,
    *,
    base: float = 10000.0,
    fraction: float = 1.0,
    interleaved: bool = False,
) -> jax.Array:
    """Turns pairs of features by angles in proportion to the position, so that products of two tell their distance.

    >>> x_bthk = jnp.ones((1, 3, 1, 4))
    >>> turned_bthk = jscope.nn.rotary(x_bthk)
    >>> bool(
    ...     jnp.allclose(turned_bthk[0, 0], x_bthk[0, 0]) and jnp.allclose(turned_bthk[0, 2, 0, 0], -1.3254, atol=1e-4)
    ... )
    True

    Args:
      x_bthk: Queries or keys: batch, tokens, heads, features.
      positions: Of shape `(t,)` or `(b, t)`; `0, 1, ...` if None.
      base: Pair `i` of `n` turns by `base ** (-i / n)` with each step.
      fraction: The part of the features that turn: the first ones; the others stay.
      interleaved: Whether features `2i` and `2i + 1` are a pair (as in the paper and GPT-J), rather than `i` and
        `n + i` (as in GPT-NeoX and Llama).

    (Su et al., 2021, https://arxiv.org/abs/2104.09864)
    """
    check_rank(None, "rotary", x_bthk, "(batch, tokens, heads, features)", 4)
    checked_number(None, "rotary", "base", base)
    checked_number(None, "rotary", "fraction", fraction, 0, 1)
    turning = round(x_bthk.shape[-1] * fraction)
    if turning % 2 or not 0 < turning <= x_bthk.shape[-1]:
        problem = f"it turns pairs, but {fraction} of {x_bthk.shape[-1]} features are {turning}"
        refuse(None, "rotary", problem, "Let `fraction` times the features of a head be an even number.")
    positions = integers("rotary", x_bthk.shape[1] if positions is None else positions)
    if positions.shape not in ((x_bthk.shape[1],), (1, x_bthk.shape[1]), x_bthk.shape[:2]):
        problem = f"the positions have shape {positions.shape}, the input has {x_bthk.shape}"
        refuse(None, "rotary", problem, "Positions have shape (tokens,) or (batch, tokens).")
    angles_bt1n = _angles(jnp.atleast_2d(positions), turning // 2, base)[:, :, None]
    sin_bt1n, cos_bt1n = jnp.sin(angles_bt1n), jnp.cos(angles_bt1n)
    whole = turning == x_bthk.shape[-1]
    # The products, too: in bfloat16, an angle that is exact would still turn by a rounded sine.
    x32_bthk = cast(x_bthk if whole else x_bthk[..., :turning], jnp.float32)
    a_bthn, b_bthn = (x32_bthk[..., 0::2], x32_bthk[..., 1::2]) if interleaved else jnp.split(x32_bthk, 2, axis=-1)
    pair = a_bthn * cos_bt1n - b_bthn * sin_bt1n, b_bthn * cos_bt1n + a_bthn * sin_bt1n
    turned = jnp.stack(pair, axis=-1).reshape(x32_bthk.shape) if interleaved else jnp.concatenate(pair, axis=-1)
    turned = cast(turned, x_bthk.dtype)
    return turned if whole else jnp.concatenate([turned, x_bthk[..., turning:]], axis=-1)


def sinusoidal(positions: jax.Array | int, dim: int, *, base: float = 10000.0) -> jax.Array:
    """Returns sines and cosines of the position at `dim / 2` rates, of shape `(*positions, dim)` in float32.

    >>> jscope.nn.sinusoidal(50, 8).shape
    (50, 8)

    Feature `2i` is the sine of `position * base ** (-2i / dim)`, and feature `2i + 1` its cosine.

    (Vaswani et al., 2017, https://arxiv.org/abs/1706.03762)
    """
    if check_size(None, "sinusoidal", "dim", dim) % 2:
        refuse(None, "sinusoidal", f"`dim` is {dim}", "It should be even: features are pairs of a sine and a cosine.")
    checked_number(None, "sinusoidal", "base", base)
    positions = integers("sinusoidal", positions)
    angles = _angles(positions, dim // 2, base)
    # In turns, as in the paper; its authors' code (Tensor2Tensor) has all sines first.
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(*positions.shape, dim)


def alibi(heads: int, queries: jax.Array | int, keys: jax.Array | int) -> jax.Array:
    """Returns a bias of the logits that falls with the distance, at another slope in each head, in float32.

    >>> jscope.nn.alibi(2, 3, 3)[0, 0].tolist()  # Head 0 has the slope 1 / 16.
    [[0.0, -0.0625, -0.125], [-0.0625, 0.0, -0.0625], [-0.125, -0.0625, 0.0]]

    Args:
      heads: Their number; any, powers of two or not.
      queries: Positions of shape `(t,)` or `(b, t)`, or a length.
      keys: Positions of shape `(s,)` or `(b, s)`, or a length.

    Returns:
      `bias_bhts`, with `b` being 1 unless positions have a batch axis. It is symmetric; a causal mask is the caller's.

    (Press et al., 2021, https://arxiv.org/abs/2108.12409)
    """
    check_size(None, "alibi", "heads", heads)
    nearness_b1ts = -jnp.abs(_distances("alibi", queries, keys))[:, None]
    slopes_1h11 = jnp.asarray(_slopes(heads), jnp.float32)[None, :, None, None]
    return slopes_1h11 * nearness_b1ts.astype(jnp.float32)


@named
def relative_bias(
    scope: Scope,
    heads: int,
    queries: jax.Array | int,
    keys: jax.Array | int,
    *,
    num_buckets: int = 32,
    max_distance: int = 128,
    bidirectional: bool = True,
    embeddings_initializer: Initializer | Off | None = None,
    axes: Axes | None = (None, "heads"),
) -> jax.Array:
    """Returns a learnt bias of the logits for each head and each bucket of distances, as in T5.

    >>> model = jscope.transform(lambda scope: jscope.nn.relative_bias(scope, 4, 10, 12))
    >>> params = model.init(jax.random.key(0))
    >>> params["embeddings"].shape, model.apply(params).shape
    ((32, 4), (1, 4, 10, 12))

    Args:
      scope: Has the variable `embeddings` of shape `(num_buckets, heads)`.
      heads: Their number.
      queries: Positions of shape `(t,)` or `(b, t)`, or a length.
      keys: Positions of shape `(s,)` or `(b, s)`, or a length.
      num_buckets: Half of the buckets are for one distance each; the others grow in proportion to it.
      max_distance: From here on all is one bucket.
      bidirectional: Whether keys to the right have buckets of their own (encoders), or count as distance 0 (decoders).
      embeddings_initializer: Uniform on [-0.05, 0.05) by default, as for Keras's embeddings.
      axes: Logical names of the axes of `embeddings`.

    (Raffel et al., 2019, https://arxiv.org/abs/1910.10683)
    """
    check_size(scope, "relative_bias", "num_buckets", num_buckets, 4 if bidirectional else 2)
    # Up to here, each distance has a bucket of its own.
    exact = num_buckets // (4 if bidirectional else 2)
    check_size(scope, "relative_bias", "max_distance", max_distance, exact + 1)
    distance_bts = _distances("relative_bias", queries, keys)
    shape = (num_buckets, check_size(scope, "relative_bias", "heads", heads))
    embeddings_nh = weight(scope, "embeddings", shape, embeddings_initializer, UNIFORM, axes)
    buckets_bts = _bucket(distance_bts, num_buckets, max_distance, bidirectional)
    return jnp.moveaxis(embeddings_nh[buckets_bts], -1, 1)


def _bucket(distance: jax.Array, num_buckets: int, max_distance: int, bidirectional: bool) -> jax.Array:
    """Returns the number of the bucket of each distance (key minus query)."""
    if bidirectional:
        num_buckets //= 2
        first: Any = jnp.where(distance > 0, num_buckets, 0)
        distance = jnp.abs(distance)
    else:
        first, distance = 0, jnp.maximum(-distance, 0)
    exact = num_buckets // 2
    # Both branches of the `where` below are computed: the logarithm of 0 would be minus infinity, which no integer is.
    ratio = jnp.log(jnp.maximum(distance, 1).astype(jnp.float32) / exact) / math.log(max_distance / exact)
    far = exact + (ratio * (num_buckets - exact)).astype(distance.dtype)
    bucket = jnp.where(distance < exact, distance, jnp.minimum(far, num_buckets - 1))
    return first + bucket if bidirectional else bucket


def _slopes(heads: int) -> list[float]:
    """Returns the paper's geometric sequence; between powers of two, every other slope of the next one fills up."""
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2.0 ** (-8 * (i + 1) / power) for i in range(power)]
    return slopes + [2.0 ** (-4 * (2 * i + 1) / power) for i in range(heads - power)]


def _angles(positions: jax.Array, n: int, base: float) -> jax.Array:
    """Returns the angles of `n` pairs of features: `(*positions, n)`."""
    rates_n = jnp.asarray(base, jnp.float32) ** (-jnp.arange(n, dtype=jnp.float32) / n)
    return positions.astype(jnp.float32)[..., None] * along(rates_n, positions.ndim + 1)


def _distances(layer: str, queries: jax.Array | int, keys: jax.Array | int) -> jax.Array:
    """Returns key minus query, of shape `(b or 1, t, s)`."""
    queries_bt, keys_bs = (jnp.atleast_2d(integers(layer, positions)) for positions in (queries, keys))
    return keys_bs[:, None, :] - queries_bt[:, :, None]


def integers(layer: str, positions: Any) -> jax.Array:
    """Returns positions, those up to a length where that is given, after checking that they are integers."""
    if isinstance(positions, int):
        return jnp.arange(check_size(None, layer, "positions", positions, 0), dtype=jnp.int32)
    dtype = getattr(positions, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer):
        found = f"are {described(positions)}" if dtype is None else f"have dtype {dtype}"
        advice = "They should be an array of integers, counted from 0, or an int: how many there are."
        refuse(None, layer, f"the positions {found}", advice)
    return positions
