"""Programs that use layers, for TensorFlow and for jscope: each takes `tf`, which is either, and an input.

`oracle/regenerate_layers.py` runs them in TensorFlow and records what it gives; `test_layers.py` compares. Variables
get values by their names, so that both compute with the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).with_name("data")
STEPS = 3
KEYS = (
    *("variables", "trainable_variables", "model_variables", "moving_average_variables", "global_step"),
    *("ends", "mine", "weights_here", "local_variables"),
)
"""The collections whose names are compared."""


@dataclass(frozen=True)
class Case:
    """A program, the shape of its input, and which trainable variables are state because it writes them."""

    program: Callable[..., Any]
    shape: tuple[int, ...]
    state: str | None = None

    def xs(self):
        """The inputs of the steps."""
        return [_noise(f"x{step}", self.shape) * 2 for step in range(STEPS)]


def _noise(name, shape):
    return np.random.RandomState(zlib.crc32(name.encode())).uniform(-0.5, 0.5, shape).astype("float32")


def value_of(path, shape, dtype="float32"):
    """The value of a variable with this name: positive where it is a variance or a scale, 0 for what counts."""
    if not np.issubdtype(np.dtype(dtype), np.floating):
        return np.zeros(shape, dtype)
    value = _noise(path, shape)
    return value + 1 if path.endswith(("variance", "gamma")) else value


def weights_of(y):
    """What the output is multiplied with before it is summed and differentiated."""
    return _noise("y", tuple(y.shape))


CASES: dict[str, Case] = {}
VECTORS, SEQUENCES, IMAGES, VOLUMES = (4, 5), (2, 6, 3), (2, 6, 5, 3), (2, 4, 5, 4, 2)
"""Shapes of inputs."""


def case(name, *shape, state=None):
    def add(program):
        CASES[name] = Case(program, shape, state)
        return program

    return add


def _layer(name, shape, function, /, *args, **kwargs):
    """Adds a case that calls one function of `tf.layers` or `tf.contrib.layers`, written with a dot."""

    def program(tf, x):
        found = tf
        for part in function.split("."):
            found = getattr(found, part)
        return found(x, *args, **kwargs)

    CASES[name] = Case(program, shape)


_layer("dense/plain", VECTORS, "layers.dense", 3)
_layer("dense/named", VECTORS, "layers.dense", 3, name="a/b")
_layer("dense/no bias", VECTORS, "layers.dense", 3, use_bias=False)
_layer("dense/axes", SEQUENCES, "layers.dense", units=3, bias_initializer=None)
_layer("conv/1d", SEQUENCES, "layers.conv1d", 4, 3)
_layer("conv/1d same strides", SEQUENCES, "layers.conv1d", 4, 3, 2, "same")
_layer("conv/2d", IMAGES, "layers.conv2d", 4, [3, 2], padding="SAME")
_layer("conv/2d strides", IMAGES, "layers.conv2d", 4, 3, strides=(2, 1), name="c")
_layer("conv/2d dilated", IMAGES, "layers.conv2d", 2, 2, dilation_rate=2, use_bias=False)
_layer("conv/3d", VOLUMES, "layers.conv3d", 2, 2, strides=2, padding="same")
_layer("transpose/2d", IMAGES, "layers.conv2d_transpose", 4, 3, 2, "same")
_layer("transpose/2d valid", IMAGES, "layers.conv2d_transpose", 4, [2, 3], strides=(3, 2))
_layer("transpose/3d", VOLUMES, "layers.conv3d_transpose", 2, 2, 2)
_layer("separable/1d", SEQUENCES, "layers.separable_conv1d", 4, 3, depth_multiplier=2)
_layer("separable/2d", IMAGES, "layers.separable_conv2d", 4, 3, depth_multiplier=2, padding="same")
_layer("separable/2d strides", IMAGES, "layers.separable_conv2d", 4, 3, 2, use_bias=False, name="s")
_layer("norm/vectors", VECTORS, "layers.batch_normalization", training=True)
_layer("norm/sequences", SEQUENCES, "layers.batch_normalization", training=True, momentum=0.7)
_layer("norm/images", IMAGES, "layers.batch_normalization", training=True, name="bn")
_layer("norm/volumes", VOLUMES, "layers.batch_normalization", training=True)
_layer("norm/images not fused", IMAGES, "layers.batch_normalization", training=True, fused=False)
_layer("norm/images tested", IMAGES, "layers.batch_normalization", epsilon=1e-5)
_layer("norm/images bare", IMAGES, "layers.batch_normalization", training=True, center=False, scale=False, epsilon=1e-6)
_layer("norm/channels first", IMAGES, "layers.batch_normalization", 1, training=True, fused=False)
_layer("norm/frozen", IMAGES, "layers.batch_normalization", training=True, trainable=False)
_layer("pool/max 1d", SEQUENCES, "layers.max_pooling1d", 2, 2)
_layer("pool/max 2d", IMAGES, "layers.max_pooling2d", 3, 2, "same", name="p")
_layer("pool/max 3d", VOLUMES, "layers.max_pooling3d", 2, 1)
_layer("pool/average 1d", SEQUENCES, "layers.average_pooling1d", 3, 1, padding="same")
_layer("pool/average 2d", IMAGES, "layers.average_pooling2d", (3, 2), (2, 1), "same")
_layer("pool/average 3d", VOLUMES, "layers.average_pooling3d", 2, 2)
_layer("rest/flatten", IMAGES, "layers.flatten")
_layer("rest/dropout", VECTORS, "layers.dropout")


@case("scopes/default names", *VECTORS)
def _(tf, x):
    x = tf.layers.dense(tf.layers.dense(x, 5), 5)
    with tf.variable_scope("s"):
        x = tf.layers.dense(x, 5)
        x = tf.layers.dense(tf.layers.dense(x, 5), 5, name="dense_2")
    return tf.layers.dense(x, 5)


@case("scopes/reuse", *VECTORS)
def _(tf, x):
    x = tf.layers.dense(x, 5, name="d")
    x = tf.layers.dense(x, 5, name="d", reuse=True)
    with tf.variable_scope("s") as scope:
        x = tf.layers.dense(x, 5, name="d")
    with tf.variable_scope(scope, reuse=True):
        x = tf.layers.dense(x, 5, name="d")
    with tf.variable_scope("t", reuse=tf.AUTO_REUSE):
        x = tf.layers.dense(x, 5, name="d")
        return tf.layers.dense(x, 5, name="d")


@case("scopes/classes", *VECTORS)
def _(tf, x):
    one, other = tf.layers.Dense(5, name="e"), tf.layers.Dense(5)
    with tf.variable_scope("s"):
        x = one(other(x))
    with tf.variable_scope("t"):
        x = one.apply(other(x))
    again = tf.layers.Dense(5, name="e")
    return again(again(x))


@case("scopes/counts", *VECTORS)
def _(tf, x):
    x = tf.layers.flatten(tf.layers.dropout(x))
    with tf.variable_scope(None, default_name="flatten"):
        x = tf.layers.dense(x, 3)
    with tf.variable_scope(None, default_name="dense"):
        return tf.layers.dense(x, 3, name="dense")


@case("scopes/jumps", *VECTORS)
def _(tf, x):
    with tf.variable_scope("a") as a:
        x = tf.layers.dense(x, 5)
    with tf.variable_scope("b"):
        x = tf.layers.dense(x, 5)
        with tf.variable_scope(a):
            x = tf.layers.dense(x, 5, name="other")
            return tf.layers.dense(x, 3, name="last")


@case("scopes/initializers and getters", *VECTORS)
def _(tf, x):
    def getter(getter, name, *args, **kwargs):
        return getter(f"{name}_got", *args, **kwargs) * 2.0

    with tf.variable_scope("s", initializer=tf.ones_initializer(), custom_getter=getter):
        return tf.layers.dense(x, 5)


@case("penalties/scope and layer", *VECTORS)
def _(tf, x):
    l2 = tf.contrib.layers.l2_regularizer
    with tf.variable_scope("s", regularizer=l2(0.5)):
        x = tf.layers.dense(x, 5, kernel_regularizer=l2(0.25), name="d")
        x = tf.layers.dense(x, 5, kernel_regularizer=l2(0.25), name="d", reuse=True)
    layer = tf.layers.Dense(5, bias_regularizer=tf.contrib.layers.l1_regularizer(0.1))
    return layer(layer(x))


@case("penalties/activity", *VECTORS)
def _(tf, x):
    return tf.layers.dense(x, 5, activity_regularizer=lambda y: tf.reduce_sum(y * y))


@case("norm/shared", *VECTORS)
def _(tf, x):
    layer = tf.layers.BatchNormalization(momentum=0.8)
    y = layer(x, training=True)
    return y + layer.apply(2.0 * x, training=True)


@case("norm/reused", *IMAGES)
def _(tf, x):
    y = tf.layers.batch_normalization(x, training=True, name="bn")
    return y + tf.layers.batch_normalization(x * x, training=True, name="bn", reuse=True)


@case("network/images", *IMAGES)
def _(tf, x):
    for i in range(2):
        with tf.variable_scope(f"block_{i}"):
            x = tf.layers.conv2d(x, 4, 3, padding="same", use_bias=False)
            x = tf.nn.relu(tf.layers.batch_normalization(x, training=True))
    x = tf.layers.max_pooling2d(x, 2, 2)
    return tf.layers.dense(tf.layers.flatten(x), 3, activation=tf.nn.tanh)


_layer("contrib/fully connected", VECTORS, "contrib.layers.fully_connected", 3)
_layer(
    "contrib/fully connected bare",
    SEQUENCES,
    "contrib.layers.fully_connected",
    3,
    None,
    biases_initializer=None,
    scope="f",
)
_layer("contrib/linear", VECTORS, "contrib.layers.linear", 3)
_layer("contrib/conv2d", IMAGES, "contrib.layers.conv2d", 4, 3, stride=2)
_layer("contrib/conv2d rate", IMAGES, "contrib.layers.conv2d", 4, 3, rate=2, activation_fn=None)
_layer("contrib/convolution of sequences", SEQUENCES, "contrib.layers.convolution", 4, 3)
_layer("contrib/conv2d_transpose", IMAGES, "contrib.layers.conv2d_transpose", 4, 3, 2)
_layer("contrib/separable", IMAGES, "contrib.layers.separable_conv2d", 4, 3, 2, stride=2)
_layer("contrib/in plane", IMAGES, "contrib.layers.conv2d_in_plane", [3, 2], stride=2, padding="VALID")
_layer("contrib/in plane, scope", IMAGES, "contrib.layers.conv2d_in_plane", 3, activation_fn=None, scope="p")
_layer("contrib/depthwise", IMAGES, "contrib.layers.separable_conv2d", None, 3, 2, activation_fn=None, scope="dw")
_layer("contrib/max pool", IMAGES, "contrib.layers.max_pool2d", 2)
_layer("contrib/average pool", IMAGES, "contrib.layers.avg_pool2d", [3, 3], padding="SAME", scope="p")
_layer("contrib/flatten", IMAGES, "contrib.layers.flatten")
_layer("contrib/dropout", VECTORS, "contrib.layers.dropout", is_training=False)
_layer("contrib/unit norm", VECTORS, "contrib.layers.unit_norm", 1)
_layer("contrib/maxout", SEQUENCES, "contrib.layers.maxout", 1)
_layer("contrib/softmax", SEQUENCES, "contrib.layers.softmax")
_layer("contrib/bias add", SEQUENCES, "contrib.layers.bias_add")
_layer("contrib/points", IMAGES, "contrib.layers.spatial_softmax")
_layer("contrib/points, fixed", IMAGES, "contrib.layers.spatial_softmax", 0.5, "p", trainable=False)
_layer("contrib/points, channels first", IMAGES, "contrib.layers.spatial_softmax", data_format="NCHW")
_layer("contrib norm/vectors", VECTORS, "contrib.layers.batch_norm", decay=0.9)
_layer(
    "contrib norm/vectors at once",
    VECTORS,
    "contrib.layers.batch_norm",
    updates_collections=None,
    scale=True,
    decay=0.9,
)
_layer("contrib norm/vectors tested", VECTORS, "contrib.layers.batch_norm", is_training=False)
_layer("contrib norm/sequences", SEQUENCES, "contrib.layers.batch_norm", decay=0.9)
# Of the ranks that TensorFlow fuses, `tf.contrib` knows 2 and 4; 5 is the class's own business.
_layer("contrib norm/volumes", VOLUMES, "contrib.layers.batch_norm", decay=0.9)
_layer("contrib norm/volumes at once", VOLUMES, "contrib.layers.batch_norm", updates_collections=None, decay=0.9)
_layer("contrib norm/images", IMAGES, "contrib.layers.batch_norm", scale=True, decay=0.9, epsilon=1e-5)
_DEBIASED = {"zero_debias_moving_mean": True, "decay": 0.9, "scope": "bn"}
_layer("contrib norm/images debiased", IMAGES, "contrib.layers.batch_norm", **_DEBIASED)
_layer("contrib norm/sequences debiased", SEQUENCES, "contrib.layers.batch_norm", **_DEBIASED)
_layer("contrib norm/images at once", IMAGES, "contrib.layers.batch_norm", updates_collections=None, decay=0.9)
_layer(
    "contrib norm/images mine",
    IMAGES,
    "contrib.layers.batch_norm",
    updates_collections="mine_ops",
    fused=False,
    decay=0.9,
)
_layer("contrib norm/layer", VECTORS, "contrib.layers.layer_norm")
_layer("contrib norm/layer of images", IMAGES, "contrib.layers.layer_norm", begin_norm_axis=-1, scope="ln")
_layer("contrib norm/layer params", IMAGES, "contrib.layers.layer_norm", begin_norm_axis=2, begin_params_axis=2)
_layer("contrib norm/instance", IMAGES, "contrib.layers.instance_norm")
_layer("contrib norm/group", (2, 4, 3, 4), "contrib.layers.group_norm", 2)


@case("slim/arg scope", *IMAGES)
def _(tf, x):
    slim = tf.contrib.slim
    with tf.variable_scope("net"):
        with slim.arg_scope(
            [slim.conv2d, slim.fully_connected],
            weights_regularizer=slim.l2_regularizer(0.1),
            normalizer_fn=slim.batch_norm,
            normalizer_params={"decay": 0.9, "scale": True},
            outputs_collections="ends",
        ) as scope:
            x = slim.conv2d(x, 4, [3, 3])
            with slim.arg_scope([slim.conv2d], activation_fn=None, normalizer_fn=None):
                x = slim.conv2d(x, 4, 1, scope="one")
        x = slim.max_pool2d(x, [2, 2], scope="pool")
        with slim.arg_scope(scope):
            return slim.fully_connected(slim.flatten(x), 3, activation_fn=None, scope="logits")


@case("slim/repeat and stack", *IMAGES)
def _(tf, x):
    slim = tf.contrib.slim
    x = slim.repeat(x, 2, slim.conv2d, 3, [3, 3], scope="conv")
    x = slim.repeat(x, 1, slim.conv2d, 3, 1)
    return slim.stack(slim.flatten(x), slim.fully_connected, [4, 3], scope="fc")


@case("slim/collections", *VECTORS)
def _(tf, x):
    slim = tf.contrib.slim
    x = slim.fully_connected(x, 3, variables_collections=["mine"])
    x = slim.fully_connected(x, 3, variables_collections={"weights": ["weights_here"]}, outputs_collections=["ends"])
    x = slim.batch_norm(x, variables_collections=["mine"], decay=0.9)
    assert [v.name for v in slim.get_variables("fully_connected/")] == [
        "fully_connected/weights:0",
        "fully_connected/biases:0",
    ]
    assert len(slim.get_variables_by_name("weights")) == len(slim.get_variables_by_suffix("weights")) == 2
    assert [v.op.name for v in slim.get_trainable_variables(suffix="beta")] == ["BatchNorm/beta"]
    return x


@case("slim/reuse", *VECTORS)
def _(tf, x):
    slim = tf.contrib.slim
    x = slim.fully_connected(x, 5, scope="fc")
    x = slim.fully_connected(x, 5, scope="fc", reuse=True)
    with tf.variable_scope("s", reuse=tf.AUTO_REUSE):
        for _ in range(2):
            x = slim.batch_norm(slim.fully_connected(x, 5, scope="fc", activation_fn=None), scope="bn", decay=0.9)
    return x


@case("slim/model variables", *VECTORS)
def _(tf, x):
    slim = tf.contrib.slim
    w = slim.model_variable("w", shape=[5, 2], regularizer=slim.l2_regularizer(0.1), initializer=tf.ones_initializer())
    v = slim.variable("v", shape=[2], collections=["mine"], trainable=False)
    return tf.matmul(x, w) + v


@case("slim/frozen in a scope", *IMAGES)
def _(tf, x):
    slim = tf.contrib.slim
    with tf.variable_scope("s", regularizer=slim.l1_regularizer(0.1)):
        x = slim.conv2d(
            x,
            2,
            3,
            trainable=False,
            normalizer_fn=slim.batch_norm,
            normalizer_params={"trainable": False, "is_training": False},
        )
        return slim.conv2d(x, 2, 3, normalizer_fn=slim.layer_norm)


def _written(tf, *operations):
    """Says to TensorFlow what to run in each step, in this order; jscope has run it already."""
    for operation in operations:
        tf.add_to_collection("mine_ops", operation)


@case("writing/variables", *VECTORS)
def _(tf, x):
    w = tf.Variable(tf.truncated_normal([5, 3], stddev=0.1))
    b = tf.Variable(np.zeros(3, "float32"))
    with tf.variable_scope("s"):
        named = tf.Variable([1.0, 2.0, 3.0], name="b", trainable=False, collections=["mine", "variables"])
        other = tf.Variable(lambda: tf.ones([3]), dtype=tf.float32, name="b")
    with tf.name_scope("n"), tf.name_scope("m"):
        deep = tf.Variable(tf.zeros([1]))
    with tf.name_scope("n"):
        again = tf.Variable(tf.zeros([1]), name="v")
    return tf.matmul(x, w) + b + named + other + deep + again


@case("writing/variables beside get_variable", *VECTORS)
def _(tf, x):
    with tf.variable_scope("s"):
        w = tf.get_variable("w", [5, 5])
        v = tf.Variable(tf.random_normal([5, 5]), name="w")
        return tf.matmul(tf.matmul(x, w), v)


@case("writing/averages", *VECTORS)
def _(tf, x):
    w = tf.get_variable("w", [5, 2])
    step = tf.train.get_or_create_global_step()
    average = tf.train.ExponentialMovingAverage(0.9, num_updates=step)
    with tf.variable_scope("s"):
        b = tf.get_variable("b", [2], initializer=tf.zeros_initializer())
        _written(tf, tf.assign_add(step, 1), average.apply([w, b]))
    other = tf.train.ExponentialMovingAverage(0.5, name="slow")
    _written(tf, other.apply())
    names = [average.average_name(w), average.average_name(b), other.average(b).op.name]
    assert names == ["s/w/ExponentialMovingAverage", "s/s/b/ExponentialMovingAverage", "s/b/slow"]
    assert set(other.variables_to_restore()) >= {"w/slow", "s/b/slow", "global_step"}
    return tf.matmul(x, w) + b


@case("writing/target network", *VECTORS, state="^target")
def _(tf, x):
    def network(name):
        with tf.variable_scope(name):
            return tf.layers.dense(tf.layers.dense(x, 3, name="one"), 2, name="two")

    online, target = network("online"), network("target")
    pairs = zip(tf.trainable_variables("target"), tf.trainable_variables("online"), strict=True)
    _written(tf, tf.group(*[tf.assign(old, 0.9 * old + 0.1 * new) for old, new in pairs]))
    return online + tf.stop_gradient(target)


@case("writing/rows", *VECTORS)
def _(tf, x):
    table = tf.get_variable("table", [4, 5], trainable=False)
    count = tf.get_variable("count", [], tf.int32, tf.zeros_initializer(), trainable=False)
    _written(tf, tf.scatter_add(table, [0, 2, 0], tf.ones([3, 5])), tf.scatter_update(table, [1], x[:1]))
    _written(tf, count.assign_add(2), count.assign_sub(1))
    with tf.control_dependencies(None):
        return x * 1.0


@case("parts/collections", *VECTORS)
def _(tf, x):
    with tf.variable_scope("s", partitioner=tf.fixed_size_partitioner(2)):
        w = tf.get_variable("w", [5, 3])
        v = tf.get_variable("v", [3], trainable=False, collections=["mine"])
        assert (w.name, len(w), w.as_tensor().shape.as_list()) == ("s/w", 2, [5, 3])
        assert [part.op.name for part in w] == ["s/w/part_0", "s/w/part_1"]
        return tf.layers.dense(tf.matmul(x, w) + v, 4, activation=tf.nn.tanh)


@case("parts/layers", *VECTORS)
def _(tf, x):
    l2 = tf.contrib.layers.l2_regularizer(0.1)
    with tf.variable_scope("s", partitioner=tf.fixed_size_partitioner(2), regularizer=l2):
        x = tf.contrib.layers.fully_connected(x, 4, variables_collections=["mine"])
        x = tf.layers.batch_normalization(x)
        return tf.contrib.layers.batch_norm(x, updates_collections=None, is_training=False)


@case("parts/lookup", *VECTORS)
def _(tf, x):
    ids = np.array([[0, 6, 3], [1, 5, 2]], "int32")
    table = tf.get_variable("table", [7, 2], partitioner=tf.fixed_size_partitioner(3))
    found = [tf.nn.embedding_lookup(table, ids, partition_strategy=way) for way in ("mod", "div")]
    return tf.concat(found, 0) * tf.reduce_sum(x)
