"""Runs the programs of `layer_cases.py` in TensorFlow 2.21 and records what they give.

    python -m tests.tf1.oracle.regenerate_layers

needs `pip install tensorflow==2.21 tf_keras tf-slim`; jscope and JAX need not be there.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import types

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import ops

from tests.tf1.layer_cases import CASES, DATA, KEYS, value_of, weights_of

# tf_slim looks for both in places where TensorFlow had them until some years ago.
ops.Tensor = tf.Tensor
for part in ("", ".base", ".convolutional", ".core", ".normalization", ".pooling"):
    found = importlib.import_module(f"tf_keras.src.legacy_tf_layers{part}")
    sys.modules[f"tf_keras.legacy_tf_layers{part}"] = found

slim = importlib.import_module("tf_slim")
utils = importlib.import_module("tf_slim.layers.utils")


class TensorFlow(types.SimpleNamespace):
    """TensorFlow as it was when it had `contrib`."""

    def __getattr__(self, name):
        return getattr(tf, name)


OLD = TensorFlow(contrib=types.SimpleNamespace(layers=slim, framework=slim, slim=slim))


def record(case):
    """Returns what is compared by name, and the arrays."""
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, case.shape)
        out = case.program(OLD, x)
        kept = [each for key in KEYS for each in tf.get_collection(key) if hasattr(each, "load")]
        variables = list(dict.fromkeys([*tf.global_variables(), *kept]))
        trained = [v for v in tf.trainable_variables() if not (case.state and re.search(case.state, v.op.name))]
        facts = {
            "variables": [
                [v.op.name, v.shape.as_list(), v.dtype.base_dtype.name, bool(v.trainable)] for v in variables
            ],
            "collections": {key: names for key in KEYS if (names := [v.name for v in tf.get_collection(key)])},
            "updates": len(tf.get_collection(tf.GraphKeys.UPDATE_OPS) + tf.get_collection("mine_ops")),
        }
        if "ends" in facts["collections"]:
            facts["collections"]["ends"] = list(utils.convert_collection_to_dict("ends"))
        for variable in variables:
            variable.load(value_of(variable.op.name, variable.shape.as_list(), variable.dtype.as_numpy_dtype), session)
        penalties = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
        grads = tf.gradients(tf.reduce_sum(out * weights_of(out)), [x, *trained])
        wanted = {"y": out} | dict(zip(["d x", *(f"d {v.op.name}" for v in trained)], grads, strict=True))
        wanted = {name: value for name, value in wanted.items() if value is not None}
        feed = {x: case.xs()[0]}
        # Gradients first, since they need not run what writes.
        arrays = session.run(wanted, feed)
        arrays["penalties"] = np.asarray(session.run(penalties, feed), "float32")
        for variable in variables:
            variable.load(value_of(variable.op.name, variable.shape.as_list(), variable.dtype.as_numpy_dtype), session)
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS) + tf.get_collection("mine_ops")
        for batch in case.xs():
            # One after the other, in the order of the program: TensorFlow may run them in any order.
            session.run(out, {x: batch})
            for update in updates:
                session.run(update, {x: batch})
        if updates or any("BatchNorm" in v.name for v in variables):
            state = [v for v in variables if v not in trained]
            arrays |= {f"after {v.op.name}": session.run(v) for v in state}
        return facts, arrays


def main():
    facts, arrays = {}, {}
    for name, case in CASES.items():
        facts[name], found = record(case)
        arrays |= {f"{name}|{what}": np.asarray(value) for what, value in found.items()}
    DATA.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in facts.items())
    (DATA / "layers.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf8")
    np.savez_compressed(DATA / "layers.npz", **arrays)


if __name__ == "__main__":
    main()
