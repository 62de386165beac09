"""A decoder like Llama: grouped queries, rotary positions, RMS norms, SwiGLU, no biases; with a window, Mistral.

The layers are one block, scanned; `scanned=False` gives them names of their own, `layers/0`, `layers/1`, ... A cache
for each layer is an argument and a result: with it, the model goes on where it stopped, and reads only what is new.

(Touvron et al., 2023, https://arxiv.org/abs/2307.09288; Jiang et al., 2023, https://arxiv.org/abs/2310.06825)
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

import jscope
from jscope import initializers, nn


@dataclass(frozen=True)
class Config:
    """The sizes of a model."""

    layers: int = 32
    dim: int = 4096
    heads: int = 32
    kv_heads: int = 8
    hidden: int = 14336
    vocab: int = 32000
    base: float = 10000.0
    epsilon: float = 1e-5
    window: int | None = None
    head_dim: int | None = None
    tied: bool = False
    scanned: bool = True


PUBLISHED = {
    "TinyLlama 1.1B": Config(22, 2048, kv_heads=4, hidden=5632),
    "Llama 2 7B": Config(kv_heads=32, hidden=11008),
    "Llama 2 70B": Config(80, 8192, 64, 8, 28672),
    "Llama 3 8B": Config(vocab=128256, base=500000.0),
    "Mistral 7B": Config(window=4096),
}


def llama(scope, ids_bt, config, *, caches=None):
    """Returns the logits of the next token at each place; with caches, `(logits, caches)`."""
    scope = scope.with_defaults(initializer=initializers.normal(0.02))
    norm = partial(nn.rms_norm, epsilon=config.epsilon)
    options = {
        "norm": norm,
        "num_key_value_heads": config.kv_heads,
        "key_dim": config.head_dim,
        "rotary": partial(nn.rotary, base=config.base),
        "causal": True,
        "sliding_window": config.window,
        "use_bias": False,
    }

    def block(scope, x_btd, cache):
        feed_forward = partial(nn.glu, hidden=config.hidden)
        out = nn.transformer_block(scope, x_btd, config.heads, feed_forward, cache=cache, **options)
        return out if cache is not None else (out, None)

    x_btd = nn.embedding(scope / "embedding", ids_bt, config.vocab, config.dim)
    x_btd, caches = through_layers(block, scope / "layers", x_btd, caches, config)
    x_btd = norm(scope / "norm", x_btd)
    if config.tied:
        logits_btv = nn.unembed(scope / "embedding", x_btd, config.vocab)
    else:
        logits_btv = nn.dense(scope / "logits", x_btd, config.vocab, use_bias=False)
    return logits_btv if caches is None else (logits_btv, caches)


def through_layers(block, scope, x_btd, caches, config):
    """Runs `block(scope, x, cache) -> (x, cache)` for each layer, with caches stacked on the first axis."""
    if config.scanned:
        return jscope.scan(block, scope, x_btd, caches, length=config.layers)
    after = []
    for i in range(config.layers):
        x_btd, cache = block(scope / str(i), x_btd, jax.tree.map(lambda leaf, i=i: leaf[i], caches))
        after.append(cache)
    return x_btd, None if caches is None else jax.tree.map(lambda *leaves: jnp.stack(leaves), *after)


def empty_caches(config, batch, size, dtype=jnp.float32):
    """Returns caches for `size` tokens, or for the window if that is smaller, stacked by layer."""
    size = size if config.window is None else min(size, config.window)
    cache = nn.KVCache.zeros(batch, size, config.kv_heads, config.head_dim or config.dim // config.heads, dtype=dtype)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (config.layers, *leaf.shape)), cache)


def generate(params, ids_bt, config, steps):
    """Returns the most likely next `steps` tokens, one by one: `(b, steps)`."""
    caches = empty_caches(config, len(ids_bt), ids_bt.shape[1] + steps)
    logits_btv, caches = jscope.apply(llama, params, ids_bt, config, caches=caches)

    def step(carry, _):
        logits_bv, caches = carry
        ids_b = logits_bv.argmax(-1)
        logits_btv, caches = jscope.apply(llama, params, ids_b[:, None], config, caches=caches)
        return (logits_btv[:, -1], caches), ids_b

    return jax.lax.scan(step, (logits_btv[:, -1], caches), length=steps)[1].T


if __name__ == "__main__":
    for name, config in PUBLISHED.items():
        size = jscope.tree.size(jscope.specs(llama, jax.ShapeDtypeStruct((1, 8), jnp.int32), config).shape_dtype())
        print(f"{name:14} {size:14,} parameters")
