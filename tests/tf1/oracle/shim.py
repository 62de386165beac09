"""TensorFlow 2.21 as the TensorFlow 1 that old files expect: its `contrib` is made of `tf_slim` and `tf_keras`."""

from __future__ import annotations

import importlib
import os
import sys
import types

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# Its fused kernels are not exact: a layer normalization written with `tf.nn.moments` is off by a thousandth.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
V1 = importlib.import_module("tensorflow").compat.v1
V1.disable_v2_behavior()
# What `tf_slim` expects where earlier versions of TensorFlow had it.
importlib.import_module("tensorflow.python.framework.ops").Tensor = V1.Tensor
V1.logging.set_verbosity(V1.logging.ERROR)
for name in ("", ".base", ".convolutional", ".core", ".normalization", ".pooling"):
    sys.modules[f"tf_keras.legacy_tf_layers{name}"] = importlib.import_module(f"tf_keras.src.legacy_tf_layers{name}")
slim = importlib.import_module("tf_slim")
CELLS = {
    name: value
    for end in ("s", "_wrappers")
    for name, value in vars(importlib.import_module(f"tf_keras.src.layers.rnn.legacy_cell{end}")).items()
}


def module(name, **members):
    made = types.ModuleType(f"{__name__}.{name}")
    made.__path__ = []
    vars(made).update(members)
    sys.modules[made.__name__] = made
    return made


class HParams:
    """`tf.contrib.training.HParams`: values by name."""

    def __init__(self, **values):
        vars(self).update(values)

    def override_from_dict(self, values):
        vars(self).update(values)
        return self


layers = {name: getattr(home, name) for home in (slim, slim.layers) for name in dir(home) if not name.startswith("__")}
layers |= {
    "xavier_initializer": lambda uniform=True, seed=None, dtype=V1.float32: (
        V1.glorot_uniform_initializer(seed) if uniform else V1.glorot_normal_initializer(seed)
    ),
    "variance_scaling_initializer": lambda factor=2.0, mode="FAN_IN", uniform=False, seed=None, dtype=V1.float32: (
        V1.variance_scaling_initializer(factor, mode.lower(), "uniform" if uniform else "truncated_normal", seed)
    ),
}
contrib = module(
    "tf.contrib",
    layers=module("tf.contrib.layers", **layers),
    slim=slim,
    framework=module("tf.contrib.framework", **{n: getattr(slim, n) for n in dir(slim) if not n.startswith("__")}),
    rnn=module("tf.contrib.rnn", **CELLS, static_rnn=V1.nn.static_rnn),
    training=module("tf.contrib.training", HParams=HParams),
)
nn = module("tf.nn", **{n: getattr(V1.nn, n) for n in dir(V1.nn) if n != "rnn_cell"}, rnn_cell=module("tf.nn.rnn_cell", **CELLS))
tf = module("tf", **{n: getattr(V1, n) for n in dir(V1) if n not in ("nn", "contrib")}, nn=nn, contrib=contrib)
