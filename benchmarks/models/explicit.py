"""jscope: functions of a scope."""

from __future__ import annotations

import jax

import jscope
from benchmarks.models import _math
from benchmarks.models._models import Built, Decoder, Mlp, ResNet, Transformer, Wide


def build(model):
    """Returns `model` in jscope."""
    function = MODELS[type(model)]
    made = jscope.transform(lambda scope, x: function(scope, x, model))

    def sharded(key, x, rule):
        specs = made.specs(x)
        return specs.materialize(key, sharding=specs.map(lambda spec: rule(spec.shape)))

    return Built(made.init, made.apply, lambda params: params, sharded=sharded, specs=made.specs)


def dense(scope, x, features):
    w = scope.get_variable("w", (x.shape[-1], features), initializer=_math.weights)
    b = scope.get_variable("b", (features,), initializer=_math.zeros)
    return _math.dense(x, w, b)


def norm(scope, x):
    scale = scope.get_variable("scale", x.shape[-1:], initializer=_math.ones)
    offset = scope.get_variable("offset", x.shape[-1:], initializer=_math.zeros)
    return _math.norm(x, scale, offset)


def mlp(scope, x, model):
    for i in range(model.layers):
        x = _math.relu(dense(scope / f"layer_{i}", x, model.width))
    return x


def block(scope, x, attend):
    width = x.shape[-1]
    h = norm(scope / "ln_1", x)
    q, k, v = dense(scope / "q", h, width), dense(scope / "k", h, width), dense(scope / "v", h, width)
    x = x + dense(scope / "o", attend(q, k, v), width)
    return x + dense(scope / "down", _math.gelu(dense(scope / "up", norm(scope / "ln_2", x), 4 * width)), width)


def transformer(scope, x, model):
    def run(scope, x):
        return block(scope, x, model.attend)

    if model.form == "scanned":
        return jscope.layers(run, model.layers)(scope / "layers", x)
    run = {"jitted": jscope.jit, "native": jax.jit}.get(model.form, lambda run: run)(run)
    for i in range(model.layers):
        x = run(scope / f"layer_{i}", x)
    return x


def decoder(scope, tokens, model):
    def body(scope, x):
        return block(scope, x, model.attend)

    table = scope.get_variable("table", (model.vocabulary, model.width), initializer=_math.embeddings)
    positions = scope.get_variable("positions", (model.length, model.width), initializer=_math.embeddings)
    x = _math.embed(tokens, table, positions)
    x = jscope.layers(jscope.remat(body, prevent_cse=False), model.layers)(scope / "layers", x)
    return _math.logits(norm(scope / "ln", x), table)


def conv(scope, x, size, features, stride=1):
    w = scope.get_variable("w", (size, size, x.shape[-1], features), initializer=_math.weights)
    scale = scope.get_variable("scale", (features,), initializer=_math.ones)
    offset = scope.get_variable("offset", (features,), initializer=_math.zeros)
    return _math.conv_norm(x, w, scale, offset, stride)


def bottleneck(scope, x, inner, stride, projects):
    h = _math.relu(conv(scope / "conv_1", x, 1, inner))
    h = _math.relu(conv(scope / "conv_2", h, 3, inner, stride))
    h = conv(scope / "conv_3", h, 1, 4 * inner)
    return _math.relu(h + (conv(scope / "project", x, 1, 4 * inner, stride) if projects else x))


def resnet(scope, x, model):
    x = _math.pool(_math.relu(conv(scope / "stem", x, 7, model.width, 2)))
    for i, (_, inner, stride, projects) in enumerate(model.bottlenecks):
        x = bottleneck(scope / f"block_{i}", x, inner, stride, projects)
    return dense(scope / "out", x.mean((1, 2)), model.classes)


def unit(scope, x):
    w = scope.get_variable("w", x.shape, initializer=_math.ones)
    b = scope.get_variable("b", x.shape, initializer=_math.zeros)
    return _math.unit(x, w, b)


def wide(scope, x, model):
    for g, size in enumerate(model.groups):
        group = scope / f"group_{g}"
        for u in range(size):
            x = unit(group / f"unit_{u}", x)
    return x


MODELS = {Mlp: mlp, Transformer: transformer, Decoder: decoder, ResNet: resnet, Wide: wide}
