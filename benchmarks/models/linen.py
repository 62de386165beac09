"""Flax Linen: compact modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from benchmarks.models import _math, _models
from benchmarks.models._models import Built


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
    compute: Callable[..., Any] = _math.norm

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", _math.ones, x.shape[-1:])
        offset = self.param("offset", _math.zeros, x.shape[-1:])
        return self.compute(x, scale, offset)


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


class Transformer(nn.Module):
    model: Any

    @nn.compact
    def __call__(self, x):
        layers, attend, form = self.model.layers, self.model.attend, self.model.form
        if form == "scanned":
            block = nn.remat(ScanBlock, prevent_cse=False)
            stack = nn.scan(block, variable_axes={"params": 0}, split_rngs={"params": True}, length=layers)
            return stack(attend, name="layers")(x, None)[0]
        block = nn.jit(Block) if form == "jitted" else Block
        for i in range(layers):
            x = block(attend, name=f"layer_{i}")(x)
        return x


class Decoder(nn.Module):
    model: Any

    @nn.compact
    def __call__(self, tokens):
        model = self.model
        table = self.param("table", _math.embeddings, (model.vocabulary, model.width))
        positions = self.param("positions", _math.embeddings, (model.length, model.width))
        x = Transformer(model.blocks, name="blocks")(_math.embed(tokens, table, positions))
        return _math.logits(Norm(name="ln")(x), table)


class Wide(nn.Module):
    model: Any

    @nn.compact
    def __call__(self, x):
        for i in self.model.units:
            x = Norm(self.model.compute, name=f"unit_{i}")(x)
        return x


MODELS = {_models.Transformer: Transformer, _models.Decoder: Decoder, _models.Wide: Wide}
FORMS = ("unrolled", "scanned", "jitted")
