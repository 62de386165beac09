import jax

from jscope import nn


def resnet(scope, x, training, stages=(3, 4, 6, 3), width=64, classes=1000):
    x = jax.nn.relu(conv_norm(scope / "stem", x, width, 7, 2, training))
    x = nn.max_pool(x, (3, 3), strides=2, padding="same")
    for i, depth in enumerate(stages):
        for j in range(depth):
            x = block(scope / f"block_{i}_{j}", x, width * 2**i, 2 if i > 0 and j == 0 else 1, training)
    return nn.dense(scope / "logits", nn.global_avg_pool(x), classes)


def block(scope, x, filters, strides, training):
    y = jax.nn.relu(conv_norm(scope / "0", x, filters, 1, 1, training))
    y = jax.nn.relu(conv_norm(scope / "1", y, filters, 3, strides, training))
    y = conv_norm(scope / "2", y, 4 * filters, 1, 1, training)
    if x.shape != y.shape:
        x = conv_norm(scope / "projection", x, 4 * filters, 1, strides, training)
    return jax.nn.relu(x + y)


def conv_norm(scope, x, filters, size, strides, training):
    x = nn.conv(scope / "conv", x, filters, (size, size), strides=strides, padding="same", use_bias=False)
    return nn.batch_norm(scope / "norm", x, training=training, momentum=0.9, epsilon=1e-5)
