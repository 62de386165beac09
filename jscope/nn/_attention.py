"""Attention is a lookup: each query gets a mean of values, weighted by how well their keys fit.

What may be looked at is said in positions (`causal`, `sliding_window`, a `cache`) or by a mask; what is preferred, by a
bias of the logits. Everything about the tokens themselves is in the four products around the lookup, whose kernels have
an axis for the heads, as in Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias, TypedDict, Unpack, overload

import jax

from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope._util._text import scope_at
from jscope.nn._cache import KVCache, positions_of
from jscope.nn._layer import check_function, check_rank, check_size, check_training, checked_number, named, refuse
from jscope.nn._lookup import How, Implementation, LogitBias, both, fitting_bias, fitting_mask, look_up, visible
from jscope.nn._projections import Projections

Rotary: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]


# With a cache there are two results, which only overloads tell a type checker; this keeps them from repeating all
# keywords.
class AttentionOptions(TypedDict, total=False):
    """The keywords of `attention` but for `cache`."""

    context: jax.Array | None
    key_dim: int | None
    value_dim: int | None
    num_key_value_heads: int | None
    units: int | None
    causal: bool
    sliding_window: int | None
    mask: jax.Array | None
    logit_bias: LogitBias | None
    rotary: Rotary | None
    positions: jax.Array | None
    dropout: float
    training: bool | None
    soft_cap: float | None
    scale: float | None
    use_bias: bool
    implementation: Implementation
    kernel_initializer: Initializer | Off | None
    bias_initializer: Initializer | Off | None
    axes: Axes | None


@overload
def attention(
    scope: Scope, x: jax.Array, num_heads: int, *, cache: None = None, **options: Unpack[AttentionOptions]
) -> jax.Array: ...


@overload
def attention(
    scope: Scope, x: jax.Array, num_heads: int, *, cache: KVCache, **options: Unpack[AttentionOptions]
) -> tuple[jax.Array, KVCache]: ...


@named
def attention(
    scope: Scope,
    x: jax.Array,
    num_heads: int,
    *,
    cache: KVCache | None = None,
    context: jax.Array | None = None,
    key_dim: int | None = None,
    value_dim: int | None = None,
    num_key_value_heads: int | None = None,
    units: int | None = None,
    causal: bool = False,
    sliding_window: int | None = None,
    mask: jax.Array | None = None,
    logit_bias: LogitBias | None = None,
    rotary: Rotary | None = None,
    positions: jax.Array | None = None,
    dropout: float = 0.0,
    training: bool | None = None,
    soft_cap: float | None = None,
    scale: float | None = None,
    use_bias: bool = True,
    implementation: Implementation = None,
    kernel_initializer: Initializer | Off | None = None,
    bias_initializer: Initializer | Off | None = None,
    axes: Axes | None = ("embed", "heads", None),
) -> Any:
    """Multi-head attention, also with grouped queries, of tokens to each other or a context: `(b, t, d) -> (b, t, u)`.

    >>> def model(scope, x_btd):
    ...     return jscope.nn.attention(scope / "attention", x_btd, 4, causal=True, rotary=jscope.nn.rotary)
    >>> x_btd = jnp.ones((2, 5, 32))
    >>> params = jscope.init(model, jax.random.key(0), x_btd)
    >>> params["attention"]["query"]["kernel"].shape, jscope.apply(model, params, x_btd).shape
    ((32, 4, 8), (2, 5, 32))
    >>> list(params["attention"])
    ['query', 'key', 'value', 'attention_output']

    Variables: `query/kernel` (d, heads, k), `query/bias` (heads, k); `key` and `value` likewise; and
    `attention_output/kernel` (heads, v, u), `attention_output/bias` (u,). (Keras's `MultiHeadAttention` and
    `GroupQueryAttention`; Vaswani et al., 2017, https://arxiv.org/abs/1706.03762; Ainslie et al., 2023,
    https://arxiv.org/abs/2305.13245.)

    Args:
      scope: Where its variables are.
      x: The tokens that look, of shape (b, t, d).
      num_heads: The number of heads.
      cache: Keys and values of earlier tokens, which `x` continues: each token sees those before it and itself. The
        result is then a pair, `(out, cache)`. Where its length is traced, a full cache keeps the newest tokens in its
        last slots.
      context: The tokens that are looked at, of shape (b, s, c); `x` itself if None.
      key_dim: The size k of a query and a key; d / heads if None.
      value_dim: The size v of a value; `key_dim` if None.
      num_key_value_heads: The number of heads of keys and values, each of which serves as many heads of queries;
        `num_heads` if None.
      units: The size u of the output; d if None.
      causal: Whether a token sees only tokens up to its own position.
      sliding_window: If given, a token sees only tokens less than so many positions away.
      mask: What may be seen: booleans of shape (t, s), (b, t, s) or (b, heads, t, s), or 1 instead of any of these.
        A token that may see nothing gets the mean of all values. With a cache, `s` is its size, slot by slot.
      logit_bias: Added to the logits: an array of shape (b, heads, t, s), or 1 instead of any of these; or a function
        of the positions of queries and keys, such as `functools.partial(nn.alibi, num_heads)`.
      rotary: Turns queries and keys, `(x_bthk, positions) -> x_bthk`: `nn.rotary`, or a `functools.partial` of it.
      positions: Those of the tokens for `rotary` and `logit_bias`, integers (t,) or (b, t); if None, 0, 1, ..., after
        those in the cache.
      dropout: The part of the weights that are dropped in training.
      training: Whether this is training; must be said where `dropout` is not 0.
      soft_cap: If given, logits x become `soft_cap * tanh(x / soft_cap)`.
      scale: What products of queries and keys are multiplied by; 1 / sqrt(k) if None.
      use_bias: Whether queries, keys, values and output have biases.
      implementation: As in `jax.nn.dot_product_attention`.
      kernel_initializer: How all kernels start; None for the scope's default, else Keras's.
      bias_initializer: How all biases start; None for zeros.
      axes: Logical names of the axes of `query/kernel`; the others follow, but where keys and values have fewer heads,
        these are `"kv_heads"`. None leaves all to the scope's partitioner.
    """
    check_rank(scope, "attention", x, "(batch, tokens, features)", 3)
    how = How(causal, sliding_window, scale, soft_cap, dropout, bool(training), implementation)
    source = x if context is None else context
    sizes = _sizes(scope, x, source, num_heads, num_key_value_heads, key_dim, value_dim)
    _check_options(scope, how, training, cache, context, rotary)
    project = Projections(scope, use_bias, kernel_initializer, bias_initializer, axes)
    few = project if sizes.groups == sizes.heads else project.of_groups()
    query_bthk = project.into("query", x, sizes.heads, sizes.key)
    key_bshk = few.into("key", source, sizes.groups, sizes.key)
    value_bshv = few.into("value", source, sizes.groups, sizes.value)
    # Only for what looks at them: without, the program has no `iota`, and is what one would write by hand.
    placed = rotary is not None or callable(logit_bias)
    queries: Any = positions_of(x, positions, cache) if placed or positions is not None else None
    keys: Any = queries if context is None else positions_of(source, None, None) if placed else None
    if rotary is not None:
        query_bthk, key_bshk = rotary(query_bthk, queries), rotary(key_bshk, keys)
    mask_bhts = None
    if cache is not None:
        # Keys are turned before they go into the cache, so that each is turned once, and not again by each query.
        seen, cache = cache.see(key_bshk, value_bshv, sliding_window, scope_at(scope.path))
        key_bshk, value_bshv = (each.astype(query_bthk.dtype) for each in (seen.key_bshk, seen.value_bshk))
        # JAX counts the queries of `is_causal` from 0, but these begin at the length of the cache, and in a ring the
        # keys are not even in order: so the mask says what is seen.
        queries, keys, how = seen.queries_t, seen.keys_s, replace(how, causal=False, window=None)
        mask_bhts = visible(queries, keys, True, sliding_window)[None, None]
    shape = (x.shape[0], num_heads, x.shape[1], key_bshk.shape[1])
    mask_bhts = both(mask_bhts, fitting_mask(scope, mask, shape))
    bias_bhts = fitting_bias(scope, logit_bias, queries, keys, shape)
    looked_up = look_up(scope, query_bthk, key_bshk, value_bshv, bias_bhts, mask_bhts, how)
    units = x.shape[-1] if units is None else check_size(scope, "attention", "units", units)
    out_btu = project.out("attention_output", looked_up, units)
    return out_btu if cache is None else (out_btu, cache)


class _Sizes(NamedTuple):
    heads: int
    groups: int
    key: int
    value: int


def _sizes(
    scope: Scope, x: jax.Array, source: jax.Array, heads: Any, groups: Any, key_dim: Any, value_dim: Any
) -> _Sizes:
    """Returns how many heads there are, and how large, after checking that the numbers fit."""
    check_rank(scope, "attention", source, "(batch, tokens, features)", 3)
    if source.shape[0] != x.shape[0]:
        problem = f"the context has shape {source.shape}, the input {x.shape}"
        refuse(scope, "attention", problem, "They should have as many examples: their first axes should agree.")
    check_size(scope, "attention", "num_heads", heads)
    groups = heads if groups is None else check_size(scope, "attention", "num_key_value_heads", groups)
    if heads % groups:
        problem = f"{heads} heads are not a multiple of {groups} heads of keys and values"
        refuse(scope, "attention", problem, "Each of these serves the same number of heads: let `num_heads` be one.")
    if key_dim is None and x.shape[-1] % heads:
        problem = f"{x.shape[-1]} features cannot be divided among {heads} heads"
        refuse(scope, "attention", problem, "Say the size of a head by `key_dim=`, or take another number of heads.")
    key_dim = x.shape[-1] // heads if key_dim is None else check_size(scope, "attention", "key_dim", key_dim)
    value_dim = key_dim if value_dim is None else check_size(scope, "attention", "value_dim", value_dim)
    return _Sizes(heads, groups, key_dim, value_dim)


def _check_options(scope: Scope, how: How, training: Any, cache: Any, context: Any, rotary: Any) -> None:
    """Raises unless the options are what they should be, and go together."""
    if rotary is not None:
        check_function(scope, "attention", "rotary", rotary, "It should be one, such as `rotary=nn.rotary`.")
    if how.soft_cap is not None and checked_number(scope, "attention", "soft_cap", how.soft_cap) == 0:
        advice = "It should be positive, the size that logits approach; None for no cap."
        refuse(scope, "attention", f"`soft_cap` is {how.soft_cap}", advice)
    checked_number(scope, "attention", "dropout", how.dropout, 0, 1)
    if how.window is not None:
        check_size(scope, "attention", "sliding_window", how.window)
    if how.dropout:
        check_training(scope, "attention", training)
    if cache is not None and not isinstance(cache, KVCache):
        refuse(scope, "attention", f"`cache` is a `{type(cache).__name__}`", "It should be an `nn.KVCache`.")
    if cache is not None and context is not None:
        problem = "a cache continues `x` itself, and there is a context as well"
        refuse(scope, "attention", problem, "Look at the two in two layers, one with `cache=` and one with `context=`.")
