from flax import nnx


class ResNet(nnx.Module):
    def __init__(self, rngs, stages=(3, 4, 6, 3), width=64, classes=1000):
        self.stem = ConvNorm(3, width, 7, 2, rngs)
        self.blocks, inputs = nnx.List(), width
        for i, depth in enumerate(stages):
            for j in range(depth):
                self.blocks.append(Block(inputs, width * 2**i, 2 if i > 0 and j == 0 else 1, rngs))
                inputs = 4 * width * 2**i
        self.logits = nnx.Linear(inputs, classes, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.stem(x)), (3, 3), (2, 2), "SAME")
        for block in self.blocks:
            x = block(x)
        return self.logits(x.mean((1, 2)))


class Block(nnx.Module):
    def __init__(self, inputs, filters, strides, rngs):
        self.conv_0 = ConvNorm(inputs, filters, 1, 1, rngs)
        self.conv_1 = ConvNorm(filters, filters, 3, strides, rngs)
        self.conv_2 = ConvNorm(filters, 4 * filters, 1, 1, rngs)
        same = inputs == 4 * filters and strides == 1
        self.projection = None if same else ConvNorm(inputs, 4 * filters, 1, strides, rngs)

    def __call__(self, x):
        y = nnx.relu(self.conv_0(x))
        y = nnx.relu(self.conv_1(y))
        y = self.conv_2(y)
        return nnx.relu(y + (x if self.projection is None else self.projection(x)))


class ConvNorm(nnx.Module):
    def __init__(self, inputs, filters, size, strides, rngs):
        self.conv = nnx.Conv(inputs, filters, (size, size), strides, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(filters, momentum=0.9, epsilon=1e-5, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.conv(x))
