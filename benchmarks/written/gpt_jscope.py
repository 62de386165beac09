import jax.numpy as jnp

from jscope import nn


def gpt(scope, ids, training, layers=12, heads=12, dim=768, vocab=50257, context=1024):
    x = nn.embedding(scope / "tokens", ids, vocab, dim)
    x = x + nn.embedding(scope / "positions", jnp.arange(ids.shape[1]), context, dim)
    x = nn.dropout(scope / "dropout", x, 0.1, training=training)
    for i in range(layers):
        x = block(scope / f"layer_{i}", x, heads, training)
    return nn.unembed(scope / "tokens", nn.layer_norm(scope / "norm", x, epsilon=1e-5), vocab)


def block(scope, x, heads, training):
    y = nn.layer_norm(scope / "attention_norm", x, epsilon=1e-5)
    y = nn.attention(scope / "attention", y, heads, causal=True)
    x = x + nn.dropout(scope / "attention_dropout", y, 0.1, training=training)
    y = nn.layer_norm(scope / "mlp_norm", x, epsilon=1e-5)
    y = nn.mlp(scope / "mlp", y, 4 * x.shape[-1])
    return x + nn.dropout(scope / "mlp_dropout", y, 0.1, training=training)
