"""Records what Keras 3 gives for the cases of `tests/nn/cases.py`.

    pip install -e ".[oracle]"
    KERAS_BACKEND=jax python -m tests.nn.oracle.regenerate

Keras runs on JAX, with JAX's standard promotion. For each case: the output, the gradients of the output times a wave
by the input and by each variable, and state after three steps. For the distributions of initial values: mean, standard
deviation, smallest and largest of many.
"""

from __future__ import annotations

import json
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np

from tests.nn.cases import CASES, DATA, STEPS, save, value_of, weights_of
from tests.nn.starts import STARTS


def run(case):
    """Returns what Keras gives for a case."""
    if case.keras.startswith("ops."):
        return run_function(lambda x: getattr(keras.ops.nn, case.keras[4:])(x, **case.options), case.x())
    layer = getattr(keras.layers, case.keras)(**case.options)
    layer.build(case.shape)
    names = {id(variable): case.rename.get(variable.name, variable.name) for variable in layer.variables}
    params = [value_of(names[id(v)], v.shape) for v in layer.trainable_variables]
    state = [value_of(names[id(v)], v.shape) for v in layer.non_trainable_variables]

    def loss(params, x):
        y, _ = layer.stateless_call(params, state, x, **case.extra())
        return (y * weights_of(y)).sum(), y

    by = (0, 1) if case.ids is None else 0
    grads, y = jax.jit(jax.grad(loss, by, has_aux=True))(params, case.x())
    grads, dx = grads if case.ids is None else (grads, None)
    out = {"y": y} | ({} if dx is None else {"d x": dx})
    out |= {f"d {names[id(v)]}": grad for v, grad in zip(layer.trainable_variables, grads, strict=True)}
    if case.training:
        for step in range(STEPS):
            _, state = layer.stateless_call(params, state, case.x(step), **case.extra())
        out |= {names[id(v)]: value for v, value in zip(layer.non_trainable_variables, state, strict=True)}
    return out


def run_function(function, x):
    """Returns the output and the gradient of a function without variables."""
    y, pullback = jax.vjp(function, x)
    return {"y": y, "d x": pullback(weights_of(y))[0]}


def start(keras_class, options, shape, name):
    """Returns how a variable of Keras starts: what its distribution looks like."""
    layer = getattr(keras.layers, keras_class)(**options)
    layer.build(shape)
    (variable,) = (v for v in layer.variables if v.name == name)
    value = np.asarray(variable.value)
    return {
        "shape": list(value.shape),
        "mean": float(value.mean()),
        "std": float(value.std()),
        "min": float(value.min()),
        "max": float(value.max()),
    }


def main():
    """Writes both files."""
    save("keras.npz", {name: run(case) for name, case in CASES.items()})
    keras.utils.set_random_seed(0)
    starts = {name: start(*each.keras) for name, each in STARTS.items()}
    (DATA / "starts.json").write_text(json.dumps(starts, indent=1) + "\n", encoding="utf8")
    print(f"{len(CASES)} cases, {len(STARTS)} starts, {(DATA / 'keras.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
