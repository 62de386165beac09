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


def whole(variable):
    """Returns the name and the shape of a variable, and which part of it this is: a partitioner cuts variables."""
    info = variable._save_slice_info
    if info is None:
        return variable.op.name, variable.shape.as_list(), ...
    ends = zip(info.var_offset, info.var_shape, strict=True)
    return info.full_name, list(info.full_shape), tuple(slice(start, start + size) for start, size in ends)


def load(variable, session):
    """Gives a variable the value that follows from its name."""
    name, shape, part = whole(variable)
    variable.load(value_of(name, shape, variable.dtype.as_numpy_dtype)[part], session)


def joined(variables, arrays):
    """Returns arrays by the names of their variables, those of the parts of one variable as one array."""
    found = {}
    for variable, array in zip(variables, arrays, strict=True):
        name, shape, part = whole(variable)
        found.setdefault(name, np.zeros(shape, array.dtype))[part] = array
    return found


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
            load(variable, session)
        penalties = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
        grads = tf.gradients(tf.reduce_sum(out * weights_of(out)), [x, *trained])
        by = [(v, grad) for v, grad in zip(trained, grads[1:], strict=True) if grad is not None]
        wanted = {"y": out, "d x": grads[0], "by": [tf.convert_to_tensor(grad) for _, grad in by]}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        feed = {x: case.xs()[0]}
        # Gradients first, since they need not run what writes.
        arrays = session.run(wanted, feed)
        found = joined([v for v, _ in by], arrays.pop("by"))
        arrays |= {f"d {name}": array for name, array in found.items()}
        arrays["penalties"] = np.asarray(session.run(penalties, feed), "float32")
        for variable in variables:
            load(variable, session)
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
