import equinox as eqx
import jax


class ResNet(eqx.Module):
    stem: eqx.Module
    pool: eqx.nn.MaxPool2d
    blocks: list
    logits: eqx.nn.Linear

    def __init__(self, key, stages=(3, 4, 6, 3), width=64, classes=1000):
        key, stem_key, logits_key = jax.random.split(key, 3)
        self.stem = ConvNorm(3, width, 7, 2, stem_key)
        self.pool = eqx.nn.MaxPool2d(3, 2, padding=1)
        self.blocks, inputs = [], width
        for i, depth in enumerate(stages):
            for j in range(depth):
                key, block_key = jax.random.split(key)
                self.blocks.append(Block(inputs, width * 2**i, 2 if i > 0 and j == 0 else 1, block_key))
                inputs = 4 * width * 2**i
        self.logits = eqx.nn.Linear(inputs, classes, key=logits_key)

    def __call__(self, x, state):
        x, state = self.stem(x, state)
        x = self.pool(jax.nn.relu(x))
        for block in self.blocks:
            x, state = block(x, state)
        return self.logits(x.mean((1, 2))), state


class Block(eqx.Module):
    conv_0: eqx.Module
    conv_1: eqx.Module
    conv_2: eqx.Module
    projection: eqx.Module | None

    def __init__(self, inputs, filters, strides, key):
        keys = jax.random.split(key, 4)
        self.conv_0 = ConvNorm(inputs, filters, 1, 1, keys[0])
        self.conv_1 = ConvNorm(filters, filters, 3, strides, keys[1])
        self.conv_2 = ConvNorm(filters, 4 * filters, 1, 1, keys[2])
        same = inputs == 4 * filters and strides == 1
        self.projection = None if same else ConvNorm(inputs, 4 * filters, 1, strides, keys[3])

    def __call__(self, x, state):
        y, state = self.conv_0(x, state)
        y, state = self.conv_1(jax.nn.relu(y), state)
        y, state = self.conv_2(jax.nn.relu(y), state)
        if self.projection is not None:
            x, state = self.projection(x, state)
        return jax.nn.relu(x + y), state


class ConvNorm(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm

    def __init__(self, inputs, filters, size, strides, key):
        self.conv = eqx.nn.Conv2d(inputs, filters, size, strides, padding="SAME", use_bias=False, key=key)
        self.norm = eqx.nn.BatchNorm(filters, axis_name="batch", momentum=0.9, eps=1e-5, mode="batch")

    def __call__(self, x, state):
        return self.norm(self.conv(x), state)
