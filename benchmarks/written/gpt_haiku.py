import haiku as hk
import jax
import jax.numpy as jnp


def gpt(ids, training, layers=12, heads=12, dim=768, vocab=50257, context=1024):
    tokens = hk.Embed(vocab, dim)
    x = tokens(ids) + hk.Embed(context, dim)(jnp.arange(ids.shape[1]))
    x = dropout(x, training)
    for _ in range(layers):
        x = block(x, heads, training)
    return norm(x) @ tokens.embeddings.T


def block(x, heads, training):
    _, t, d = x.shape
    y = norm(x)
    attention = hk.MultiHeadAttention(heads, d // heads, w_init=hk.initializers.VarianceScaling())
    x = x + dropout(attention(y, y, y, mask=jnp.tril(jnp.ones((1, 1, t, t), bool))), training)
    y = hk.nets.MLP([4 * d, d], activation=jax.nn.gelu)(norm(x))
    return x + dropout(y, training)


def norm(x):
    return hk.LayerNorm(-1, True, True, eps=1e-5)(x)


def dropout(x, training):
    return hk.dropout(hk.next_rng_key(), 0.1, x) if training else x
