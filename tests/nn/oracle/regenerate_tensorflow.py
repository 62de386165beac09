"""Records what TensorFlow computes for `tests/nn/tensorflow_cases.py`, into `tests/nn/data/tensorflow.npz`.

Needs TensorFlow, neither JAX nor jscope:

    pip install "tensorflow-cpu==2.21.*"
    python -m tests.nn.oracle.regenerate_tensorflow
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.nn.sequence_cases import numbers
from tests.nn.tensorflow_cases import CASES

DATA = Path(__file__).parents[1] / "data" / "tensorflow.npz"


def run(case):
    """Returns what TensorFlow gives."""
    x, padding = numbers("x", (1, *case.space, 2)), case.padding.upper()
    function = getattr(tf.nn, case.function)
    if case.function.endswith("pool2d"):
        return function(x, case.size, case.strides, padding)
    if case.function == "conv2d_transpose":
        # As its layers do: TensorFlow asks for the size of the output.
        sides = zip(case.space, case.size, case.strides, strict=True)
        shape = [n * s if case.padding == "same" else (n - 1) * s + max(k, s) for n, k, s in sides]
        return function(x, numbers("kernel", (*case.size, 3, 2)), (1, *shape, 3), case.strides, padding)
    if case.function == "depthwise_conv2d":
        kernel = numbers("kernel", (*case.size, 2, case.options["multiplier"]))
        return function(x, kernel, (1, *case.strides, 1), padding)
    kernel = numbers("kernel", (*case.size, 2, 3))
    return function(x, kernel, case.strides, padding, dilations=case.options.get("dilations"))


if __name__ == "__main__":
    outs = {case.name: np.asarray(run(case), np.float32) for case in CASES}
    values, shapes = np.concatenate([out.ravel() for out in outs.values()]), [out.shape for out in outs.values()]
    np.savez_compressed(DATA, names=np.array([*outs]), shapes=shapes, values=values)
    print(f"{len(outs)} cases by TensorFlow {tf.__version__}, {DATA.stat().st_size} bytes")
