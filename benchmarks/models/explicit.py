"""jscope: functions of a scope."""

from __future__ import annotations

import jax

import jscope
from benchmarks.models import _math
from benchmarks.models._models import Built, Decoder, Transformer, Wide


def build(model):
    """Returns `model` in jscope."""
    function = MODELS[type(model)]
    made = jscope.transform(lambda scope, x: function(scope, x, model))

    def sharded(key, x, rule):
        specs = made.specs(x)
        return specs.materialize(key, sharding=specs.map(lambda spec: rule(spec.shape)))

    return Built(made.init, made.apply, sharded=sharded, specs=made.specs)


def dense(scope, x, features):
    w = scope.get_variable("w", (x.shape[-1], features), initializer=_math.weights)
    b = scope.get_variable("b", (features,), initializer=_math.zeros)
    return _math.dense(x, w, b)


def norm(scope, x, compute=_math.norm):
    scale = scope.get_variable("scale", x.shape[-1:], initializer=_math.ones)
    offset = scope.get_variable("offset", x.shape[-1:], initializer=_math.zeros)
    return compute(x, scale, offset)


def block(scope, x, attend):
    width = x.shape[-1]
    h = norm(scope / "ln_1", x)
    q, k, v = dense(scope / "q", h, width), dense(scope / "k", h, width), dense(scope / "v", h, width)
    x = x + dense(scope / "o", attend(q, k, v), width)
    return x + dense(scope / "down", _math.gelu(dense(scope / "up", norm(scope / "ln_2", x), 4 * width)), width)


def transformer(scope, x, model):
    def run(scope, x):
        return block(scope, x, model.attend)

    if model.form in ("shared", "scanned"):
        attend = model.attend
        run = lambda scope, x: block(scope, x, attend)  # noqa: E731
    if model.form == "scanned":
        return jscope.layers(jscope.remat(run, prevent_cse=False), model.layers)(scope / "layers", x)
    run = {"jitted": jscope.jit, "shared": jscope.jit, "native": jax.jit}.get(model.form, lambda run: run)(run)
    for i in range(model.layers):
        x = run(scope / f"layer_{i}", x)
    return x


def decoder(scope, tokens, model):
    table = scope.get_variable("table", (model.vocabulary, model.width), initializer=_math.embeddings)
    positions = scope.get_variable("positions", (model.length, model.width), initializer=_math.embeddings)
    x = transformer(scope / "blocks", _math.embed(tokens, table, positions), model.blocks)
    return _math.logits(norm(scope / "ln", x), table)


def wide(scope, x, model):
    for i in model.units:
        x = norm(scope / f"unit_{i}", x, model.compute)
    return x


MODELS = {Transformer: transformer, Decoder: decoder, Wide: wide}
FORMS = ("unrolled", "scanned", "jitted", "native", "shared")


def unit(scope, x):
    return jax.numpy.tanh(x @ scope.get_variable("w"))


def first(scope, x):
    return jax.numpy.tanh(x @ scope.get_variable("w")[0])


def scanned_unit(scope, x, _):
    return unit(scope, x), None


unit_of_module = jscope.jit(first)
_LIFTS = {
    "scan": lambda s, x: jscope.scan(scanned_unit, s, x)[0],
    "scan of a lambda": lambda s, x: jscope.scan(lambda s, x, _: (unit(s, x), None), s, x)[0],
    "layers": lambda s, x: jscope.layers(lambda s, x, y: unit(s, x + y), 8)(s, x, x),
    "map": lambda s, x: jscope.map(lambda s, x: first(s, x), s, x),
    "cond": lambda s, x: jscope.cond(x[0, 0] > 0, first, lambda s, x: x, s, x),
    "switch": lambda s, x: jscope.switch(1, [first, lambda s, x: x], s, x),
    "while_loop": lambda s, x: jscope.while_loop(
        lambda s, v: v[0] < 8, lambda s, v: (v[0] + 1, first(s, v[1])), s, (0, x)
    ),
    "fori_loop": lambda s, x: jscope.fori_loop(0, 8, lambda s, i, x: first(s, x), s, x),
    "jit": lambda s, x: unit_of_module(s, x),
    "jit inline": lambda s, x: jscope.jit(first)(s, x),
    "jit of a lambda": lambda s, x: jscope.jit(lambda s, x: first(s, x))(s, x),
}
"""Models that are one lift; as in `raw`, the params are a stack of 8 matrices `w`."""
LIFTS = {name: jscope.transform(model).apply for name, model in _LIFTS.items()}
