"""`jscope.tf1`: TensorFlow 1's ambient scopes."""

from __future__ import annotations

from benchmarks.models import _math
from benchmarks.models._models import Built, Mlp, ResNet, Transformer, UnsupportedError, Wide, supported
from jscope import tf1


def build(model):
    """Returns `model` in the TensorFlow 1 facade."""
    function = supported(MODELS, model)
    made = tf1.transform(lambda x: function(x, model))
    return Built(made.init, made.apply, lambda params: params)


def dense(x, features, name):
    with tf1.variable_scope(name):
        w = tf1.get_variable("w", (x.shape[-1], features), initializer=_math.weights)
        b = tf1.get_variable("b", (features,), initializer=_math.zeros)
        return _math.dense(x, w, b)


def norm(x, name):
    with tf1.variable_scope(name):
        scale = tf1.get_variable("scale", x.shape[-1:], initializer=_math.ones)
        offset = tf1.get_variable("offset", x.shape[-1:], initializer=_math.zeros)
        return _math.norm(x, scale, offset)


def mlp(x, model):
    for i in range(model.layers):
        x = _math.relu(dense(x, model.width, f"layer_{i}"))
    return x


def block(x, attend, name):
    width = x.shape[-1]
    with tf1.variable_scope(name):
        h = norm(x, "ln_1")
        q, k, v = dense(h, width, "q"), dense(h, width, "k"), dense(h, width, "v")
        x = x + dense(attend(q, k, v), width, "o")
        return x + dense(_math.gelu(dense(norm(x, "ln_2"), 4 * width, "up")), width, "down")


def transformer(x, model):
    if model.form != "unrolled":
        raise UnsupportedError("TensorFlow 1 code has loops of its own, which scan or jit nothing.")
    for i in range(model.layers):
        x = block(x, model.attend, f"layer_{i}")
    return x


def conv(x, size, features, name, stride=1):
    with tf1.variable_scope(name):
        w = tf1.get_variable("w", (size, size, x.shape[-1], features), initializer=_math.weights)
        scale = tf1.get_variable("scale", (features,), initializer=_math.ones)
        offset = tf1.get_variable("offset", (features,), initializer=_math.zeros)
        return _math.conv_norm(x, w.value(), scale, offset, stride)


def bottleneck(x, inner, stride, projects, name):
    with tf1.variable_scope(name):
        h = _math.relu(conv(x, 1, inner, "conv_1"))
        h = _math.relu(conv(h, 3, inner, "conv_2", stride))
        h = conv(h, 1, 4 * inner, "conv_3")
        return _math.relu(h + (conv(x, 1, 4 * inner, "project", stride) if projects else x))


def resnet(x, model):
    x = _math.pool(_math.relu(conv(x, 7, model.width, "stem", 2)))
    for i, (_, inner, stride, projects) in enumerate(model.bottlenecks):
        x = bottleneck(x, inner, stride, projects, f"block_{i}")
    return dense(x.mean((1, 2)), model.classes, "out")


def unit(x, name):
    with tf1.variable_scope(name):
        w = tf1.get_variable("w", x.shape, initializer=_math.ones)
        b = tf1.get_variable("b", x.shape, initializer=_math.zeros)
        return _math.unit(x, w, b)


def wide(x, model):
    for g, size in enumerate(model.groups):
        with tf1.variable_scope(f"group_{g}"):
            for u in range(size):
                x = unit(x, f"unit_{u}")
    return x


MODELS = {Mlp: mlp, Transformer: transformer, ResNet: resnet, Wide: wide}
