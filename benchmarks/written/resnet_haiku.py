import haiku as hk
import jax


def resnet(x, training, stages=(3, 4, 6, 3), width=64, classes=1000):
    x = jax.nn.relu(conv_norm(x, width, 7, 2, training))
    x = hk.max_pool(x, (3, 3, 1), (2, 2, 1), "SAME")
    for i, depth in enumerate(stages):
        for j in range(depth):
            x = block(x, width * 2**i, 2 if i > 0 and j == 0 else 1, training)
    return hk.Linear(classes)(x.mean((1, 2)))


def block(x, filters, strides, training):
    y = jax.nn.relu(conv_norm(x, filters, 1, 1, training))
    y = jax.nn.relu(conv_norm(y, filters, 3, strides, training))
    y = conv_norm(y, 4 * filters, 1, 1, training)
    if x.shape != y.shape:
        x = conv_norm(x, 4 * filters, 1, strides, training)
    return jax.nn.relu(x + y)


def conv_norm(x, filters, size, strides, training):
    x = hk.Conv2D(filters, size, strides, with_bias=False)(x)
    return hk.BatchNorm(True, True, decay_rate=0.9, eps=1e-5)(x, training)
