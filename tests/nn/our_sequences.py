"""Our side of a comparison with Keras for sequences: what `jscope.nn` gives for a case of `sequence_cases.py`."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jscope
from jscope import nn
from tests.nn.sequence_cases import lengths, mask, numbers

CELLS = {"LSTM": nn.lstm, "GRU": nn.gru, "SimpleRNN": nn.rnn}
ACTIVATIONS = {"softsign": jax.nn.soft_sign, "hard_sigmoid": jax.nn.hard_sigmoid, "relu": jax.nn.relu}
ACTIVATIONS |= {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}
RENAMED = {"dilation_rate": "dilation", "num_query_heads": "num_heads", "head_dim": "key_dim", "output_shape": "units"}


def attention(case, scope, x, context=None):
    options = {RENAMED.get(name, name): value for name, value in case.options.items()}
    seen = jnp.asarray(mask(case)) if case.masked else None
    return (nn.attention(scope, x, options.pop("num_heads"), context=context, mask=seen, **options),)


def recurrent(case, scope, x):
    """What Keras returns: the outputs, and the carries one after the other."""
    options = {RENAMED.get(name, name): value for name, value in case.options.items() if name != "go_backwards"}
    options |= {name: ACTIVATIONS[value] for name, value in options.items() if name.endswith("activation")}
    cell, sizes = CELLS.get(case.layer, nn.conv_lstm), [options.pop(n) for n in ("units", "filters") if n in options]
    counted = jnp.asarray(lengths(case)) if case.masked else None
    if case.merge_mode is not None:
        run = partial(nn.bidirectional, merge_mode=case.merge_mode)
    else:
        run = partial(nn.recurrent, reverse=case.options.get("go_backwards", False))
    ys, carry = run(cell, scope, x, *sizes, lengths=counted, **options)
    # Keras returns outputs in the order in which they were computed.
    return (ys[:, ::-1] if "go_backwards" in case.options else ys, *jax.tree.leaves(carry))


class Compared(NamedTuple):
    """A case as a model, with what it is applied to."""

    model: Any
    params: dict[str, Any]
    args: tuple[jax.Array, ...]

    def outs(self, params, args):
        return self.model.apply(params, *args)


def compared(case):
    model = jscope.transform(partial(attention if case.layer.endswith("Attention") else recurrent, case))
    shapes = (("x", case.shape), ("context", case.context))
    args = tuple(jnp.asarray(numbers(what, shape)) for what, shape in shapes if shape is not None)
    values = lambda path, spec: jnp.asarray(numbers(path, spec.shape))  # noqa: E731
    return Compared(model, jscope.tree.map_with_path(values, model.specs(*args).shape_dtype()), args)


def weighed(models, inputs):
    """One number from all outputs of several cases, which are one program: compiling takes most of the time here."""
    outs = {name: models[name].outs(*inputs[name]) for name in models}
    weighed = [
        jnp.sum(out * jnp.asarray(numbers(f"out {i}", out.shape)))
        for each in outs.values()
        for i, out in enumerate(each)
    ]
    return sum(weighed), outs


def outcomes(cases):
    """Returns by name what Keras records of each case: outputs, and gradients by input and by variable."""
    models = {name: compared(case) for name, case in cases.items()}
    inputs = {name: (model.params, model.args) for name, model in models.items()}
    found, outs = jax.jit(jax.grad(partial(weighed, models), has_aux=True))(inputs)
    return {name: _named(outs[name], *found[name]) for name in cases}


def _named(outs, in_params, in_args):
    named = jscope.tree.flatten(in_params) | {f"input {i}": value for i, value in enumerate(in_args)}
    found = {f"out {i}": out for i, out in enumerate(outs)}
    return found | {f"gradient of {name}": value for name, value in named.items()}


def check(name, found, expected):
    """Raises unless two outcomes agree, to 1e-5."""
    assert found.keys() == expected.keys(), name
    for what, value in expected.items():
        tolerance = 1e-6 if what.startswith("out") else 1e-5
        np.testing.assert_allclose(found[what], value, rtol=1e-5, atol=tolerance, err_msg=f"{name}: {what}")
