"""TensorFlow 2.21 as the TensorFlow 1 that old files expect: its `contrib` is made of `tf_slim` and `tf_keras`.

`tf` is not put together before it is asked for: the tests import this file, too, and TensorFlow need not be there.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import types


class HParams:
    """`tf.contrib.training.HParams`: values by name."""

    def __init__(self, **values):
        vars(self).update(values)

    def override_from_dict(self, values):
        vars(self).update(values)
        return self


def rnn_decoder(tf, decoder_inputs, initial_state, cell, loop_function=None, scope=None):
    outs, state = [], initial_state
    with tf.variable_scope(scope or "rnn_decoder") as scope:
        for step, x in enumerate(decoder_inputs):
            if loop_function is not None and outs:
                with tf.variable_scope("loop_function", reuse=True):
                    x = loop_function(outs[-1], step)
            if step:
                scope.reuse_variables()
            out, state = cell(x, state)
            outs.append(out)
    return outs, state


def sequence_loss(tf, logits, targets, weights, average_across_timesteps=True, average_across_batch=True):
    losses = weights * tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    axes = [axis for axis, on in enumerate((average_across_batch, average_across_timesteps)) if on]
    return tf.reduce_sum(losses, axes) / tf.reduce_sum(weights, axes)


def sequence_loss_by_example(tf, logits, targets, weights):
    losses = [
        weight * tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=logit)
        for logit, target, weight in zip(logits, targets, weights, strict=True)
    ]
    return tf.add_n(losses) / (tf.add_n(weights) + 1e-12)


class FusedCell:
    """`tf.contrib.rnn.LSTMBlockFusedCell`, by the operation that it called."""

    def __init__(self, tf, num_units, forget_bias=1.0, reuse=None, name="lstm_fused_cell"):
        self.tf, self.units, self.forget_bias, self.reuse, self.name = tf, num_units, forget_bias, reuse, name

    def __call__(self, inputs, initial_state=None, dtype=None, sequence_length=None):
        tf, units = self.tf, self.units
        steps, batch, size = inputs.shape.as_list()
        with tf.variable_scope(None, self.name) as scope:
            pass
        with tf.variable_scope(scope, reuse=self.reuse, auxiliary_name_scope=False):
            kernel = tf.get_variable("kernel", [size + units, 4 * units], dtype)
            bias = tf.get_variable("bias", [4 * units], dtype, tf.zeros_initializer())
        c, h = initial_state or (tf.zeros([batch, units]), tf.zeros([batch, units]))
        lengths = tf.fill([batch], steps) if sequence_length is None else sequence_length
        none, most = tf.zeros([units]), tf.cast(tf.reduce_max(lengths), tf.int64)
        options = {"forget_bias": self.forget_bias, "cell_clip": -1.0, "use_peephole": False}
        given = {"x": inputs, "cs_prev": c, "h_prev": h, "w": kernel, "wci": none, "wcf": none, "wco": none, "b": bias}
        made = tf.raw_ops.BlockLSTM(seq_len_max=most, **given, **options)
        last = tf.stack([lengths, tf.range(batch)], 1)
        state = [tf.gather_nd(tf.concat([start[None], all_], 0), last) for start, all_ in ((c, made.cs), (h, made.h))]
        return made.h * tf.transpose(tf.sequence_mask(lengths, steps, dtype))[..., None], state


def as_dimension(function, value):
    return function(int(value) if isinstance(value, float) and value.is_integer() else value)


def module(name, **members):
    made = types.ModuleType(f"{__name__}.{name}")
    made.__path__ = []
    vars(made).update(members)
    sys.modules[made.__name__] = made
    return made


def members(*homes, but=()):
    return {n: getattr(home, n) for home in homes for n in dir(home) if n not in but and not n.startswith("__")}


def tensorflow_and_slim():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # Its fused kernels are not exact: a layer normalization written with `tf.nn.moments` is off by a thousandth.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    tf = importlib.import_module("tensorflow").compat.v1
    tf.disable_v2_behavior()
    tf.logging.set_verbosity(tf.logging.ERROR)
    # TensorFlow 1 took a whole float for a dimension.
    shapes = importlib.import_module("tensorflow.python.framework.tensor_shape")
    shapes.as_dimension = functools.partial(as_dimension, shapes.as_dimension)
    # What `tf_slim` expects where earlier versions of TensorFlow and Keras had it.
    importlib.import_module("tensorflow.python.framework.ops").Tensor = tf.Tensor
    for name in ("", ".base", ".convolutional", ".core", ".normalization", ".pooling"):
        home = f"legacy_tf_layers{name}"
        sys.modules[f"tf_keras.{home}"] = importlib.import_module(f"tf_keras.src.{home}")
    return tf, importlib.import_module("tf_slim")


@functools.cache
def build():
    """Imports TensorFlow, and puts the modules together."""
    v1, slim = tensorflow_and_slim()
    homes = (importlib.import_module(f"tf_keras.src.layers.rnn.legacy_cell{end}") for end in ("s", "_wrappers"))
    cells = members(*homes)
    initializers = {
        "xavier_initializer": lambda uniform=True, seed=None, dtype=v1.float32: (
            v1.glorot_uniform_initializer(seed) if uniform else v1.glorot_normal_initializer(seed)
        ),
        "variance_scaling_initializer": lambda factor=2.0, mode="FAN_IN", uniform=False, seed=None, dtype=v1.float32: (
            v1.variance_scaling_initializer(factor, mode.lower(), "uniform" if uniform else "truncated_normal", seed)
        ),
    }
    layers = module("tf.contrib.layers", **(members(slim, slim.layers) | initializers))
    layers.python = module("tf.contrib.layers.python", layers=layers)
    contrib = module(
        "tf.contrib",
        layers=layers,
        slim=slim,
        util=module("tf.contrib.util", constant_value=v1.get_static_value),
        keras=module("tf.contrib.keras", initializers=v1.keras.initializers),
        framework=module(
            "tf.contrib.framework",
            **members(slim),
            nest=v1.nest,
            get_name_scope=lambda: v1.get_default_graph().get_name_scope(),
        ),
        legacy_seq2seq=module(
            "tf.contrib.legacy_seq2seq",
            rnn_decoder=functools.partial(rnn_decoder, v1),
            sequence_loss_by_example=functools.partial(sequence_loss_by_example, v1),
        ),
        seq2seq=module("tf.contrib.seq2seq", sequence_loss=functools.partial(sequence_loss, v1)),
        rnn=module(
            "tf.contrib.rnn",
            **cells,
            static_rnn=v1.nn.static_rnn,
            LSTMBlockFusedCell=functools.partial(FusedCell, v1),
            LSTMBlockCell=functools.partial(cells["BasicLSTMCell"], name="lstm_cell"),
        ),
        training=module("tf.contrib.training", HParams=HParams),
    )
    # So that it is found by `from ... import`, too.
    sys.modules[f"{__name__}.tf.contrib.slim"] = slim
    nn = module("tf.nn", **members(v1.nn, but=("rnn_cell",)), rnn_cell=module("tf.nn.rnn_cell", **cells))
    return module("tf", **members(v1, but=("nn", "contrib")), nn=nn, contrib=contrib)


def __getattr__(name):
    if name == "tf":
        return build()
    raise AttributeError(name)
