"""Attention and recurrent layers compute what Keras computes: outputs, carries and gradients.

`tests/nn/oracle/regenerate_sequences.py` has recorded it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import nn
from tests.crossed import mostly_slow
from tests.nn.sequence_cases import CASES, lengths, mask, numbers

RECORDED = dict(np.load(Path(__file__).parent / "data" / "sequences.npz"))
CELLS = {"LSTM": nn.lstm, "GRU": nn.gru, "SimpleRNN": nn.rnn}
ACTIVATIONS = {"softsign": jax.nn.soft_sign, "hard_sigmoid": jax.nn.hard_sigmoid, "relu": jax.nn.relu}
RENAMED = {"num_query_heads": "num_heads", "head_dim": "key_dim", "output_shape": "units"}


def attention(case, scope, x, context=None):
    options = {RENAMED.get(name, name): value for name, value in case.options.items()}
    seen = jnp.asarray(mask(case)) if case.masked else None
    return (nn.attention(scope, x, options.pop("num_heads"), context=context, mask=seen, **options),)


def recurrent(case, scope, x):
    """What Keras returns: the outputs, and the carries one after the other."""
    options = {name: ACTIVATIONS.get(value, value) for name, value in case.options.items() if name != "go_backwards"}
    cell, sizes = CELLS.get(case.layer, nn.conv_lstm), [options.pop(n) for n in ("units", "filters") if n in options]
    counted = jnp.asarray(lengths(case)) if case.masked else None
    if case.merge_mode is not None:
        run = partial(nn.bidirectional, merge_mode=case.merge_mode)
    else:
        run = partial(nn.recurrent, reverse=case.options.get("go_backwards", False))
    ys, carry = run(cell, scope, x, *sizes, lengths=counted, **options)
    # Keras returns outputs in the order in which they were computed.
    return (ys[:, ::-1] if "go_backwards" in case.options else ys, *jax.tree.leaves(carry))


def recorded(name):
    """The outputs by number, and the gradients by name."""
    found = {key.removeprefix(f"{name}: "): value for key, value in RECORDED.items() if key.startswith(f"{name}: ")}
    outs = [found.pop(f"out {i}") for i in range(sum(key.startswith("out ") for key in found))]
    return outs, {key.removeprefix("gradient of "): value for key, value in found.items()}


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


@pytest.mark.parametrize(
    "layer", mostly_slow(sorted({case.layer for case in CASES.values()}), "GRU", "MultiHeadAttention")
)
def test_layers_compute_what_keras_computes(layer):
    """Outputs, carries, and gradients with respect to inputs and variables, to 1e-5."""
    models = {name: compared(case) for name, case in CASES.items() if case.layer == layer}
    inputs = {name: (model.params, model.args) for name, model in models.items()}
    found, outs = jax.jit(jax.grad(partial(weighed, models), has_aux=True))(inputs)
    for name, (in_params, in_args) in found.items():
        expected, gradients = recorded(name)
        assert len(outs[name]) == len(expected)
        for out, value in zip(outs[name], expected, strict=True):
            np.testing.assert_allclose(out, value, rtol=1e-5, atol=1e-6, err_msg=name)
        named = jscope.tree.flatten(in_params) | {f"input {i}": value for i, value in enumerate(in_args)}
        assert named.keys() == gradients.keys()
        for what, value in gradients.items():
            np.testing.assert_allclose(named[what], value, rtol=1e-5, atol=1e-5, err_msg=f"{name}: {what}")
