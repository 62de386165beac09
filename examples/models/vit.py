"""ViT: an image is a sequence of patches, read by the encoder of a transformer.

(Dosovitskiy et al., 2020, https://arxiv.org/abs/2010.11929)
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

    layers: int = 12
    heads: int = 12
    dim: int = 768
    patch: int = 16
    classes: int = 1000
    dropout: float = 0.0
    epsilon: float = 1e-6
    scanned: bool = True


PUBLISHED = {"ViT-S/16": Config(12, 6, 384), "ViT-B/16": Config(), "ViT-L/16": Config(24, 16, 1024)}


def vit(scope, images_bhwc, config, *, training=False):
    """Returns the logits of the classes: `(b, classes)`."""
    norm = partial(nn.layer_norm, epsilon=config.epsilon)
    patches = (config.patch, config.patch)
    x_bhwd = nn.conv(scope / "patches", images_bhwc, config.dim, patches, strides=patches, padding="valid")
    b, h, w, d = x_bhwd.shape
    first_d = scope.get_variable("class_token", (d,), initializer=initializers.zeros)
    first_b1d = jnp.broadcast_to(first_d.astype(x_bhwd.dtype), (b, 1, d))
    x_btd = jnp.concatenate([first_b1d, x_bhwd.reshape(b, h * w, d)], axis=1)
    where_td = (scope / "positions").get_variable("embeddings", x_btd.shape[1:], initializer=initializers.normal(0.02))
    x_btd = nn.dropout(scope / "dropout", x_btd + where_td.astype(x_btd.dtype)[None], config.dropout, training=training)

    def block(scope, x_btd):
        feed_forward = partial(nn.mlp, hidden=4 * d, activation=partial(jax.nn.gelu, approximate=False))
        options = {"norm": norm, "dropout": config.dropout, "training": training}
        return nn.transformer_block(scope, x_btd, config.heads, feed_forward, **options)

    x_btd = jscope.layers(block, config.layers, scanned=config.scanned)(scope / "layers", x_btd)
    return nn.dense(scope / "logits", norm(scope / "norm", x_btd)[:, 0], config.classes)


if __name__ == "__main__":
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    for name, config in PUBLISHED.items():
        print(f"{name:14} {jscope.tree.size(jscope.specs(vit, images, config).shape_dtype()):14,} parameters")
