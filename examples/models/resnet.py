"""ResNet-50 and its relatives: four stages of blocks, which add what they compute to their input.

The first block of a stage changes sizes; the others are one block, scanned. (He et al., 2015,
https://arxiv.org/abs/1512.03385, with the strides in the 3 x 3 convolutions, as is usual since.)
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

    stages: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    bottleneck: bool = True
    classes: int = 1000
    scanned: bool = True


PUBLISHED = {
    "ResNet-18": Config((2, 2, 2, 2), bottleneck=False),
    "ResNet-34": Config(bottleneck=False),
    "ResNet-50": Config(),
    "ResNet-101": Config((3, 4, 23, 3)),
}


def resnet(scope, images_bhwc, config, *, training):
    """Returns the logits of the classes: `(b, classes)`."""
    scope = scope.with_defaults(initializer=initializers.he_normal())
    x = jax.nn.relu(conv_norm(scope / "stem", images_bhwc, config.width, 7, 2, training=training))
    x = nn.max_pool(x, (3, 3), strides=2, padding="same")
    for i, depth in enumerate(config.stages):
        block = partial(residual, filters=config.width * 2**i, bottleneck=config.bottleneck, training=training)
        x = block(scope / f"stage_{i}" / "first", x, strides=1 if i == 0 else 2)
        x = jscope.layers(block, depth - 1, scanned=config.scanned)(scope / f"stage_{i}" / "blocks", x)
    return nn.dense(scope / "logits", nn.global_avg_pool(x), config.classes)


def residual(scope, x, *, filters, bottleneck, training, strides=1):
    """Adds to the input, or to a projection of it where sizes change, what two or three convolutions make of it."""
    conv, wide = partial(conv_norm, training=training), 4 * filters if bottleneck else filters
    y = jax.nn.relu(conv(scope / "0", x, filters, 1 if bottleneck else 3, 1 if bottleneck else strides))
    if bottleneck:
        y = jax.nn.relu(conv(scope / "1", y, filters, 3, strides))
    y = conv(scope / "2", y, wide, 1 if bottleneck else 3)
    if x.shape != y.shape:
        x = conv(scope / "projection", x, wide, 1, strides)
    return jax.nn.relu(x + y)


def conv_norm(scope, x, filters, size, strides=1, *, training):
    """A convolution without a bias, which the norm after it has."""
    x = nn.conv(scope / "conv", x, filters, (size, size), strides=strides, padding="same", use_bias=False)
    return nn.batch_norm(scope / "norm", x, training=training, momentum=0.9, epsilon=1e-5)


if __name__ == "__main__":
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    for name, config in PUBLISHED.items():
        specs = jscope.transform_with_state(resnet).specs(images, config, training=False)
        print(f"{name:14} {jscope.tree.size(specs.params.shape_dtype()):14,} parameters")
