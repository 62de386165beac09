import haiku as hk
import jax


def mlp(x, training, hidden=(512, 512), classes=10):
    for units in hidden:
        x = jax.nn.relu(hk.Linear(units)(x))
        x = hk.dropout(hk.next_rng_key(), 0.1, x) if training else x
    return hk.Linear(classes)(x)
