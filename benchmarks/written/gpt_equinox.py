import equinox as eqx
import jax
import jax.numpy as jnp


class GPT(eqx.Module):
    tokens: eqx.nn.Embedding
    positions: eqx.nn.Embedding
    dropout: eqx.nn.Dropout
    layers: list
    norm: eqx.nn.LayerNorm

    def __init__(self, key, layers=12, heads=12, dim=768, vocab=50257, context=1024):
        tokens_key, positions_key, *keys = jax.random.split(key, 2 + layers)
        self.tokens = eqx.nn.Embedding(vocab, dim, key=tokens_key)
        self.positions = eqx.nn.Embedding(context, dim, key=positions_key)
        self.dropout = eqx.nn.Dropout(0.1)
        self.layers = [Block(heads, dim, key) for key in keys]
        self.norm = eqx.nn.LayerNorm(dim)

    def __call__(self, ids, key=None):
        keys = [None] * (1 + len(self.layers)) if key is None else jax.random.split(key, 1 + len(self.layers))
        x = jax.vmap(self.tokens)(ids) + jax.vmap(self.positions)(jnp.arange(len(ids)))
        x = self.dropout(x, key=keys[0])
        for layer, layer_key in zip(self.layers, keys[1:], strict=True):
            x = layer(x, layer_key)
        return jax.vmap(self.norm)(x) @ self.tokens.weight.T


class Block(eqx.Module):
    attention_norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    mlp_norm: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP
    dropout: eqx.nn.Dropout

    def __init__(self, heads, dim, key):
        attention_key, mlp_key = jax.random.split(key)
        biases = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}
        self.attention_norm = eqx.nn.LayerNorm(dim)
        self.attention = eqx.nn.MultiheadAttention(heads, dim, **biases, key=attention_key)
        self.mlp_norm = eqx.nn.LayerNorm(dim)
        self.mlp = eqx.nn.MLP(dim, dim, 4 * dim, 1, activation=jax.nn.gelu, key=mlp_key)
        self.dropout = eqx.nn.Dropout(0.1)

    def __call__(self, x, key):
        attention_key, mlp_key = (None, None) if key is None else jax.random.split(key)
        y, mask = jax.vmap(self.attention_norm)(x), jnp.tril(jnp.ones((len(x), len(x)), bool))
        x = x + self.dropout(self.attention(y, y, y, mask), key=attention_key)
        y = jax.vmap(self.mlp)(jax.vmap(self.mlp_norm)(x))
        return x + self.dropout(y, key=mlp_key)
