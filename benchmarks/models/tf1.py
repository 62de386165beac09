"""`jscope.tf1`: TensorFlow 1's ambient scopes."""

from __future__ import annotations

from benchmarks.models import _math
from benchmarks.models._models import Built, Transformer, Wide
from jscope import tf1


def build(model):
    """Returns `model` in the TensorFlow 1 facade."""
    function = MODELS[type(model)]
    made = tf1.transform(lambda x: function(x, model))
    return Built(made.init, made.apply)


def dense(x, features, name):
    with tf1.variable_scope(name):
        w = tf1.get_variable("w", (x.shape[-1], features), initializer=_math.weights)
        b = tf1.get_variable("b", (features,), initializer=_math.zeros)
        return _math.dense(x, w, b)


def norm(x, name, compute=_math.norm):
    with tf1.variable_scope(name):
        scale = tf1.get_variable("scale", x.shape[-1:], initializer=_math.ones)
        offset = tf1.get_variable("offset", x.shape[-1:], initializer=_math.zeros)
        return compute(x, scale, offset)


def block(x, attend, name):
    width = x.shape[-1]
    with tf1.variable_scope(name):
        h = norm(x, "ln_1")
        q, k, v = dense(h, width, "q"), dense(h, width, "k"), dense(h, width, "v")
        x = x + dense(attend(q, k, v), width, "o")
        return x + dense(_math.gelu(dense(norm(x, "ln_2"), 4 * width, "up")), width, "down")


def transformer(x, model):
    for i in range(model.layers):
        x = block(x, model.attend, f"layer_{i}")
    return x


def wide(x, model):
    for i in model.units:
        x = norm(x, f"unit_{i}", model.compute)
    return x


MODELS = {Transformer: transformer, Wide: wide}
FORMS = ("unrolled",)  # TensorFlow 1 code has loops of its own, which scan or jit nothing.
