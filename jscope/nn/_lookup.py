"""The lookup itself: weights from queries and keys, and the mean of values that they weigh.

`jax.nn.dot_product_attention` does it wherever it has what is asked. It has no dropout of the weights, no soft cap and
no values of another size than keys: these are computed here, in the same order and precision. Logits and softmax are in
float32 (or wider), whatever the dtype of the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jscope._scope import Scope
from jscope.nn._layer import described, refuse
from jscope.nn._noise import dropout

Implementation: TypeAlias = Literal["xla", "cudnn"] | None
LogitBias: TypeAlias = jax.Array | Callable[[jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True)
class How:
    """How keys and queries become weights."""

    causal: bool
    window: int | None
    scale: float | None
    soft_cap: float | None
    dropout: float
    training: bool
    implementation: Implementation


def look_up(
    scope: Scope,
    query_bthk: jax.Array,
    key_bshk: jax.Array,
    value_bshv: jax.Array,
    bias_bhts: jax.Array | None,
    mask_bhts: jax.Array | None,
    how: How,
) -> jax.Array:
    """Returns for each query and head the mean of the values, weighted by how well their keys fit: `out_bthv`."""
    if bias_bhts is not None:
        # The logits to which it is added are float32.
        bias_bhts = bias_bhts.astype(np.promote_types(query_bthk.dtype, jnp.float32))
    dropping = how.training and how.dropout > 0
    if not dropping and how.soft_cap is None and value_bshv.shape == key_bshk.shape:
        # JAX counts the neighbours on each side, and a window here the token as well.
        window = None if how.window is None else (how.window - 1, 0 if how.causal else how.window - 1)
        # Where JAX is told to refuse implicit promotion, this function of its own fails in bfloat16 and float16.
        with jax.numpy_dtype_promotion("standard"):
            return jax.nn.dot_product_attention(
                query_bthk,
                key_bshk,
                value_bshv,
                bias_bhts,
                mask_bhts,
                scale=how.scale,
                is_causal=how.causal,
                local_window_size=window,
                implementation=how.implementation,
            )
    if how.implementation == "cudnn":
        problem = 'implementation="cudnn" has neither dropout nor a soft cap, nor values of another size than keys'
        refuse(scope, "attention", problem, "Leave `implementation` out, or do without them.")
    return _by_hand(scope, query_bthk, key_bshk, value_bshv, bias_bhts, mask_bhts, how)


def _by_hand(
    scope: Scope,
    query_bthk: jax.Array,
    key_bshk: jax.Array,
    value_bshv: jax.Array,
    bias_bhts: jax.Array | None,
    mask_bhts: jax.Array | None,
    how: How,
) -> jax.Array:
    (b, t, h, k), (_, s, groups, v) = query_bthk.shape, value_bshv.shape
    # Heads that share keys get an axis of their own. Repeated keys would do, too, but take `r` times the memory.
    query_btgrk = query_bthk.reshape(b, t, groups, h // groups, k)
    wide = np.promote_types(query_bthk.dtype, jnp.float32)
    logits = jnp.einsum("btgrk,bsgk->bgrts", query_btgrk, key_bshk, preferred_element_type=wide)
    logits_bhts = logits.reshape(b, h, t, s) * (1 / math.sqrt(k) if how.scale is None else how.scale)
    if how.soft_cap is not None:
        logits_bhts = how.soft_cap * jnp.tanh(logits_bhts / how.soft_cap)
    if bias_bhts is not None:
        logits_bhts = logits_bhts + jnp.broadcast_to(bias_bhts, logits_bhts.shape)
    for allowed in (mask_bhts, _near(t, s, how)):
        if allowed is not None:
            # Not infinite: where nothing may be seen, the weights are equal rather than undefined. The factor is JAX's;
            # it leaves room for what is subtracted later.
            least = -0.7 * float(jnp.finfo(wide).max)
            logits_bhts = jnp.where(jnp.broadcast_to(allowed, logits_bhts.shape), logits_bhts, least)
    weights_bhts = jax.nn.softmax(logits_bhts, axis=-1)
    weights_bhts = dropout(scope, weights_bhts, how.dropout, training=how.training)
    # Narrow again, as JAX has it: the softmax needs the digits, the mean of the values does not.
    weights = weights_bhts.astype(value_bshv.dtype).reshape(b, groups, h // groups, t, s)
    return jnp.einsum("bgrts,bsgv->btgrv", weights, value_bshv).reshape(b, t, h, v)


def _near(t: int, s: int, how: How) -> jax.Array | None:
    """Returns which keys are near enough to each query, `(1, 1, t, s)`, or None where all are."""
    if not how.causal and how.window is None:
        return None
    queries_t, keys_s = (jnp.arange(size, dtype=jnp.int32) for size in (t, s))
    return visible(queries_t, keys_s, how.causal, how.window)[None, None]


def visible(queries_t: jax.Array, keys_s: jax.Array, causal: bool, window: int | None) -> jax.Array:
    """Returns which keys each query may see, by their positions: `(t, s)`. There is nothing at a negative one."""
    back_ts = queries_t[:, None] - keys_s[None, :]
    near_ts = back_ts >= 0 if causal else jnp.ones(back_ts.shape, bool)
    near_ts = near_ts if window is None else near_ts & (jnp.abs(back_ts) < window)
    return near_ts & (keys_s >= 0)[None, :]


def fitting_mask(scope: Scope, mask: jax.Array | None, shape: tuple[int, ...]) -> jax.Array | None:
    """Returns the mask of the caller with four axes, after checking that it fits."""
    if mask is None:
        return None
    dtype = getattr(mask, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.bool_):
        found = f"is {described(mask)}" if dtype is None else f"has dtype {dtype}"
        advice = "It should be an array of booleans, True where a token may be seen; what is added is a `logit_bias`."
        refuse(scope, "attention", f"the mask {found}", advice)
    full = mask[None, None] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    return _fitting(scope, "mask", mask, full, shape, "(t, s), (b, t, s) or (b, heads, t, s)")


def fitting_bias(
    scope: Scope, bias: LogitBias | None, queries: jax.Array, keys: jax.Array, shape: tuple[int, ...]
) -> jax.Array | None:
    """Returns the bias of the logits, after checking that it fits."""
    if bias is None:
        return None
    array = bias(queries, keys) if callable(bias) else bias
    return _fitting(scope, "bias of the logits", array, array, shape, "(b, heads, t, s)")


def _fitting(
    scope: Scope, what: str, found: jax.Array, full: jax.Array, shape: tuple[int, ...], forms: str
) -> jax.Array:
    sizes = getattr(full, "shape", ())
    if len(sizes) != 4 or any(size not in (1, whole) for size, whole in zip(sizes, shape, strict=True)):
        problem = f"the {what} is {described(found)}, and (b, heads, t, s) is {shape}"
        refuse(scope, "attention", problem, f"Its shape should be {forms}, or have 1 instead of any of these.")
    return full


def both(a: jax.Array | None, b: jax.Array | None) -> jax.Array | None:
    """Returns a mask of what two masks let through, either of which may be None."""
    return b if a is None else a if b is None else a & b
