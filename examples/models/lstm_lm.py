"""A language model of two layers of LSTM, with dropout between layers but not between steps.

What the model remembers is an argument and a result, so that training goes through a long text piece by piece, each
beginning where the one before has ended.

(Zaremba et al., 2014, https://arxiv.org/abs/1409.2329)
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

import jscope
from jscope import initializers, nn


@dataclass(frozen=True)
class Config:
    """The sizes of a model."""

    dim: int = 1500
    dropout: float = 0.65
    start: float = 0.04
    layers: int = 2
    vocab: int = 10000
    scanned: bool = True


PUBLISHED = {"medium": Config(650, 0.5, 0.05), "large": Config()}


def language_model(scope, ids_bt, carries, config, *, training=False):
    """Returns the logits of the next token at each place, and what is remembered: `(logits_btv, carries)`."""
    scope = scope.with_defaults(initializer=initializers.uniform(-config.start, config.start))
    x_btd = nn.embedding(scope / "embedding", ids_bt, config.vocab, config.dim)

    def layer(scope, x_btd, carry):
        x_btd = nn.dropout(scope / "dropout", x_btd, config.dropout, training=training)
        return nn.recurrent(nn.lstm, scope, x_btd, config.dim, initial=carry, unit_forget_bias=False)

    x_btd, carries = through_layers(layer, scope / "layers", x_btd, carries, config)
    x_btd = nn.dropout(scope / "dropout", x_btd, config.dropout, training=training)
    return nn.dense(scope / "logits", x_btd, config.vocab), carries


def through_layers(layer, scope, x_btd, carries, config):
    """Runs `layer(scope, x, carry) -> (x, carry)` for each layer, with carries stacked on the first axis."""
    if config.scanned:
        return jscope.scan(layer, scope, x_btd, carries, length=config.layers)
    after = []
    for i in range(config.layers):
        x_btd, carry = layer(scope / str(i), x_btd, jax.tree.map(lambda leaf, i=i: leaf[i], carries))
        after.append(carry)
    return x_btd, jax.tree.map(lambda *leaves: jnp.stack(leaves), *after)


def nothing_remembered(config, batch):
    """Returns what a model remembers before the first token: outputs and memories of each layer."""
    zeros = jnp.zeros((config.layers, batch, config.dim))
    return zeros, zeros


if __name__ == "__main__":
    for name, config in PUBLISHED.items():
        carries = jax.eval_shape(lambda config=config: nothing_remembered(config, 1))
        specs = jscope.specs(language_model, jax.ShapeDtypeStruct((1, 8), jnp.int32), carries, config)
        print(f"{name:14} {jscope.tree.size(specs.shape_dtype()):14,} parameters")
