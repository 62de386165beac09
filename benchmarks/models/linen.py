"""Flax Linen: compact modules."""

from __future__ import annotations

from typing import Any

import flax.linen as nn

from benchmarks.models import _math
from benchmarks.models._models import Built, Decoder, Mlp, ResNet, Transformer, Wide


def build(model):
    """Returns `model` in Flax Linen."""
    module = MODELS[type(model)](model)
    return Built(module.init, module.apply, lambda params: {"params": params})


class Dense(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        w = self.param("w", _math.weights, (x.shape[-1], self.features))
        b = self.param("b", _math.zeros, (self.features,))
        return _math.dense(x, w, b)


class Norm(nn.Module):
    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", _math.ones, x.shape[-1:])
        offset = self.param("offset", _math.zeros, x.shape[-1:])
        return _math.norm(x, scale, offset)


class MlpModule(nn.Module):
    model: Any

    @nn.compact
    def __call__(self, x):
        for i in range(self.model.layers):
            x = _math.relu(Dense(self.model.width, name=f"layer_{i}")(x))
        return x


class Block(nn.Module):
    attend: Any

    @nn.compact
    def __call__(self, x):
        width = x.shape[-1]
        h = Norm(name="ln_1")(x)
        q, k, v = (Dense(width, name=name)(h) for name in ("q", "k", "v"))
        x = x + Dense(width, name="o")(self.attend(q, k, v))
        h = _math.gelu(Dense(4 * width, name="up")(Norm(name="ln_2")(x)))
        return x + Dense(width, name="down")(h)


class ScanBlock(Block):
    @nn.compact
    def __call__(self, x, _):
        return Block.__call__(self, x), None


class TransformerModule(nn.Module):
    model: Any

    @nn.compact
    def __call__(self, x):
        layers, attend = self.model.layers, self.model.attend
        if self.model.form == "scanned":
            stack = nn.scan(ScanBlock, variable_axes={"params": 0}, split_rngs={"params": True}, length=layers)
            return stack(attend, name="layers")(x, None)[0]
        module = nn.jit(Block) if self.model.form == "jitted" else Block
        for i in range(layers):
            x = module(attend, name=f"layer_{i}")(x)
        return x


class DecoderModule(nn.Module):
    model: Any

    @nn.compact
    def __call__(self, tokens):
        model = self.model
        table = self.param("table", _math.embeddings, (model.vocabulary, model.width))
        positions = self.param("positions", _math.embeddings, (model.length, model.width))
        x = _math.embed(tokens, table, positions)
        block = nn.remat(ScanBlock, prevent_cse=False)
        stack = nn.scan(block, variable_axes={"params": 0}, split_rngs={"params": True}, length=model.layers)
        x, _ = stack(model.attend, name="layers")(x, None)
        return _math.logits(Norm(name="ln")(x), table)


class Conv(nn.Module):
    size: int
    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        w = self.param("w", _math.weights, (self.size, self.size, x.shape[-1], self.features))
        scale = self.param("scale", _math.ones, (self.features,))
        offset = self.param("offset", _math.zeros, (self.features,))
        return _math.conv_norm(x, w, scale, offset, self.stride)


class Bottleneck(nn.Module):
    inner: int
    stride: int
    projects: bool

    @nn.compact
    def __call__(self, x):
        h = _math.relu(Conv(1, self.inner, name="conv_1")(x))
        h = _math.relu(Conv(3, self.inner, self.stride, name="conv_2")(h))
        h = Conv(1, 4 * self.inner, name="conv_3")(h)
        return _math.relu(h + (Conv(1, 4 * self.inner, self.stride, name="project")(x) if self.projects else x))


class ResNetModule(nn.Module):
    model: Any

    @nn.compact
    def __call__(self, x):
        x = _math.pool(_math.relu(Conv(7, self.model.width, 2, name="stem")(x)))
        for i, (_, inner, stride, projects) in enumerate(self.model.bottlenecks):
            x = Bottleneck(inner, stride, projects, name=f"block_{i}")(x)
        return Dense(self.model.classes, name="out")(x.mean((1, 2)))


class Unit(nn.Module):
    @nn.compact
    def __call__(self, x):
        w = self.param("w", _math.ones, x.shape)
        b = self.param("b", _math.zeros, x.shape)
        return _math.unit(x, w, b)


class Group(nn.Module):
    size: int

    @nn.compact
    def __call__(self, x):
        for u in range(self.size):
            x = Unit(name=f"unit_{u}")(x)
        return x


class WideModule(nn.Module):
    model: Any

    @nn.compact
    def __call__(self, x):
        for g, size in enumerate(self.model.groups):
            x = Group(size, name=f"group_{g}")(x)
        return x


MODELS = {
    Mlp: MlpModule,
    Transformer: TransformerModule,
    Decoder: DecoderModule,
    ResNet: ResNetModule,
    Wide: WideModule,
}
