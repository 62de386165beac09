"""`tf.nn.rnn_cell` and `tf.nn.dynamic_rnn`, against TensorFlow's answers in `recurrent.json`."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import tf1
from tests.crossed import mostly_slow
from tests.tf1.recurrent import CASES, floats, value_of
from tests.tf1.test_operations import flat, weights
from tests.tf1.tools import KEY

RECORDED = json.loads((Path(__file__).parent / "recurrent.json").read_text(encoding="utf8"))


def model_of(expression):
    made = lambda *shape: tf1.convert_to_tensor(jnp.asarray(floats(shape)))  # noqa: E731
    names = {"tf": tf1, "rnn": tf1.nn.rnn_cell, "np": np, "f": made}
    return tf1.transform(lambda: flat(eval(expression, names)))


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "eager"])
@pytest.mark.parametrize("expression", mostly_slow(CASES, *CASES[1::8]))
def test_networks_are_those_of_tensorflow(expression, compiled):
    """Names and shapes, in the order of creation; outputs; and gradients."""
    answer, model = RECORDED[expression], model_of(expression)
    specs = model.specs().flat()
    assert {name: list(spec.shape) for name, spec in specs.items()} == answer["variables"]
    params = jscope.tree.unflatten({name: value_of(name, shape) for name, shape in answer["variables"].items()})
    outs = (jax.jit(model.apply) if compiled else model.apply)(params)
    for out, values in zip(outs, answer["out"], strict=True):
        np.testing.assert_allclose(np.ravel(out), values, 1e-5, 1e-5)
    if compiled:
        total = lambda p: sum(jnp.sum(out * weights(out.shape)) for out in model.apply(p))  # noqa: E731
        grads = jscope.tree.flatten(jax.jit(jax.grad(total))(params))
        found = [float(jnp.sum(grads[name] * weights(grads[name].shape))) for name in answer["variables"]]
        np.testing.assert_allclose(found, answer["grads"], 1e-4, 1e-5)


def test_a_cell_serves_many_calls():
    """What it remembers of its scope belongs to one call."""
    cell = tf1.nn.rnn_cell.GRUCell(2)
    model = tf1.transform(lambda x: tf1.nn.dynamic_rnn(cell, x, dtype=tf1.float32)[0])
    one, other = (model.init(KEY, jnp.ones((1, 2, 3))) for _ in range(2))
    assert jscope.tree.names(one) == jscope.tree.names(other)
    assert "rnn/gru_cell/gates/kernel" in jscope.tree.names(one)


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "eager"])
def test_each_step_drops_out_other_inputs(compiled):
    """And each call with the same key drops out the same."""
    cell = tf1.nn.rnn_cell.DropoutWrapper(tf1.nn.rnn_cell.BasicRNNCell(8), output_keep_prob=0.5)
    model = tf1.transform(lambda x: tf1.nn.dynamic_rnn(cell, x, dtype=tf1.float32)[0])
    x = jnp.ones((1, 6, 3))
    params = model.init(KEY, x)
    apply = model.with_rng(KEY).apply
    apply = jax.jit(apply) if compiled else apply
    dropped = np.asarray(apply(params, x)[0] == 0)
    assert 0 < dropped.sum() < dropped.size
    assert len(np.unique(dropped, axis=0)) > 1
    np.testing.assert_array_equal(dropped, np.asarray(apply(params, x)[0] == 0))


def test_a_cell_of_ones_own():
    """Written for TensorFlow: with `call`, or with `__call__`."""

    class Sum(tf1.nn.rnn_cell.RNNCell):
        state_size = output_size = 3

        def call(self, inputs, state):
            out = inputs * tf1.get_variable("w", [3]) + state
            return out, out

    class OldSum(Sum):
        def __call__(self, inputs, state, scope=None):
            with tf1.variable_scope(scope or type(self).__name__):
                return self.call(inputs, state)

    for cell, name in ((Sum(), "rnn/sum/w"), (OldSum(), "rnn/OldSum/w")):
        model = tf1.transform(lambda x, cell=cell: tf1.nn.dynamic_rnn(cell, x, dtype=tf1.float32)[1])
        x = jnp.ones((1, 2, 3))
        params = model.init(KEY, x)
        assert jscope.tree.names(params) == [name]
        np.testing.assert_allclose(model.apply(jax.tree.map(jnp.ones_like, params), x), jnp.full((1, 3), 2.0))
