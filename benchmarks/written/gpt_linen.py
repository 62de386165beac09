import jax.numpy as jnp
from flax import linen as nn


class GPT(nn.Module):
    layers: int = 12
    heads: int = 12
    dim: int = 768
    vocab: int = 50257
    context: int = 1024

    @nn.compact
    def __call__(self, ids, training):
        tokens = nn.Embed(self.vocab, self.dim)
        x = tokens(ids) + nn.Embed(self.context, self.dim)(jnp.arange(ids.shape[1]))
        x = nn.Dropout(0.1, deterministic=not training)(x)
        for _ in range(self.layers):
            x = Block(self.heads)(x, training)
        return tokens.attend(nn.LayerNorm(epsilon=1e-5)(x))


class Block(nn.Module):
    heads: int

    @nn.compact
    def __call__(self, x, training):
        dropout = nn.Dropout(0.1, deterministic=not training)
        y = nn.LayerNorm(epsilon=1e-5)(x)
        x = x + dropout(nn.MultiHeadDotProductAttention(self.heads)(y, mask=nn.make_causal_mask(x[..., 0])))
        y = nn.Dense(4 * x.shape[-1])(nn.LayerNorm(epsilon=1e-5)(x))
        return x + dropout(nn.Dense(x.shape[-1])(nn.gelu(y)))
