from flax import linen as nn


class MLP(nn.Module):
    hidden: tuple = (512, 512)
    classes: int = 10

    @nn.compact
    def __call__(self, x, training):
        for units in self.hidden:
            x = nn.relu(nn.Dense(units)(x))
            x = nn.Dropout(0.1, deterministic=not training)(x)
        return nn.Dense(self.classes)(x)
