"""Equinox: the model is the pytree of its parameters."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.models import _math, _models
from benchmarks.models._models import Built

FLOAT = jnp.float32


def build(model):
    """Returns `model` in Equinox."""
    module = MODELS[type(model)]

    def load(params):
        return _models.load_into(eqx.filter_eval_shape(module, model, jax.random.key(0)), params)

    return Built(lambda key, x: module(model, key), lambda module, x: module(x), load)


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
    compute: Callable[..., jax.Array] = eqx.field(static=True)

    def __init__(self, size, compute=_math.norm):
        self.compute = compute
        self.scale = _math.ones(None, (size,), FLOAT)
        self.offset = _math.zeros(None, (size,), FLOAT)

    def __call__(self, x):
        return self.compute(x, self.scale, self.offset)


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


class Transformer(eqx.Module):
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
        if self.layers is not None:
            run = jax.checkpoint(Block.__call__, prevent_cse=False)
            return jax.lax.scan(lambda x, block: (run(block, x), None), x, self.layers)[0]
        run = eqx.filter_jit(Block.__call__) if self.form == "jitted" else Block.__call__
        for block in self.layer:
            x = run(block, x)
        return x


class Decoder(eqx.Module):
    table: jax.Array
    positions: jax.Array
    blocks: Transformer
    ln: Norm

    def __init__(self, model, key):
        keys = jax.random.split(key, 3)
        self.table = _math.embeddings(keys[0], (model.vocabulary, model.width), FLOAT)
        self.positions = _math.embeddings(keys[1], (model.length, model.width), FLOAT)
        self.blocks, self.ln = Transformer(model.blocks, keys[2]), Norm(model.width)

    def __call__(self, tokens):
        x = self.blocks(_math.embed(tokens, self.table, self.positions))
        return _math.logits(self.ln(x), self.table)


class Wide(eqx.Module):
    unit: list[Norm]

    def __init__(self, model, key):
        self.unit = [Norm(model.width, model.compute) for _ in model.units]

    def __call__(self, x):
        for unit in self.unit:
            x = unit(x)
        return x


MODELS = {_models.Transformer: Transformer, _models.Decoder: Decoder, _models.Wide: Wide}
FORMS = ("unrolled", "scanned", "jitted")
