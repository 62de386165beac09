from flax import nnx


class MLP(nnx.Module):
    def __init__(self, rngs, inputs=784, hidden=(512, 512), classes=10):
        sizes = zip((inputs, *hidden), hidden, strict=False)
        self.hidden = nnx.List(nnx.Linear(size, units, rngs=rngs) for size, units in sizes)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.logits = nnx.Linear(hidden[-1], classes, rngs=rngs)

    def __call__(self, x):
        for layer in self.hidden:
            x = self.dropout(nnx.relu(layer(x)))
        return self.logits(x)
