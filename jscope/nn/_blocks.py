"""What transformers are made of, put together: feed-forward networks, and the block of both.

These are functions of a scope like yours would be: where a model wants something else, copy the few lines and change
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, Unpack, overload

import jax

from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._attention import AttentionOptions, attention
from jscope.nn._cache import KVCache
from jscope.nn._dense import dense
from jscope.nn._layer import cast, check_function, check_rank, check_shape, named, one_operation
from jscope.nn._noise import dropout
from jscope.nn._norm import layer_norm

Activation: TypeAlias = Callable[[jax.Array], jax.Array]
Layer: TypeAlias = Callable[[Scope, jax.Array], jax.Array]


@named
def mlp(
    scope: Scope,
    x: jax.Array,
    hidden: int,
    units: int | None = None,
    *,
    activation: Activation = jax.nn.gelu,
    use_bias: bool = True,
    kernel_initializer: Initializer | Off | None = None,
    bias_initializer: Initializer | Off | None = None,
    axes: Axes | None = ("embed", "mlp"),
) -> jax.Array:
    """Two dense layers with an activation between them: `(..., d) -> (..., u)`.

    >>> params = jscope.init(jscope.nn.mlp, jax.random.key(0), jnp.ones((2, 8)), 32)
    >>> params["hidden"]["kernel"].shape, params["out"]["kernel"].shape
    ((8, 32), (32, 8))

    Args:
      scope: Has the scopes `hidden` and `out`, with `kernel` and `bias` each.
      x: The input, of any rank from 1 on.
      hidden: The size between the two layers.
      units: The size u of the output; d if None.
      activation: What is applied between the two layers.
      use_bias: Whether the layers have biases.
      kernel_initializer: How both kernels start; None for the scope's default, else Keras's.
      bias_initializer: How both biases start; None for zeros.
      axes: Logical names of the axes of `hidden/kernel`; `out/kernel` has them reversed. None leaves them to the
        scope's partitioner.
    """
    options = {"use_bias": use_bias, "kernel_initializer": kernel_initializer, "bias_initializer": bias_initializer}
    x_h = dense(scope / "hidden", x, hidden, activation=activation, axes=axes, **options)
    return dense(scope / "out", x_h, x.shape[-1] if units is None else units, axes=axes and axes[::-1], **options)


@named
def glu(
    scope: Scope,
    x: jax.Array,
    hidden: int,
    units: int | None = None,
    *,
    activation: Activation = jax.nn.silu,
    use_bias: bool = False,
    kernel_initializer: Initializer | Off | None = None,
    bias_initializer: Initializer | Off | None = None,
    axes: Axes | None = ("embed", "mlp"),
) -> jax.Array:
    """A gated feed-forward network: `out(activation(gate(x)) * hidden(x))`, of shape `(..., d) -> (..., u)`.

    >>> params = jscope.init(jscope.nn.glu, jax.random.key(0), jnp.ones((2, 8)), 32)
    >>> jscope.tree.names(params)
    ['gate/kernel', 'hidden/kernel', 'out/kernel']

    With `jax.nn.silu` it is called SwiGLU, with `jax.nn.gelu` GeGLU, with `jax.nn.sigmoid` GLU.

    Args:
      scope: Has the scopes `gate`, `hidden` and `out`, with `kernel` each, and `bias` if asked for.
      x: The input, of any rank from 1 on.
      hidden: The size between the layers.
      units: The size u of the output; d if None.
      activation: What is applied to the gate.
      use_bias: Whether the layers have biases.
      kernel_initializer: How all kernels start; None for the scope's default, else Keras's.
      bias_initializer: How all biases start; None for zeros.
      axes: Logical names of the axes of `hidden/kernel`; `out/kernel` has them reversed. None leaves them to the
        scope's partitioner.

    (Shazeer, 2020, https://arxiv.org/abs/2002.05202)
    """
    options = {"use_bias": use_bias, "kernel_initializer": kernel_initializer, "bias_initializer": bias_initializer}
    gate_h = dense(scope / "gate", x, hidden, activation=activation, axes=axes, **options)
    x_h = _gated(dense(scope / "hidden", x, hidden, axes=axes, **options), gate_h)
    return dense(scope / "out", x_h, x.shape[-1] if units is None else units, axes=axes and axes[::-1], **options)


@one_operation
def _gated(x: jax.Array, gate: jax.Array) -> jax.Array:
    # In the dtype of `x`, also if the activation has another one.
    return jax.lax.mul(cast(gate, x.dtype), x)


@overload
def transformer_block(
    scope: Scope,
    x: jax.Array,
    num_heads: int,
    feed_forward: Layer,
    *,
    norm: Layer = ...,
    norm_first: bool = ...,
    context_mask: jax.Array | None = ...,
    cache: None = None,
    **options: Unpack[AttentionOptions],
) -> jax.Array: ...


@overload
def transformer_block(
    scope: Scope,
    x: jax.Array,
    num_heads: int,
    feed_forward: Layer,
    *,
    norm: Layer = ...,
    norm_first: bool = ...,
    context_mask: jax.Array | None = ...,
    cache: KVCache,
    **options: Unpack[AttentionOptions],
) -> tuple[jax.Array, KVCache]: ...


@named
def transformer_block(
    scope: Scope,
    x: jax.Array,
    num_heads: int,
    feed_forward: Layer,
    *,
    norm: Layer = layer_norm,
    norm_first: bool = True,
    context_mask: jax.Array | None = None,
    cache: KVCache | None = None,
    **options: Unpack[AttentionOptions],
) -> Any:
    """Attention and a feed-forward network, each with a norm, dropout and a residual connection: `(b, t, d)` both ways.

    >>> def block(scope, x_btd):
    ...     feed_forward = lambda scope, x_btd: jscope.nn.mlp(scope, x_btd, 64)
    ...     return jscope.nn.transformer_block(scope, x_btd, 4, feed_forward, causal=True)
    >>> params = jscope.init(block, jax.random.key(0), jnp.ones((2, 5, 16)))
    >>> list(params)
    ['attention_norm', 'attention', 'mlp_norm', 'mlp']

    Scopes: `attention` and `attention_norm`; with a `context`, `cross_attention` and `cross_attention_norm`; `mlp` and
    `mlp_norm`.

    Args:
      scope: Where they are.
      x: The tokens, of shape (b, t, d).
      num_heads: As for `nn.attention`.
      feed_forward: A function of a scope and tokens: `nn.mlp` or `nn.glu` with its sizes, `nn.mixture_of_experts`, ...
      norm: `nn.layer_norm`, `nn.rms_norm`, or a `functools.partial` of one.
      norm_first: Whether norms stand at the entry of each branch (as in GPT-2) rather than after the sum (as in BERT).
      context_mask: Like `mask`, of what may be seen of the `context`.
      cache: As for `nn.attention`; the result is then a pair `(out, cache)`.
      **options: Those of `nn.attention`. With a `context` there are two attentions: the first looks at `x`, with all
        options, the second at the context, without those that speak of positions. `dropout` is that of weights, and of
        the outputs of each branch as well.

    (Vaswani et al., 2017, https://arxiv.org/abs/1706.03762; Xiong et al., 2020, https://arxiv.org/abs/2002.04745)
    """
    context, rate = options.pop("context", None), options.get("dropout", 0.0)
    attend: Any = attention
    training: Any = options.get("training")

    layer, advice = "transformer_block", "It should be a function of a scope and tokens, `f(scope, x) -> y`."
    check_rank(scope, layer, x, "(batch, tokens, features)", 3)
    check_function(scope, layer, "feed_forward", feed_forward, advice)
    check_function(scope, layer, "norm", norm, advice)

    def normed(name: str, x: jax.Array) -> jax.Array:
        y = norm(scope / f"{name}_norm", x)
        check_shape(scope, layer, "`norm`", y, x.shape, f"{x.shape}, that of its input")
        return y

    def enter(name: str, x: jax.Array) -> jax.Array:
        return normed(name, x) if norm_first else x

    def leave(name: str, x: jax.Array, y: jax.Array) -> jax.Array:
        # The sum would broadcast what has an axis of size 1, or fewer.
        branch = "`feed_forward`" if name == "mlp" else "the attention"
        check_shape(scope, layer, branch, y, x.shape, f"{x.shape}, that of the block's input")
        # Without a rate, nobody has to say whether this is training. With one, each branch draws in a scope of its own:
        # what it drops does not depend on what else there is in the block.
        x = x + (dropout(scope / f"{name}_dropout", y, rate, training=training) if rate else y)
        return x if norm_first else normed(name, x)

    y = attend(scope / "attention", enter("attention", x), num_heads, cache=cache, **options)
    y, cache = (y, None) if cache is None else y
    x = leave("attention", x, y)
    if context is not None:
        # The tokens of a context are not in one row with those of `x`; what speaks of distances between them would mean
        # nothing.
        across: Any = {name: value for name, value in options.items() if name not in _OF_POSITIONS}
        options_across = {"context": context, "mask": context_mask, **across}
        y = attend(scope / "cross_attention", enter("cross_attention", x), num_heads, **options_across)
        x = leave("cross_attention", x, y)
    x = leave("mlp", x, feed_forward(scope / "mlp", enter("mlp", x)))
    return x if cache is None else (x, cache)


_OF_POSITIONS = {"causal", "sliding_window", "mask", "logit_bias", "rotary", "positions"}
