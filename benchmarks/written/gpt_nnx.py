import jax.numpy as jnp
from flax import nnx


class GPT(nnx.Module):
    def __init__(self, rngs, layers=12, heads=12, dim=768, vocab=50257, context=1024):
        self.tokens = nnx.Embed(vocab, dim, rngs=rngs)
        self.positions = nnx.Embed(context, dim, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.layers = nnx.List(Block(heads, dim, rngs) for _ in range(layers))
        self.norm = nnx.LayerNorm(dim, epsilon=1e-5, rngs=rngs)

    def __call__(self, ids):
        x = self.dropout(self.tokens(ids) + self.positions(jnp.arange(ids.shape[1])))
        for layer in self.layers:
            x = layer(x)
        return self.tokens.attend(self.norm(x))


class Block(nnx.Module):
    def __init__(self, heads, dim, rngs):
        self.attention_norm = nnx.LayerNorm(dim, epsilon=1e-5, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(heads, dim, decode=False, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(dim, epsilon=1e-5, rngs=rngs)
        self.hidden = nnx.Linear(dim, 4 * dim, rngs=rngs)
        self.out = nnx.Linear(4 * dim, dim, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x):
        mask = nnx.make_causal_mask(x[..., 0])
        x = x + self.dropout(self.attention(self.attention_norm(x), mask=mask))
        return x + self.dropout(self.out(nnx.gelu(self.hidden(self.mlp_norm(x)))))
