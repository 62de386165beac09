"""`flax.core`: functions of a mutable scope, with lifts."""

from __future__ import annotations

import flax.core as flax
from flax.core import lift

from benchmarks.models import _math
from benchmarks.models._models import Built, Mlp, ResNet, Transformer, Wide, supported


def build(model):
    """Returns `model` in `flax.core`."""
    function = supported(MODELS, model)

    def run(scope, x):
        return function(scope, x, model)

    init, apply = flax.init(run), flax.apply(run)
    return Built(lambda key, x: init(key, x)[1], apply, lambda params: {"params": params})


def dense(scope, x, features):
    w = scope.param("w", _math.weights, (x.shape[-1], features))
    b = scope.param("b", _math.zeros, (features,))
    return _math.dense(x, w, b)


def norm(scope, x):
    scale = scope.param("scale", _math.ones, x.shape[-1:])
    offset = scope.param("offset", _math.zeros, x.shape[-1:])
    return _math.norm(x, scale, offset)


def mlp(scope, x, model):
    for i in range(model.layers):
        x = _math.relu(scope.child(dense, f"layer_{i}")(x, model.width))
    return x


def block(scope, x, attend):
    width = x.shape[-1]
    h = scope.child(norm, "ln_1")(x)
    q, k, v = (scope.child(dense, name)(h, width) for name in ("q", "k", "v"))
    x = x + scope.child(dense, "o")(attend(q, k, v), width)
    h = _math.gelu(scope.child(dense, "up")(scope.child(norm, "ln_2")(x), 4 * width))
    return x + scope.child(dense, "down")(h, width)


def transformer(scope, x, model):
    def body(scope, x, _=None):
        return block(scope, x, model.attend)

    if model.form == "scanned":
        return scope.child(stacked(lambda *args: (body(*args), None), model.layers), "layers")(x, None)[0]
    # `lift.jit` gives what it runs a hashable value, by which Linen tells modules apart.
    run = lift.jit(lambda scope, _, x: body(scope, x)) if model.form == "jitted" else lambda scope, _, x: body(scope, x)
    for i in range(model.layers):
        x = scope.child(run, f"layer_{i}")(None, x)
    return x


def stacked(body, layers):
    return lift.scan(body, variable_axes={"params": 0}, split_rngs={"params": True}, length=layers)


def conv(scope, x, size, features, stride=1):
    w = scope.param("w", _math.weights, (size, size, x.shape[-1], features))
    scale = scope.param("scale", _math.ones, (features,))
    offset = scope.param("offset", _math.zeros, (features,))
    return _math.conv_norm(x, w, scale, offset, stride)


def bottleneck(scope, x, inner, stride, projects):
    h = _math.relu(scope.child(conv, "conv_1")(x, 1, inner))
    h = _math.relu(scope.child(conv, "conv_2")(h, 3, inner, stride))
    h = scope.child(conv, "conv_3")(h, 1, 4 * inner)
    return _math.relu(h + (scope.child(conv, "project")(x, 1, 4 * inner, stride) if projects else x))


def resnet(scope, x, model):
    x = _math.pool(_math.relu(scope.child(conv, "stem")(x, 7, model.width, 2)))
    for i, (_, inner, stride, projects) in enumerate(model.bottlenecks):
        x = scope.child(bottleneck, f"block_{i}")(x, inner, stride, projects)
    return scope.child(dense, "out")(x.mean((1, 2)), model.classes)


def unit(scope, x):
    w = scope.param("w", _math.ones, x.shape)
    b = scope.param("b", _math.zeros, x.shape)
    return _math.unit(x, w, b)


def group(scope, x, size):
    for u in range(size):
        x = scope.child(unit, f"unit_{u}")(x)
    return x


def wide(scope, x, model):
    for g, size in enumerate(model.groups):
        x = scope.child(group, f"group_{g}")(x, size)
    return x


MODELS = {Mlp: mlp, Transformer: transformer, ResNet: resnet, Wide: wide}
