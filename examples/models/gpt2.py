"""GPT-2: a decoder with learnt positions, norms first, and logits tied to the embedding.

The layers are one block, scanned; `scanned=False` gives them names of their own, `layers/0`, `layers/1`, ... A cache
for each layer is an argument and a result: with it, the model goes on where it stopped, and reads only what is new.

(Radford et al., 2019, "Language Models are Unsupervised Multitask Learners")
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

import jscope
from jscope import initializers, nn

norm = partial(nn.layer_norm, epsilon=1e-5)


@dataclass(frozen=True)
class Config:
    """The sizes of a model."""

    layers: int = 12
    heads: int = 12
    dim: int = 768
    vocab: int = 50257
    context: int = 1024
    dropout: float = 0.1
    scanned: bool = True


PUBLISHED = {
    "GPT-2": Config(),
    "GPT-2 medium": Config(24, 16, 1024),
    "GPT-2 large": Config(36, 20, 1280),
    "GPT-2 XL": Config(48, 25, 1600),
}


def gpt2(scope, ids_bt, config, *, training=False, caches=None):
    """Returns the logits of the next token at each place; with caches, `(logits, caches)`."""
    scope = scope.with_defaults(initializer=initializers.normal(0.02))
    positions_t = jnp.arange(ids_bt.shape[1]) + (0 if caches is None else caches.length[0])
    x_btd = nn.embedding(scope / "embedding", ids_bt, config.vocab, config.dim)
    x_btd = x_btd + nn.embedding(scope / "positions", positions_t, config.context, config.dim)[None]
    x_btd = nn.dropout(scope / "dropout", x_btd, config.dropout, training=training)

    def block(scope, x_btd, cache):
        feed_forward = partial(nn.mlp, hidden=4 * config.dim)
        options = {"norm": norm, "causal": True, "dropout": config.dropout, "training": training}
        out = nn.transformer_block(scope, x_btd, config.heads, feed_forward, cache=cache, **options)
        return out if cache is not None else (out, None)

    x_btd, caches = through_layers(block, scope / "layers", x_btd, caches, config)
    logits_btv = nn.unembed(scope / "embedding", norm(scope / "norm", x_btd), config.vocab)
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


def empty_caches(config, batch, dtype=jnp.float32):
    """Returns caches that have seen nothing, stacked by layer."""
    cache = nn.KVCache.zeros(batch, config.context, config.heads, config.dim // config.heads, dtype=dtype)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (config.layers, *leaf.shape)), cache)


def generate(params, ids_bt, config, steps):
    """Returns the most likely next `steps` tokens, one by one: `(b, steps)`."""
    logits_btv, caches = jscope.apply(gpt2, params, ids_bt, config, caches=empty_caches(config, len(ids_bt)))

    def step(carry, _):
        logits_bv, caches = carry
        ids_b = logits_bv.argmax(-1)
        logits_btv, caches = jscope.apply(gpt2, params, ids_b[:, None], config, caches=caches)
        return (logits_btv[:, -1], caches), ids_b

    return jax.lax.scan(step, (logits_btv[:, -1], caches), length=steps)[1].T


if __name__ == "__main__":
    for name, config in PUBLISHED.items():
        size = jscope.tree.size(jscope.specs(gpt2, jax.ShapeDtypeStruct((1, 8), jnp.int32), config).shape_dtype())
        print(f"{name:14} {size:14,} parameters")
