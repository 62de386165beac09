"""BERT: an encoder that sees both sides, with norms after each branch, trained to fill gaps.

(Devlin et al., 2018, https://arxiv.org/abs/1810.04805)
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

import jscope
from jscope import initializers, nn

norm = partial(nn.layer_norm, epsilon=1e-12)


@dataclass(frozen=True)
class Config:
    """The sizes of a model."""

    layers: int = 12
    heads: int = 12
    dim: int = 768
    vocab: int = 30522
    context: int = 512
    dropout: float = 0.1
    approximate: bool = False  # Whether gelu is the formula by tanh, as in Google's code; Hugging Face's is exact.
    scanned: bool = True


def gelu(config):
    """Returns the activation."""
    return partial(jax.nn.gelu, approximate=config.approximate)


PUBLISHED = {"BERT base": Config(), "BERT large": Config(24, 16, 1024)}


def bert(scope, ids_bt, segments_bt, valid_bt, config, *, training=False):
    """Returns a vector for each token, `(b, t, d)`, and one for each text, `(b, d)`.

    `segments_bt` are 0 for the first text of a pair and 1 for the second; `valid_bt` are false for padding.
    """
    scope = scope.with_defaults(initializer=initializers.truncated_normal(0.02))
    positions_t = jnp.arange(ids_bt.shape[1])
    x_btd = nn.embedding(scope / "embedding", ids_bt, config.vocab, config.dim)
    x_btd = x_btd + nn.embedding(scope / "segments", segments_bt, 2, config.dim)
    x_btd = x_btd + nn.embedding(scope / "positions", positions_t, config.context, config.dim)[None]
    x_btd = norm(scope / "embedding_norm", x_btd)
    x_btd = nn.dropout(scope / "dropout", x_btd, config.dropout, training=training)

    def block(scope, x_btd):
        feed_forward = partial(nn.mlp, hidden=4 * config.dim, activation=gelu(config))
        options = {"norm": norm, "norm_first": False, "dropout": config.dropout, "training": training}
        return nn.transformer_block(scope, x_btd, config.heads, feed_forward, mask=valid_bt[:, None], **options)

    x_btd = jscope.layers(block, config.layers, scanned=config.scanned)(scope / "layers", x_btd)
    return x_btd, nn.dense(scope / "pooler", x_btd[:, 0], config.dim, activation=jnp.tanh)


def pretraining(scope, ids_bt, segments_bt, valid_bt, config, *, training=False):
    """Returns the logits of each token, `(b, t, vocab)`, and of whether the second text follows the first, `(b, 2)`."""
    scope = scope.with_defaults(initializer=initializers.truncated_normal(0.02))
    x_btd, pooled_bd = bert(scope, ids_bt, segments_bt, valid_bt, config, training=training)
    x_btd = norm(scope / "fill_norm", nn.dense(scope / "fill", x_btd, config.dim, activation=gelu(config)))
    logits_btv = nn.bias(scope / "fill_logits", nn.unembed(scope / "embedding", x_btd, config.vocab))
    return logits_btv, nn.dense(scope / "follows", pooled_bd, 2)


if __name__ == "__main__":
    ids_bt, valid_bt = (jax.ShapeDtypeStruct((1, 8), dtype) for dtype in (jnp.int32, bool))
    for name, config in PUBLISHED.items():
        specs = jscope.specs(bert, ids_bt, ids_bt, valid_bt, config)
        print(f"{name:14} {jscope.tree.size(specs.shape_dtype()):14,} parameters")
