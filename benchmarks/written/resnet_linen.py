from flax import linen as nn


class ResNet(nn.Module):
    stages: tuple = (3, 4, 6, 3)
    width: int = 64
    classes: int = 1000

    @nn.compact
    def __call__(self, x, training):
        x = nn.relu(ConvNorm(self.width, 7, 2)(x, training))
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        for i, depth in enumerate(self.stages):
            for j in range(depth):
                x = Block(self.width * 2**i, 2 if i > 0 and j == 0 else 1)(x, training)
        return nn.Dense(self.classes)(x.mean((1, 2)))


class Block(nn.Module):
    filters: int
    strides: int

    @nn.compact
    def __call__(self, x, training):
        y = nn.relu(ConvNorm(self.filters, 1, 1)(x, training))
        y = nn.relu(ConvNorm(self.filters, 3, self.strides)(y, training))
        y = ConvNorm(4 * self.filters, 1, 1)(y, training)
        if x.shape != y.shape:
            x = ConvNorm(4 * self.filters, 1, self.strides)(x, training)
        return nn.relu(x + y)


class ConvNorm(nn.Module):
    filters: int
    size: int
    strides: int

    @nn.compact
    def __call__(self, x, training):
        x = nn.Conv(self.filters, (self.size, self.size), self.strides, use_bias=False)(x)
        return nn.BatchNorm(not training, momentum=0.9)(x)
