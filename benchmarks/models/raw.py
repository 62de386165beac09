"""JAX alone: nested dicts, made and read by hand."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from benchmarks.models import _math
from benchmarks.models._models import Built, Decoder, Mlp, ResNet, Transformer, Wide

FLOAT = jnp.float32


def build(model):
    """Returns `model` in plain JAX."""
    init, apply = MODELS[type(model)](model)
    return Built(init, apply, lambda params: params)


def init_dense(key, n_in, n_out):
    return {"w": _math.weights(key, (n_in, n_out), FLOAT), "b": _math.zeros(key, (n_out,), FLOAT)}


def init_norm(key, size):
    return {"scale": _math.ones(key, (size,), FLOAT), "offset": _math.zeros(key, (size,), FLOAT)}


def dense(p, x):
    return _math.dense(x, p["w"], p["b"])


def norm(p, x):
    return _math.norm(x, p["scale"], p["offset"])


def mlp(model):
    def init(key, x):
        keys = jax.random.split(key, model.layers)
        return {f"layer_{i}": init_dense(keys[i], model.width, model.width) for i in range(model.layers)}

    def apply(params, x):
        for i in range(model.layers):
            x = _math.relu(dense(params[f"layer_{i}"], x))
        return x

    return init, apply


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
        return {f"layer_{i}": init_block(keys[i], model.width) for i in range(model.layers)}

    def init_scanned(key, x):
        return {"layers": jax.vmap(lambda key: init_block(key, model.width))(jax.random.split(key, model.layers))}

    def apply(params, x):
        def run(p, x):
            return block(p, x, model.attend)

        run = jax.jit(run) if model.form in ("jitted", "native") else run
        for i in range(model.layers):
            x = run(params[f"layer_{i}"], x)
        return x

    def apply_scanned(params, x):
        return jax.lax.scan(lambda x, p: (block(p, x, model.attend), None), x, params["layers"])[0]

    return (init_scanned, apply_scanned) if model.form == "scanned" else (init, apply)


def decoder(model):
    def init(key, x):
        keys = jax.random.split(key, model.layers + 2)
        return {
            "table": _math.embeddings(keys[0], (model.vocabulary, model.width), FLOAT),
            "positions": _math.embeddings(keys[1], (model.length, model.width), FLOAT),
            "layers": jax.vmap(lambda key: init_block(key, model.width))(keys[2:]),
            "ln": init_norm(key, model.width),
        }

    def apply(params, tokens):
        @partial(jax.checkpoint, prevent_cse=False)
        def body(p, x):
            return block(p, x, model.attend)

        x = _math.embed(tokens, params["table"], params["positions"])
        x = jax.lax.scan(lambda x, p: (body(p, x), None), x, params["layers"])[0]
        return _math.logits(norm(params["ln"], x), params["table"])

    return init, apply


def init_conv(key, size, n_in, n_out):
    return {"w": _math.weights(key, (size, size, n_in, n_out), FLOAT), **init_norm(key, n_out)}


def conv(p, x, stride=1):
    return _math.conv_norm(x, p["w"], p["scale"], p["offset"], stride)


def init_bottleneck(key, n_in, inner, projects):
    keys = jax.random.split(key, 4)
    params = {
        "conv_1": init_conv(keys[0], 1, n_in, inner),
        "conv_2": init_conv(keys[1], 3, inner, inner),
        "conv_3": init_conv(keys[2], 1, inner, 4 * inner),
    }
    return params | ({"project": init_conv(keys[3], 1, n_in, 4 * inner)} if projects else {})


def bottleneck(p, x, stride, projects):
    h = _math.relu(conv(p["conv_1"], x))
    h = conv(p["conv_3"], _math.relu(conv(p["conv_2"], h, stride)))
    return _math.relu(h + (conv(p["project"], x, stride) if projects else x))


def resnet(model):
    def init(key, x):
        keys = jax.random.split(key, len(model.bottlenecks) + 2)
        params = {
            f"block_{i}": init_bottleneck(keys[i], n_in, inner, projects)
            for i, (n_in, inner, _, projects) in enumerate(model.bottlenecks)
        }
        params["stem"] = init_conv(keys[-2], 7, 3, model.width)
        params["out"] = init_dense(keys[-1], model.features, model.classes)
        return params

    def apply(params, x):
        x = _math.pool(_math.relu(conv(params["stem"], x, 2)))
        for i, (_, _, stride, projects) in enumerate(model.bottlenecks):
            x = bottleneck(params[f"block_{i}"], x, stride, projects)
        return dense(params["out"], x.mean((1, 2)))

    return init, apply


def wide(model):
    shape = (model.width,)

    def init(key, x):
        one, zero = partial(_math.ones, key, shape, FLOAT), partial(_math.zeros, key, shape, FLOAT)
        return {
            f"group_{g}": {f"unit_{u}": {"w": one(), "b": zero()} for u in range(size)}
            for g, size in enumerate(model.groups)
        }

    def apply(params, x):
        for g, size in enumerate(model.groups):
            group = params[f"group_{g}"]
            for u in range(size):
                p = group[f"unit_{u}"]
                x = _math.unit(x, p["w"], p["b"])
        return x

    return init, apply


MODELS = {Mlp: mlp, Transformer: transformer, Decoder: decoder, ResNet: resnet, Wide: wide}
