"""Flax NNX: mutable modules, split into a graph and a state at the edges."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.models import _math, _models
from benchmarks.models._models import Built

FLOAT = jnp.float32


def build(model):
    """Returns `model` in Flax NNX."""
    module = MODELS[type(model)]
    graph, shapes = nnx.split(nnx.eval_shape(lambda: module(model, nnx.Rngs(0))))

    def init(key, x):
        return nnx.state(module(model, nnx.Rngs(key)))

    def load(params):
        state = jax.tree.map(lambda leaf: leaf, shapes)
        nnx.replace_by_pure_dict(state, _models.load_into(nnx.to_pure_dict(shapes), params))
        return state

    def apply(state, x):
        return nnx.merge(graph, state)(x)

    return Built(init, apply, load, lambda state: nnx.merge(graph, state))


class Dense(nnx.Module):
    def __init__(self, n_in, n_out, rngs):
        self.w = nnx.Param(_math.weights(rngs.params(), (n_in, n_out), FLOAT))
        self.b = nnx.Param(_math.zeros(None, (n_out,), FLOAT))

    def __call__(self, x):
        return _math.dense(x, self.w[...], self.b[...])


class Norm(nnx.Module):
    def __init__(self, size, compute=_math.norm):
        self.compute = compute
        self.scale = nnx.Param(_math.ones(None, (size,), FLOAT))
        self.offset = nnx.Param(_math.zeros(None, (size,), FLOAT))

    def __call__(self, x):
        return self.compute(x, self.scale[...], self.offset[...])


class Block(nnx.Module):
    def __init__(self, width, attend, rngs):
        self.attend = attend
        self.ln_1, self.ln_2 = Norm(width), Norm(width)
        self.q, self.k, self.v, self.o = (Dense(width, width, rngs) for _ in range(4))
        self.up, self.down = Dense(width, 4 * width, rngs), Dense(4 * width, width, rngs)

    def __call__(self, x):
        h = self.ln_1(x)
        x = x + self.o(self.attend(self.q(h), self.k(h), self.v(h)))
        return x + self.down(_math.gelu(self.up(self.ln_2(x))))


class Transformer(nnx.Module):
    def __init__(self, model, rngs):
        self.form = model.form
        if model.form == "scanned":
            stack = nnx.vmap(lambda rngs: Block(model.width, model.attend, rngs))
            self.layers = stack(rngs.fork(split=model.layers))
        else:
            self.layer = nnx.List([Block(model.width, model.attend, rngs) for _ in range(model.layers)])

    def __call__(self, x):
        if self.form == "scanned":
            run = nnx.remat(Block.__call__, prevent_cse=False)
            return nnx.scan(lambda x, block: run(block, x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.layers)
        run = nnx.jit(Block.__call__) if self.form == "jitted" else Block.__call__
        for block in self.layer:
            x = run(block, x)
        return x


class Decoder(nnx.Module):
    def __init__(self, model, rngs):
        self.table = nnx.Param(_math.embeddings(rngs.params(), (model.vocabulary, model.width), FLOAT))
        self.positions = nnx.Param(_math.embeddings(rngs.params(), (model.length, model.width), FLOAT))
        self.blocks, self.ln = Transformer(model.blocks, rngs), Norm(model.width)

    def __call__(self, tokens):
        x = self.blocks(_math.embed(tokens, self.table[...], self.positions[...]))
        return _math.logits(self.ln(x), self.table[...])


class Wide(nnx.Module):
    def __init__(self, model, rngs):
        self.unit = nnx.List([Norm(model.width, model.compute) for _ in model.units])

    def __call__(self, x):
        for unit in self.unit:
            x = unit(x)
        return x


MODELS = {_models.Transformer: Transformer, _models.Decoder: Decoder, _models.Wide: Wide}
FORMS = ("unrolled", "scanned", "jitted")
