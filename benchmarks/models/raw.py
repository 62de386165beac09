"""JAX alone: nested dicts, made and read by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from benchmarks.models import _math
from benchmarks.models._models import Built, Decoder, Transformer, Wide

FLOAT = jnp.float32


def build(model):
    """Returns `model` in plain JAX."""
    return Built(*MODELS[type(model)](model))


def init_dense(key, n_in, n_out):
    return {"w": _math.weights(key, (n_in, n_out), FLOAT), "b": _math.zeros(key, (n_out,), FLOAT)}


def init_norm(key, size):
    return {"scale": _math.ones(key, (size,), FLOAT), "offset": _math.zeros(key, (size,), FLOAT)}


def dense(p, x):
    return _math.dense(x, p["w"], p["b"])


def norm(p, x, compute=_math.norm):
    return compute(x, p["scale"], p["offset"])


def init_block(key, width):
    keys = jax.random.split(key, 6)
    return {
        "ln_1": init_norm(key, width),
        "q": init_dense(keys[0], width, width),
        "k": init_dense(keys[1], width, width),
        "v": init_dense(keys[2], width, width),
        "o": init_dense(keys[3], width, width),
        "ln_2": init_norm(key, width),
        "up": init_dense(keys[4], width, 4 * width),
        "down": init_dense(keys[5], 4 * width, width),
    }


def block(p, x, attend):
    h = norm(p["ln_1"], x)
    x = x + dense(p["o"], attend(dense(p["q"], h), dense(p["k"], h), dense(p["v"], h)))
    return x + dense(p["down"], _math.gelu(dense(p["up"], norm(p["ln_2"], x))))


def transformer(model):
    def init(key, x):
        keys = jax.random.split(key, model.layers)
        if model.form == "scanned":
            return {"layers": jax.vmap(lambda key: init_block(key, model.width))(keys)}
        return {f"layer_{i}": init_block(keys[i], model.width) for i in range(model.layers)}

    def apply(params, x):
        # A new function in each call: JAX would find what it traced of an old one.
        def run(p, x):
            return block(p, x, model.attend)

        if model.form == "scanned":
            run = jax.checkpoint(run, prevent_cse=False)
            return jax.lax.scan(lambda x, p: (run(p, x), None), x, params["layers"])[0]
        run = jax.jit(run) if model.form in ("jitted", "native") else run
        for i in range(model.layers):
            x = run(params[f"layer_{i}"], x)
        return x

    return init, apply


def decoder(model):
    init_blocks, apply_blocks = transformer(model.blocks)

    def init(key, x):
        keys = jax.random.split(key, 3)
        return {
            "table": _math.embeddings(keys[0], (model.vocabulary, model.width), FLOAT),
            "positions": _math.embeddings(keys[1], (model.length, model.width), FLOAT),
            "blocks": init_blocks(keys[2], x),
            "ln": init_norm(key, model.width),
        }

    def apply(params, tokens):
        x = apply_blocks(params["blocks"], _math.embed(tokens, params["table"], params["positions"]))
        return _math.logits(norm(params["ln"], x), params["table"])

    return init, apply


def wide(model):
    def init(key, x):
        return {f"unit_{i}": init_norm(key, model.width) for i in model.units}

    def apply(params, x):
        for i in model.units:
            x = norm(params[f"unit_{i}"], x, model.compute)
        return x

    return init, apply


MODELS = {Transformer: transformer, Decoder: decoder, Wide: wide}
FORMS = ("unrolled", "scanned", "jitted", "native")


# JAX finds what it traced by the function, so these are functions of the module.


def unit(w, x):
    return jax.numpy.tanh(x @ w)


def scanned_unit(x, w):
    return unit(w, x), None


def scanned_sum(carry, w):
    return (unit(w, carry[0] + carry[1]), carry[1]), None


def mapped(carry, x):
    return carry, unit(carry[0], x)


def same(params, x):
    return x


def first(params, x):
    return unit(params["w"][0], x)


def counted_up(loop):
    return loop[1] < 8


def counting(loop):
    return loop[0], loop[1] + 1, first(loop[0], loop[2])


def repeated(i, loop):
    return loop[0], first(*loop)


LIFTS = {
    "scan": lambda p, x: jax.lax.scan(scanned_unit, x, p["w"])[0],
    "layers": lambda p, x: jax.lax.scan(scanned_sum, (x, x), p["w"])[0][0],
    "map": lambda p, x: jax.lax.scan(mapped, p["w"], x)[1],
    "cond": lambda p, x: jax.lax.cond(x[0, 0] > 0, first, same, p, x),
    "switch": lambda p, x: jax.lax.switch(1, [first, same], p, x),
    "while_loop": lambda p, x: jax.lax.while_loop(counted_up, counting, (p, 0, x)),
    "fori_loop": lambda p, x: jax.lax.fori_loop(0, 8, repeated, (p, x)),
    "jit": jax.jit(first),
}
"""Each lift of `explicit` by JAX's own transform."""
