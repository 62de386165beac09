"""Equinox: the model is the pytree of its parameters."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.models import _math
from benchmarks.models._models import Built, Decoder, Mlp, ResNet, Transformer, Wide

FLOAT = jnp.float32


def build(model):
    """Returns `model` in Equinox."""
    module = MODELS[type(model)]

    def init(key, x):
        return module(model, key)

    def load(params):
        shapes = eqx.filter_eval_shape(module, model, jax.random.key(0))
        return jax.tree_util.tree_map_with_path(lambda path, _: find(params, path), shapes)

    return Built(init, lambda module, x: module(x), load)


def find(params, path):
    """Returns the array at a path of a module, where `layer`, `3` stands for `layer_3`."""
    names = []
    for part in path:
        if isinstance(part, jax.tree_util.SequenceKey):
            names[-1] += f"_{part.idx}"
        else:
            names.append(part.name)
    for name in names:
        params = params[name]
    return params


class Dense(eqx.Module):
    w: jax.Array
    b: jax.Array

    def __init__(self, n_in, n_out, key):
        self.w = _math.weights(key, (n_in, n_out), FLOAT)
        self.b = _math.zeros(key, (n_out,), FLOAT)

    def __call__(self, x):
        return _math.dense(x, self.w, self.b)


class Norm(eqx.Module):
    scale: jax.Array
    offset: jax.Array

    def __init__(self, size):
        self.scale = _math.ones(None, (size,), FLOAT)
        self.offset = _math.zeros(None, (size,), FLOAT)

    def __call__(self, x):
        return _math.norm(x, self.scale, self.offset)


class MlpModule(eqx.Module):
    layer: list[Dense]

    def __init__(self, model, key):
        self.layer = [Dense(model.width, model.width, key) for key in jax.random.split(key, model.layers)]

    def __call__(self, x):
        for layer in self.layer:
            x = _math.relu(layer(x))
        return x


class Block(eqx.Module):
    ln_1: Norm
    q: Dense
    k: Dense
    v: Dense
    o: Dense
    ln_2: Norm
    up: Dense
    down: Dense
    attend: _math.Attend = eqx.field(static=True)

    def __init__(self, width, attend, key):
        keys = jax.random.split(key, 6)
        self.attend = attend
        self.ln_1, self.ln_2 = Norm(width), Norm(width)
        self.q, self.k, self.v, self.o = (Dense(width, width, keys[i]) for i in range(4))
        self.up, self.down = Dense(width, 4 * width, keys[4]), Dense(4 * width, width, keys[5])

    def __call__(self, x):
        h = self.ln_1(x)
        x = x + self.o(self.attend(self.q(h), self.k(h), self.v(h)))
        return x + self.down(_math.gelu(self.up(self.ln_2(x))))


class TransformerModule(eqx.Module):
    layer: list[Block]
    layers: Block | None
    form: str = eqx.field(static=True)

    def __init__(self, model, key):
        self.form, self.layer, self.layers = model.form, [], None
        keys = jax.random.split(key, model.layers)
        if model.form == "scanned":
            self.layers = eqx.filter_vmap(lambda key: Block(model.width, model.attend, key))(keys)
        else:
            self.layer = [Block(model.width, model.attend, key) for key in keys]

    def __call__(self, x):
        if self.form == "scanned":
            return jax.lax.scan(lambda x, block: (block(x), None), x, self.layers)[0]
        run = eqx.filter_jit(Block.__call__) if self.form == "jitted" else Block.__call__
        for block in self.layer:
            x = run(block, x)
        return x


class DecoderModule(eqx.Module):
    table: jax.Array
    positions: jax.Array
    layers: Block
    ln: Norm

    def __init__(self, model, key):
        keys = jax.random.split(key, model.layers + 2)
        self.table = _math.embeddings(keys[0], (model.vocabulary, model.width), FLOAT)
        self.positions = _math.embeddings(keys[1], (model.length, model.width), FLOAT)
        self.layers = eqx.filter_vmap(lambda key: Block(model.width, model.attend, key))(keys[2:])
        self.ln = Norm(model.width)

    def __call__(self, tokens):
        body = jax.checkpoint(lambda x, block: (block(x), None), prevent_cse=False)
        x, _ = jax.lax.scan(body, _math.embed(tokens, self.table, self.positions), self.layers)
        return _math.logits(self.ln(x), self.table)


class Conv(eqx.Module):
    w: jax.Array
    scale: jax.Array
    offset: jax.Array
    stride: int = eqx.field(static=True)

    def __init__(self, size, n_in, n_out, key, stride=1):
        self.w = _math.weights(key, (size, size, n_in, n_out), FLOAT)
        self.scale = _math.ones(key, (n_out,), FLOAT)
        self.offset = _math.zeros(key, (n_out,), FLOAT)
        self.stride = stride

    def __call__(self, x):
        return _math.conv_norm(x, self.w, self.scale, self.offset, self.stride)


class Bottleneck(eqx.Module):
    conv_1: Conv
    conv_2: Conv
    conv_3: Conv
    project: Conv | None

    def __init__(self, n_in, inner, stride, projects, key):
        keys = jax.random.split(key, 4)
        self.conv_1 = Conv(1, n_in, inner, keys[0])
        self.conv_2 = Conv(3, inner, inner, keys[1], stride)
        self.conv_3 = Conv(1, inner, 4 * inner, keys[2])
        self.project = Conv(1, n_in, 4 * inner, keys[3], stride) if projects else None

    def __call__(self, x):
        h = _math.relu(self.conv_2(_math.relu(self.conv_1(x))))
        return _math.relu(self.conv_3(h) + (x if self.project is None else self.project(x)))


class ResNetModule(eqx.Module):
    stem: Conv
    block: list[Bottleneck]
    out: Dense

    def __init__(self, model, key):
        keys = jax.random.split(key, len(model.bottlenecks) + 2)
        self.stem = Conv(7, 3, model.width, keys[0], 2)
        self.out = Dense(model.features, model.classes, keys[1])
        self.block = [Bottleneck(*plan, key) for plan, key in zip(model.bottlenecks, keys[2:], strict=True)]

    def __call__(self, x):
        x = _math.pool(_math.relu(self.stem(x)))
        for block in self.block:
            x = block(x)
        return self.out(x.mean((1, 2)))


class Unit(eqx.Module):
    w: jax.Array
    b: jax.Array

    def __init__(self, width):
        self.w = _math.ones(None, (width,), FLOAT)
        self.b = _math.zeros(None, (width,), FLOAT)

    def __call__(self, x):
        return _math.unit(x, self.w, self.b)


class Group(eqx.Module):
    unit: list[Unit]

    def __init__(self, width, size):
        self.unit = [Unit(width) for _ in range(size)]

    def __call__(self, x):
        for unit in self.unit:
            x = unit(x)
        return x


class WideModule(eqx.Module):
    group: list[Group]

    def __init__(self, model, key):
        self.group = [Group(model.width, size) for size in model.groups]

    def __call__(self, x):
        for group in self.group:
            x = group(x)
        return x


MODELS = {
    Mlp: MlpModule,
    Transformer: TransformerModule,
    Decoder: DecoderModule,
    ResNet: ResNetModule,
    Wide: WideModule,
}
