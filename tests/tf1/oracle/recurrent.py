"""Asks TensorFlow for the answers in `tests/tf1/recurrent.json`: names, shapes, outputs and gradients of networks.

pip install "tensorflow-cpu==2.21.*" tf_keras
python -m tests.tf1.oracle.recurrent
"""

from __future__ import annotations

import importlib
import json
import os
import types
from pathlib import Path

import numpy as np

from tests.tf1.oracle.operations import flat, short, weights
from tests.tf1.recurrent import CASES, floats, value_of

ANSWERS = Path(__file__).parents[1] / "recurrent.json"


def answer(tf, rnn, expression):
    with tf.Graph().as_default(), tf.Session() as session:
        made = lambda *shape: tf.constant(floats(shape))  # noqa: E731
        outs = flat(eval(expression, {"tf": tf, "rnn": rnn, "np": np, "f": made}))
        variables = tf.global_variables()
        total = sum(tf.reduce_sum(out * weights(out.shape)) for out in outs)
        grads = tf.gradients(total, variables)
        session.run([v.initializer for v in variables])
        for v in variables:
            v.load(value_of(v.op.name, v.shape.as_list()), session)
        values, grads = session.run([outs, grads])
        described = {v.op.name: v.shape.as_list() for v in variables}
        return {
            "variables": described,
            "out": [short(np.float64(value).ravel().tolist()) for value in values],
            "grads": short([float(np.sum(g * weights(g.shape))) for g in grads]),
        }


def main():
    """Writes the answers."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    tf = importlib.import_module("tensorflow").compat.v1
    homes = (f"tf_keras.src.layers.rnn.legacy_cell{end}" for end in ("s", "_wrappers"))
    rnn = types.SimpleNamespace(**{k: v for home in homes for k, v in vars(importlib.import_module(home)).items()})
    answers = {expression: answer(tf, rnn, expression) for expression in CASES}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in answers.items()]
    ANSWERS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf8")


if __name__ == "__main__":
    main()
