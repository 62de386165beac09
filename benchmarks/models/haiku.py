"""Haiku: modules inside `hk.transform`."""

from __future__ import annotations

import haiku as hk

from benchmarks.models import _math
from benchmarks.models._models import Built, Transformer, Wide


def build(model):
    """Returns `model` in Haiku."""
    function = MODELS[type(model)]
    made = hk.without_apply_rng(hk.transform(lambda x: function(x, model)))
    return Built(made.init, made.apply, flat)


def flat(params):
    """Returns Haiku's two levels: module paths, and names below them."""
    modules = {}

    def walk(prefix, tree):
        for name, value in tree.items():
            if isinstance(value, dict):
                walk((*prefix, name), value)
            else:
                modules.setdefault("/".join(prefix), {})[name] = value

    walk((), params)
    return modules


def parameter(name, shape, initializer):
    return hk.get_parameter(name, shape, init=lambda shape, dtype: initializer(hk.next_rng_key(), shape, dtype))


def constant(name, shape, initializer):
    return hk.get_parameter(name, shape, init=lambda shape, dtype: initializer(None, shape, dtype))


class Dense(hk.Module):
    def __init__(self, features, name=None):
        super().__init__(name)
        self.features = features

    def __call__(self, x):
        w = parameter("w", (x.shape[-1], self.features), _math.weights)
        b = constant("b", (self.features,), _math.zeros)
        return _math.dense(x, w, b)


class Norm(hk.Module):
    def __init__(self, compute=_math.norm, name=None):
        super().__init__(name)
        self.compute = compute

    def __call__(self, x):
        scale = constant("scale", x.shape[-1:], _math.ones)
        offset = constant("offset", x.shape[-1:], _math.zeros)
        return self.compute(x, scale, offset)


class Block(hk.Module):
    def __init__(self, attend, name=None):
        super().__init__(name)
        self.attend = attend

    def __call__(self, x):
        width = x.shape[-1]
        h = Norm(name="ln_1")(x)
        q, k, v = (Dense(width, name=name)(h) for name in ("q", "k", "v"))
        x = x + Dense(width, name="o")(self.attend(q, k, v))
        h = _math.gelu(Dense(4 * width, name="up")(Norm(name="ln_2")(x)))
        return x + Dense(width, name="down")(h)


def transformer(x, model):
    for i in range(model.layers):
        x = Block(model.attend, name=f"layer_{i}")(x)
    return x


def wide(x, model):
    for i in model.units:
        x = Norm(model.compute, name=f"unit_{i}")(x)
    return x


MODELS = {Transformer: transformer, Wide: wide}
FORMS = ("unrolled",)  # Haiku dropped `hk.jit`, and `jax.jit` inside `hk.transform` leaks tracers.
