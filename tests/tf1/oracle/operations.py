"""Asks TensorFlow for the answers in `tests/tf1/operations.json`.

    pip install "tensorflow-cpu==2.21.*" tf_keras
    python -m tests.tf1.oracle.operations

Beside each expression stand dtype, shape and values of what it returns, and the gradients by its floats, each reduced
to one number. Beside each operation of the table stand TensorFlow's arguments.
"""

# ruff: noqa: T201 - a program prints, and evaluates what the file beside it says.

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from pathlib import Path

import numpy as np

from tests.tf1.operations import CASES, numbers

ANSWERS = Path(__file__).parents[1] / "operations.json"


def flat(out):
    """The tensors in what an expression returns."""
    if isinstance(out, list | tuple):
        return [leaf for item in out for leaf in flat(item)]
    return [] if out is None else [out]


def answer(tf, expression):
    """Evaluates one expression in a graph of its own."""
    with tf.Graph().as_default() as graph, tf.Session() as session:
        inputs = []

        def make(kind):
            def array(*shape):
                dtype = {"i": "int32", "b": "bool"}.get(kind, "float32")
                # In the branch of a `cond` as well, since gradients are taken outside.
                with graph.as_default(), tf.control_dependencies(None):
                    constant = tf.constant(np.reshape(np.array(numbers(kind, shape), dtype), shape))
                inputs.extend([constant] if kind in "fp" else [])
                return constant

            return array

        outs = flat(eval(expression, {"tf": tf, "np": np, **{kind: make(kind) for kind in "fpib"}}))
        outs = [tf.convert_to_tensor(out) for out in outs]
        values = session.run(outs)
        floats = [(out, value) for out, value in zip(outs, values, strict=True) if out.dtype == tf.float32]
        total = sum(tf.reduce_sum(out * weights(value.shape)) for out, value in floats) if floats else None
        try:
            grads = tf.gradients(total, inputs, unconnected_gradients="zero") if floats and inputs else []
            grads = [float(np.sum(g * weights(g.shape))) for g in session.run(list(map(tf.convert_to_tensor, grads)))]
        except (LookupError, NotImplementedError, tf.errors.OpError):
            grads = None
        return {"out": [described(value) for value in values], "grads": short(grads)}


def weights(shape):
    """Numbers to multiply by before summing up, so that no two elements count alike."""
    shape = [int(size) for size in shape]
    return np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)


def described(value):
    value = np.asarray(value)
    kind = value.dtype.name
    value = np.stack([value.real, value.imag], -1) if value.dtype.kind == "c" else value
    return [
        kind,
        list(value.shape),
        short(value.astype("float64" if value.dtype.kind not in "iub" else value.dtype).ravel().tolist()),
    ]


def short(values):
    return values and [float(f"{v:.7g}") if isinstance(v, float) else v for v in values]


def arguments(function):
    """The names and the defaults of a function's arguments, as far as they can be written."""
    parameters = inspect.signature(function).parameters.values()
    return [[p.name, None if p.default is p.empty else repr(getattr(p.default, "name", p.default))] for p in parameters]


def main():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    tf = importlib.import_module("tensorflow").compat.v1
    tf.logging.set_verbosity(tf.logging.ERROR)
    answers, signatures = {}, {}
    for expression in CASES:
        try:
            answers[expression] = answer(tf, expression)
        except Exception as error:
            print(f"{expression}\n  {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
    from_table = importlib.import_module("jscope.tf1._ops._table").rows() if len(sys.argv) < 2 else []
    names = [name for name, _, _ in from_table] or json.loads(Path(sys.argv[1]).read_text())
    for name in names:
        function = tf
        for part in name.split("."):
            function = getattr(function, part, None)
        if function is not None:
            signatures[name] = arguments(function)
        else:
            print(f"no tf.{name}", file=sys.stderr)
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in answers.items()]
    rows = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(signatures.items())]
    text = '{"answers": {\n%s\n}, "arguments": {\n%s\n}}\n' % (",\n".join(lines), ",\n".join(rows))  # noqa: UP031
    ANSWERS.write_text(text)


if __name__ == "__main__":
    main()
