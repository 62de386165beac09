"""Flax NNX: mutable modules, split into a graph and a state at the edges."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.models import _math
from benchmarks.models._models import Built, Decoder, Mlp, ResNet, Transformer, Wide

FLOAT = jnp.float32


def build(model):
    """Returns `model` in Flax NNX."""
    module = MODELS[type(model)]
    graph, shapes = nnx.split(nnx.eval_shape(lambda: module(model, nnx.Rngs(0))))

    def init(key, x):
        return nnx.state(module(model, nnx.Rngs(key)))

    def load(params):
        return jax.tree_util.tree_map_with_path(lambda path, _: find(params, path), shapes)

    def apply(state, x):
        return nnx.merge(graph, state)(x)

    return Built(init, apply, load, lambda state: nnx.merge(graph, state))


def find(params, path):
    """Returns the array at a path of a state, where `layer`, `3` stands for `layer_3`."""
    names = []
    for part in path:
        name = getattr(part, "key", None)
        if isinstance(name, int):
            names[-1] += f"_{name}"
        elif name is not None:
            names.append(name)
    for name in names:
        params = params[name]
    return params


class Dense(nnx.Module):
    def __init__(self, n_in, n_out, rngs):
        self.w = nnx.Param(_math.weights(rngs.params(), (n_in, n_out), FLOAT))
        self.b = nnx.Param(_math.zeros(None, (n_out,), FLOAT))

    def __call__(self, x):
        return _math.dense(x, self.w[...], self.b[...])


class Norm(nnx.Module):
    def __init__(self, size):
        self.scale = nnx.Param(_math.ones(None, (size,), FLOAT))
        self.offset = nnx.Param(_math.zeros(None, (size,), FLOAT))

    def __call__(self, x):
        return _math.norm(x, self.scale[...], self.offset[...])


class MlpModule(nnx.Module):
    def __init__(self, model, rngs):
        self.layer = nnx.List([Dense(model.width, model.width, rngs) for _ in range(model.layers)])

    def __call__(self, x):
        for layer in self.layer:
            x = _math.relu(layer(x))
        return x


class Block(nnx.Module):
    def __init__(self, width, attend, rngs):
        self.attend = attend
        self.ln_1, self.ln_2 = Norm(width), Norm(width)
        self.q, self.k, self.v = (Dense(width, width, rngs) for _ in range(3))
        self.o = Dense(width, width, rngs)
        self.up, self.down = Dense(width, 4 * width, rngs), Dense(4 * width, width, rngs)

    def __call__(self, x):
        h = self.ln_1(x)
        x = x + self.o(self.attend(self.q(h), self.k(h), self.v(h)))
        return x + self.down(_math.gelu(self.up(self.ln_2(x))))


class TransformerModule(nnx.Module):
    def __init__(self, model, rngs):
        self.form = model.form
        if model.form == "scanned":
            stack = nnx.vmap(lambda rngs: Block(model.width, model.attend, rngs))
            self.layers = stack(rngs.fork(split=model.layers))
        else:
            self.layer = nnx.List([Block(model.width, model.attend, rngs) for _ in range(model.layers)])

    def __call__(self, x):
        if self.form == "scanned":
            return nnx.scan(lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.layers)
        run = nnx.jit(Block.__call__) if self.form == "jitted" else Block.__call__
        for block in self.layer:
            x = run(block, x)
        return x


class DecoderModule(nnx.Module):
    def __init__(self, model, rngs):
        self.table = nnx.Param(_math.embeddings(rngs.params(), (model.vocabulary, model.width), FLOAT))
        self.positions = nnx.Param(_math.embeddings(rngs.params(), (model.length, model.width), FLOAT))
        stack = nnx.vmap(lambda rngs: Block(model.width, model.attend, rngs))
        self.layers = stack(rngs.fork(split=model.layers))
        self.ln = Norm(model.width)

    def __call__(self, tokens):
        x = _math.embed(tokens, self.table[...], self.positions[...])
        body = nnx.remat(lambda x, block: block(x), prevent_cse=False)
        x = nnx.scan(body, in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.layers)
        return _math.logits(self.ln(x), self.table[...])


class Conv(nnx.Module):
    def __init__(self, size, n_in, n_out, rngs, stride=1):
        self.w = nnx.Param(_math.weights(rngs.params(), (size, size, n_in, n_out), FLOAT))
        self.scale = nnx.Param(_math.ones(None, (n_out,), FLOAT))
        self.offset = nnx.Param(_math.zeros(None, (n_out,), FLOAT))
        self.stride = stride

    def __call__(self, x):
        return _math.conv_norm(x, self.w[...], self.scale[...], self.offset[...], self.stride)


class Bottleneck(nnx.Module):
    def __init__(self, n_in, inner, stride, projects, rngs):
        self.conv_1 = Conv(1, n_in, inner, rngs)
        self.conv_2 = Conv(3, inner, inner, rngs, stride)
        self.conv_3 = Conv(1, inner, 4 * inner, rngs)
        self.project = Conv(1, n_in, 4 * inner, rngs, stride) if projects else None

    def __call__(self, x):
        h = _math.relu(self.conv_2(_math.relu(self.conv_1(x))))
        return _math.relu(self.conv_3(h) + (x if self.project is None else self.project(x)))


class ResNetModule(nnx.Module):
    def __init__(self, model, rngs):
        self.stem = Conv(7, 3, model.width, rngs, 2)
        self.block = nnx.List([Bottleneck(*plan, rngs) for plan in model.bottlenecks])
        self.out = Dense(model.features, model.classes, rngs)

    def __call__(self, x):
        x = _math.pool(_math.relu(self.stem(x)))
        for block in self.block:
            x = block(x)
        return self.out(x.mean((1, 2)))


class Unit(nnx.Module):
    def __init__(self, width):
        self.w = nnx.Param(_math.ones(None, (width,), FLOAT))
        self.b = nnx.Param(_math.zeros(None, (width,), FLOAT))

    def __call__(self, x):
        return _math.unit(x, self.w[...], self.b[...])


class Group(nnx.Module):
    def __init__(self, width, size):
        self.unit = nnx.List([Unit(width) for _ in range(size)])

    def __call__(self, x):
        for unit in self.unit:
            x = unit(x)
        return x


class WideModule(nnx.Module):
    def __init__(self, model, rngs):
        self.group = nnx.List([Group(model.width, size) for size in model.groups])

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
