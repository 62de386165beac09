"""Attention and recurrent layers compute what Keras computes: outputs, carries and gradients.

`tests/nn/oracle/regenerate_sequences.py` has recorded it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import nn
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


@pytest.mark.parametrize("name", CASES)
def test_layers_compute_what_keras_computes(name):
    """Outputs, carries, and gradients with respect to inputs and variables, to 1e-5."""
    case = CASES[name]
    model = jscope.transform(partial(attention if case.layer.endswith("Attention") else recurrent, case))
    args = tuple(
        jnp.asarray(numbers(what, shape))
        for what, shape in (("x", case.shape), ("context", case.context))
        if shape is not None
    )
    params = jscope.tree.map_with_path(
        lambda path, spec: jnp.asarray(numbers(path, spec.shape)), model.specs(*args).shape_dtype()
    )
    expected, gradients = recorded(name)

    def weighed(params, args):
        outs = model.apply(params, *args)
        weights = [jnp.asarray(numbers(f"out {i}", out.shape)) for i, out in enumerate(outs)]
        return sum(jnp.sum(out * weight) for out, weight in zip(outs, weights, strict=True)), outs

    (in_params, in_args), outs = jax.jit(jax.grad(weighed, (0, 1), has_aux=True))(params, args)
    found = jscope.tree.flatten(in_params) | {f"input {i}": value for i, value in enumerate(in_args)}
    assert len(outs) == len(expected)
    for out, value in zip(outs, expected, strict=True):
        np.testing.assert_allclose(out, value, rtol=1e-5, atol=1e-6)
    assert found.keys() == gradients.keys()
    for what, value in gradients.items():
        np.testing.assert_allclose(found[what], value, rtol=1e-5, atol=1e-5, err_msg=what)
