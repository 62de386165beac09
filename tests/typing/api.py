"""User code that pyright must accept, and with the types that users would expect. Never run, only checked."""

from __future__ import annotations

from typing import Any, assert_type

import jax

import jscope
from jscope import nn


def dense(scope: jscope.Scope, x: jax.Array, features: int) -> jax.Array:
    w_df = scope.get_variable("w", (x.shape[-1], features), regularizer=jscope.regularizers.l2(1e-4))
    b_f = scope.get_variable("b", features, initializer=jscope.initializers.zeros, regularizer=jscope.OFF)
    assert_type(w_df, jax.Array)
    return x @ w_df + b_f


def model(scope: jscope.Scope, x: jax.Array, *, is_training: bool = False) -> tuple[jax.Array, int]:
    with scope.variable_scope("body", reuse=jscope.AUTO_REUSE, initializer=jax.nn.initializers.he_normal()) as body:
        x = dense(body / "hidden", x, 8)
    frozen = scope.with_defaults(custom_getter=jscope.getters.freeze(), dtype=jscope.OFF)
    if is_training and scope.has_rng:
        x = x * jax.random.bernoulli(scope.rng("dropout"), 0.5, x.shape)
    return dense(frozen / scope.unique("out"), x, 2), 3


@jscope.named
def normed(scope: jscope.Scope, x: jax.Array) -> jax.Array:
    mean = scope.get_variable("mean", x.shape[-1:], trainable=False)
    scope.assign("mean", mean + x.mean(0))
    scope.sow("x", x, reduce=lambda old, new: old + new)
    return x - mean


def bound(key: jax.Array, x: jax.Array) -> None:
    transformed = jscope.transform(model)
    params = transformed.init(key, x, is_training=True)
    assert_type(params, dict[str, Any])
    assert_type(transformed.apply(params, x), tuple[jax.Array, int])
    assert_type(transformed.with_rng(key).apply(params, x, is_training=True), tuple[jax.Array, int])
    (out, number), captured = transformed.capture("x$").apply(params, x)
    assert_type(out, jax.Array)
    assert_type(number, int)
    assert_type(captured, dict[str, Any])

    transformed.apply(params, x, is_training="yes")  # pyright: ignore[reportArgumentType]
    transformed.apply(params)  # pyright: ignore[reportCallIssue]
    transformed.init(key, x, training=True)  # pyright: ignore[reportCallIssue]


def unpacked(key: jax.Array, x: jax.Array) -> None:
    init, apply = jscope.transform(model)
    params = init(key, x)
    assert_type(apply(params, x), tuple[jax.Array, int])
    apply(params, 3)  # pyright: ignore[reportArgumentType]


def with_state(key: jax.Array, x: jax.Array) -> None:
    transformed = jscope.transform_with_state(normed)
    params, state = transformed.init(key, x)
    out, state = transformed.with_axes(batch=8).apply(params, state, x)
    assert_type(out, jax.Array)
    assert_type(state, dict[str, Any])
    init, apply = transformed
    assert_type(apply(*init(key, x), x), tuple[jax.Array, dict[str, Any]])


def unbound(key: jax.Array, x: jax.Array) -> None:
    params = jscope.init(dense, key, x, 3)
    assert_type(jscope.apply(dense, params, x, 3), jax.Array)
    decode = jscope.transform(jscope.at("decoder", dense))
    assert_type(decode.apply({"decoder": params}, x, features=3), jax.Array)
    jscope.apply(dense, params, x, "3")  # pyright: ignore[reportArgumentType]


def specs(key: jax.Array) -> None:
    found = jscope.specs(dense, jax.ShapeDtypeStruct((1, 2), "float32"), 3)
    assert_type(found, jscope.Specs)
    assert_type(found.params.materialize(key), dict[str, Any])
    assert_type(found.materialize(key, to="x.safetensors"), dict[str, Any])
    assert_type(found.regularization_loss({}), jax.Array)
    found.check({})


def getter(getter: Any, name: str, /, **options: Any) -> jax.Array:
    return 2.0 * getter(name, **options)


def getters(scope: jscope.Scope) -> jscope.Scope:
    return scope.with_defaults(custom_getter=getter, reuse=True)


def feed_forward(scope: jscope.Scope, x: jax.Array) -> jax.Array:
    return nn.glu(scope, x, 4 * x.shape[-1])


def layers(scope: jscope.Scope, x: jax.Array, cache: nn.KVCache) -> None:
    assert_type(nn.attention(scope, x, 4, causal=True, rotary=nn.rotary), jax.Array)
    assert_type(nn.attention(scope, x, 4, cache=cache), tuple[jax.Array, nn.KVCache])
    assert_type(nn.transformer_block(scope, x, 4, feed_forward, dropout=0.1, training=True), jax.Array)
    assert_type(nn.transformer_block(scope, x, 4, feed_forward, cache=cache), tuple[jax.Array, nn.KVCache])
    (h, c), y = nn.lstm(scope, None, x, 8)
    assert_type((h, c, y), tuple[jax.Array, jax.Array, jax.Array])
    nn.attention(scope, x, "4")  # pyright: ignore[reportArgumentType]
