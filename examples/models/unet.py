"""U-Net: an image becomes smaller and deeper, then large again, with what was lost passed across at each level.

(Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597, but with padding, so that outputs have the size of inputs.)
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

import jscope
from jscope import initializers, nn

conv = partial(nn.conv, kernel_size=(3, 3), padding="same", activation=jax.nn.relu)


@dataclass(frozen=True)
class Config:
    """The sizes of a model."""

    width: int = 64
    levels: int = 5
    classes: int = 1


PUBLISHED = {"U-Net": Config()}


def unet(scope, images_bhwc, config):
    """Returns logits for each pixel: `(b, h, w, classes)`. Height and width must be divisible by 2 for each level."""
    scope = scope.with_defaults(initializer=initializers.he_normal())
    x, across = images_bhwc, []
    for level in range(config.levels):
        if level > 0:
            across.append(x)
            x = nn.max_pool(x, (2, 2))
        x = twice(scope / f"down_{level}", x, config.width * 2**level)
    for level in reversed(range(config.levels - 1)):
        filters = config.width * 2**level
        x = nn.conv_transpose(scope / f"up_{level}" / "enlarge", x, filters, (2, 2), strides=2)
        x = twice(scope / f"up_{level}", jnp.concatenate([across.pop(), x], axis=-1), filters)
    return nn.conv(scope / "logits", x, config.classes, (1, 1))


def twice(scope, x, filters):
    """Two convolutions."""
    return conv(scope / "1", conv(scope / "0", x, filters), filters)


if __name__ == "__main__":
    specs = jscope.specs(unet, jax.ShapeDtypeStruct((1, 256, 256, 1), jnp.float32), Config())
    print(f"{'U-Net':14} {jscope.tree.size(specs.shape_dtype()):14,} parameters")
