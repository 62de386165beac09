"""How many lines the same three models take in each library: `python -m benchmarks.lines` prints the table of the docs.

The models are in `benchmarks/written/`, as users of each library write them, from the layers that it has. A line counts
if it is neither blank nor a comment, and not part of a docstring or an import, after `ruff format` at 120 columns.
"""

from __future__ import annotations

import ast
from functools import partial
from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp

MODELS = {"mlp": "perceptron", "resnet": "ResNet-50", "gpt": "GPT-2"}
LIBRARIES = {
    "jscope": "jscope",
    "haiku": "Haiku",
    "linen": "Flax Linen",
    "nnx": "Flax NNX",
    "equinox": "Equinox",
}
CLASSES = {"mlp": "MLP", "resnet": "ResNet", "gpt": "GPT"}
SMALL = {
    "mlp": {"hidden": (8, 4), "classes": 5},
    "resnet": {"stages": (1, 2), "width": 4, "classes": 5},
    "gpt": {"layers": 2, "heads": 2, "dim": 8, "vocab": 11},
}


def count(model, library):
    """Returns how many lines of code a model has in a library."""
    return code_lines((Path(__file__).parent / "written" / f"{model}_{library}.py").read_text("utf8"))


def code_lines(source):
    """Returns how many lines of code a program has."""
    skipped = set()
    for node in ast.walk(ast.parse(source)):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if text or isinstance(node, ast.Import | ast.ImportFrom):
            skipped |= set(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and i not in skipped for i, line in lines)


def table():
    """Returns the table in Markdown."""
    rows = [["", *LIBRARIES.values()], ["---", *("--:" for _ in LIBRARIES)]]
    rows += [[MODELS[model], *(str(count(model, library)) for library in LIBRARIES)] for model in MODELS]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def inputs(model, small=False):
    """Returns a batch for a model."""
    if model == "gpt":
        return jnp.arange(10).reshape(2, 5)
    if model == "mlp":
        return jnp.ones((2, 784))
    return jnp.ones((2, 16, 16, 3) if small else (1, 224, 224, 3))


def run(model, library, training, **sizes):
    """Makes a model and calls it; returns the number of its parameters, and the output."""
    init, count_params, apply = made(model, library, training, **sizes)
    variables = init()
    return count_params(variables), apply(variables, inputs(model, bool(sizes)))


def made(model, library, training, **sizes):
    """Returns functions of a model: `init()`, the number of parameters of `variables`, and `apply(variables, x)`."""
    name = f"benchmarks.written.{model}_{library}"
    return globals()[f"_{library}"](import_module(name), model, inputs(model, bool(sizes)), training, sizes)


def size(tree):
    """Returns the number of elements of all arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree) if hasattr(leaf, "size"))


def _jscope(module, model, x, training, sizes):
    import jscope

    bound = jscope.transform_with_state(partial(getattr(module, model), **sizes))
    return (
        lambda: bound.init(jax.random.key(0), x, training=training),
        lambda variables: size(variables[0]),
        lambda variables, x: bound.with_rng(jax.random.key(1)).apply(*variables, x, training=training)[0],
    )


def _haiku(module, model, x, training, sizes):
    import haiku as hk

    transformed = hk.transform_with_state(partial(getattr(module, model), **sizes))
    return (
        lambda: transformed.init(jax.random.key(0), x, training=True),
        lambda variables: size(variables[0]),
        lambda variables, x: transformed.apply(*variables, jax.random.key(1), x, training=training)[0],
    )


def _linen(module, model, x, training, sizes):
    network, key = getattr(module, CLASSES[model])(**sizes), jax.random.key(0)
    return (
        lambda: network.init(key, x, training=False),
        lambda variables: size(variables["params"]),
        lambda variables, x: network.apply(variables, x, training, rngs={"dropout": key}, mutable=["batch_stats"])[0],
    )


def _nnx(module, model, x, training, sizes):
    from flax import nnx

    def init():
        network = getattr(module, CLASSES[model])(nnx.Rngs(0), **sizes)
        network.train() if training else network.eval()
        return nnx.split(network)

    return init, lambda made: size(nnx.split_state(made[1], nnx.Param, ...)[0]), lambda made, x: nnx.merge(*made)(x)


def _equinox(module, model, x, training, sizes):
    import equinox as eqx

    def init():
        return eqx.nn.make_with_state(getattr(module, CLASSES[model]))(jax.random.key(0), **sizes)

    def apply(made, x):
        network, state = eqx.nn.inference_mode(made[0], not training), made[1]
        if model == "resnet":
            images = jnp.moveaxis(x, -1, 1)
            return jax.vmap(network, (0, None), (0, None), axis_name="batch")(images, state)[0]
        return jax.vmap(network)(x, jax.random.split(jax.random.key(1), len(x)) if training else None)

    return init, lambda made: size(eqx.filter(made[0], eqx.is_inexact_array)), apply


if __name__ == "__main__":
    print(table())
