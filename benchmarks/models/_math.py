"""The arithmetic that all libraries share: pure functions of arrays.

What differs between two adapters is where the arrays come from, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

weights = jax.nn.initializers.glorot_uniform()
embeddings = jax.nn.initializers.normal(0.02)
zeros = jax.nn.initializers.zeros
ones = jax.nn.initializers.ones
gelu = jax.nn.gelu


def dense(x, w, b):
    """An affine map of the last axis."""
    return x @ w + b


def norm(x, scale, offset):
    """Layer normalization of the last axis."""
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-6) * scale + offset


@dataclass(frozen=True)
class Attend:
    """Causal attention on arrays of shape (batch, time, width).

    Attributes:
      heads: How many heads.
      kernel: Who computes it: "plain" einsums, or an `implementation` of `jax.nn.dot_product_attention`.
    """

    heads: int = 4
    kernel: str = "plain"

    def __call__(self, q, k, v):
        batch, time, width = q.shape
        q, k, v = (a.reshape(batch, time, self.heads, width // self.heads) for a in (q, k, v))
        if self.kernel != "plain":
            # cuDNN knows 16 bits only, and some libraries run their models to initialize them, in 32.
            kernel = self.kernel if q.dtype == jnp.bfloat16 else "xla"
            out = jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation=kernel)
            return out.reshape(batch, time, width)
        logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (width // self.heads) ** -0.5
        causal = jnp.tril(jnp.ones((time, time), bool))
        logits = jnp.where(causal, logits, jnp.finfo(logits.dtype).min)
        return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), v).reshape(batch, time, width)


def affine(x, scale, offset):
    """A scale and a shift: the least that uses two variables."""
    return x * scale + offset


def nothing(x, scale, offset):
    """Gives back its input: what is left of a wide model is reading its variables."""
    return x


def embed(tokens, table, positions):
    """Returns the embeddings of tokens and of where they stand."""
    return table[tokens] + positions[: tokens.shape[1]]


def logits(x, table):
    """Returns logits by the table that embeds, in float32 for the loss."""
    return jnp.einsum("btd,vd->btv", x, table, preferred_element_type=jnp.float32)


def cross_entropy(logits, tokens):
    """Returns the mean loss of predicting each token from those before it."""
    logits = logits[:, :-1]
    picked = jnp.take_along_axis(logits, tokens[:, 1:, None], -1)[..., 0]
    return (jax.nn.logsumexp(logits, -1) - picked).mean()


def loss(out):
    """A scalar that depends on all outputs."""
    return jnp.square(out).mean()
