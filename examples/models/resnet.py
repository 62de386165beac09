"""ResNet-50 and its relatives: four stages of blocks, which add what they compute to their input.

The first block of a stage changes sizes; the others are one block, scanned. (He et al., 2015,
https://arxiv.org/abs/1512.03385; the strides are in the 3 x 3 convolutions, as is usual since, or in the first.)
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

import jscope
from jscope import initializers, nn


@dataclass(frozen=True)
class Config:
    """The sizes of a model, and what differs between libraries."""

    stages: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    bottleneck: bool = True
    classes: int = 1000
    strides_first: bool = False
    use_bias: bool = False  # Beside the norm after it, a bias of a convolution does nothing; Keras has them.
    epsilon: float = 1e-5
    scanned: bool = True


PUBLISHED = {
    "ResNet-18": Config((2, 2, 2, 2), bottleneck=False),
    "ResNet-34": Config(bottleneck=False),
    "ResNet-50": Config(),
    "ResNet-50, Keras": Config(strides_first=True, use_bias=True, epsilon=1.001e-5),
    "ResNet-101": Config((3, 4, 23, 3)),
}


def resnet(scope, images_bhwc, config, *, training):
    """Returns the logits of the classes: `(b, classes)`."""
    scope = scope.with_defaults(initializer=initializers.he_normal())
    x = jax.nn.relu(conv_norm(scope / "stem", images_bhwc, config.width, 7, 2, config=config, training=training))
    x = nn.max_pool(x, (3, 3), strides=2, padding=[(1, 1), (1, 1)])
    for i, depth in enumerate(config.stages):
        block = partial(residual, filters=config.width * 2**i, config=config, training=training)
        x = block(scope / f"stage_{i}" / "first", x, strides=1 if i == 0 else 2)
        x = jscope.layers(block, depth - 1, scanned=config.scanned)(scope / f"stage_{i}" / "blocks", x)
    return nn.dense(scope / "logits", nn.global_avg_pool(x), config.classes)


def residual(scope, x, *, filters, config, training, strides=1):
    """Adds to the input, or to a projection of it where sizes change, what two or three convolutions make of it."""
    conv = partial(conv_norm, config=config, training=training)
    first, second = (strides, 1) if config.strides_first or not config.bottleneck else (1, strides)
    wide, size = (4 * filters, 1) if config.bottleneck else (filters, 3)
    y = jax.nn.relu(conv(scope / "0", x, filters, size, first))
    if config.bottleneck:
        y = jax.nn.relu(conv(scope / "1", y, filters, 3, second))
    y = conv(scope / "2", y, wide, size)
    if x.shape != y.shape:
        x = conv(scope / "projection", x, wide, 1, strides)
    return jax.nn.relu(x + y)


def conv_norm(scope, x, filters, size, strides=1, *, config, training):
    """A convolution and a norm; usually the only bias is that of the norm."""
    # As much on both sides: with strides, `"same"` would have more at the end, as only TensorFlow has it.
    padding = [(size // 2, size // 2)] * 2
    options = {"strides": strides, "padding": padding, "use_bias": config.use_bias}
    x = nn.conv(scope / "conv", x, filters, (size, size), **options)
    return nn.batch_norm(scope / "norm", x, training=training, momentum=0.9, epsilon=config.epsilon)


if __name__ == "__main__":
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    for name, config in PUBLISHED.items():
        specs = jscope.transform_with_state(resnet).specs(images, config, training=False)
        print(f"{name:16} {jscope.tree.size(specs.params.shape_dtype()):14,} parameters")
