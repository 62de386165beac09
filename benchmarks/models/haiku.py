"""Haiku: modules inside `hk.transform`."""

from __future__ import annotations

import haiku as hk

from benchmarks.models import _math
from benchmarks.models._models import Built, Mlp, ResNet, Transformer, UnsupportedError, Wide, supported


def build(model):
    """Returns `model` in Haiku."""
    function = supported(MODELS, model)
    made = hk.without_apply_rng(hk.transform(lambda x: function(x, model)))
    return Built(made.init, made.apply, lambda params: flat(params, model))


def flat(params, model):
    """Returns Haiku's two levels: module paths, and names below them."""
    modules = {}

    def walk(prefix, tree):
        for name, value in tree.items():
            if isinstance(value, dict):
                walk((*prefix, name), value)
            else:
                modules.setdefault("/".join(prefix), {})[name] = value

    if getattr(model, "form", "") == "scanned":
        params = {"__layer_stack_no_per_layer": {"block": params["layers"]}}
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
    def __call__(self, x):
        scale = constant("scale", x.shape[-1:], _math.ones)
        offset = constant("offset", x.shape[-1:], _math.zeros)
        return _math.norm(x, scale, offset)


def mlp(x, model):
    for i in range(model.layers):
        x = _math.relu(Dense(model.width, name=f"layer_{i}")(x))
    return x


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
    if model.form == "scanned":
        return hk.layer_stack(model.layers)(lambda x: Block(model.attend, name="block")(x))(x)
    if model.form != "unrolled":
        raise UnsupportedError("Haiku dropped `hk.jit`, and `jax.jit` inside `hk.transform` leaks tracers.")
    for i in range(model.layers):
        x = Block(model.attend, name=f"layer_{i}")(x)
    return x


class Conv(hk.Module):
    def __init__(self, size, features, stride=1, name=None):
        super().__init__(name)
        self.size, self.features, self.stride = size, features, stride

    def __call__(self, x):
        w = parameter("w", (self.size, self.size, x.shape[-1], self.features), _math.weights)
        scale = constant("scale", (self.features,), _math.ones)
        offset = constant("offset", (self.features,), _math.zeros)
        return _math.conv_norm(x, w, scale, offset, self.stride)


class Bottleneck(hk.Module):
    def __init__(self, inner, stride, projects, name=None):
        super().__init__(name)
        self.inner, self.stride, self.projects = inner, stride, projects

    def __call__(self, x):
        h = _math.relu(Conv(1, self.inner, name="conv_1")(x))
        h = _math.relu(Conv(3, self.inner, self.stride, name="conv_2")(h))
        h = Conv(1, 4 * self.inner, name="conv_3")(h)
        return _math.relu(h + (Conv(1, 4 * self.inner, self.stride, name="project")(x) if self.projects else x))


def resnet(x, model):
    x = _math.pool(_math.relu(Conv(7, model.width, 2, name="stem")(x)))
    for i, (_, inner, stride, projects) in enumerate(model.bottlenecks):
        x = Bottleneck(inner, stride, projects, name=f"block_{i}")(x)
    return Dense(model.classes, name="out")(x.mean((1, 2)))


class Unit(hk.Module):
    def __call__(self, x):
        w, b = constant("w", x.shape, _math.ones), constant("b", x.shape, _math.zeros)
        return _math.unit(x, w, b)


class Group(hk.Module):
    def __init__(self, size, name=None):
        super().__init__(name)
        self.size = size

    def __call__(self, x):
        for u in range(self.size):
            x = Unit(name=f"unit_{u}")(x)
        return x


def wide(x, model):
    for g, size in enumerate(model.groups):
        x = Group(size, name=f"group_{g}")(x)
    return x


MODELS = {Mlp: mlp, Transformer: transformer, ResNet: resnet, Wide: wide}
