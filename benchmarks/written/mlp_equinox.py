import equinox as eqx
import jax


class MLP(eqx.Module):
    hidden: list
    dropout: eqx.nn.Dropout
    logits: eqx.nn.Linear

    def __init__(self, key, inputs=784, hidden=(512, 512), classes=10):
        keys = jax.random.split(key, 1 + len(hidden))
        sizes = zip((inputs, *hidden), (*hidden, classes), keys, strict=True)
        *self.hidden, self.logits = [eqx.nn.Linear(size, units, key=each) for size, units, each in sizes]
        self.dropout = eqx.nn.Dropout(0.1)

    def __call__(self, x, key=None):
        keys = [None] * len(self.hidden) if key is None else jax.random.split(key, len(self.hidden))
        for layer, layer_key in zip(self.hidden, keys, strict=True):
            x = self.dropout(jax.nn.relu(layer(x)), key=layer_key)
        return self.logits(x)
