import jax

from jscope import nn


def mlp(scope, x, training, hidden=(512, 512), classes=10):
    for i, units in enumerate(hidden):
        x = nn.dense(scope / f"hidden_{i}", x, units, activation=jax.nn.relu)
        x = nn.dropout(scope / f"dropout_{i}", x, 0.1, training=training)
    return nn.dense(scope / "logits", x, classes)
