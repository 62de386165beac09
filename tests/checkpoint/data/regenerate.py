"""Writes the TensorFlow checkpoints beside this file.

    python -m tests.checkpoint.data.regenerate

It needs TensorFlow 2.21 (`pip install -e ".[tf-oracle]"`).
What they hold is told here and checked in `tests/checkpoint/test_tensorbundle.py`, which needs no TensorFlow.
"""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np

from tests.checkpoint.data.contents import numbers, strings

HERE = Path(__file__).parent


def main():
    """Writes all of them anew."""
    tf = importlib.import_module("tensorflow")
    for folder in ("dtypes", "merged", "old", "partitioned", "objects", "saved_model"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
        (HERE / folder).mkdir()
    dtypes(tf)
    merged(tf)
    objects(tf)
    with tf.Graph().as_default():
        partitioned(tf, tf.compat.v1)
    with tf.Graph().as_default():
        old(tf.compat.v1)


def save(tf, prefix, values):
    """Writes tensors by name."""
    tensors = [
        tf.constant(value.tolist(), tf.string) if value.dtype == object else tf.constant(value)
        for value in values.values()
    ]
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=tensors
    )


def dtypes(tf):
    """Every dtype that an array can have, in several shapes, and strings."""
    save(tf, HERE / "dtypes/model", numbers() | strings())


def merged(tf):
    """Three data files."""
    parts = [str(HERE / f"merged/part{i}") for i in range(3)]
    for i, part in enumerate(parts):
        save(tf, part, {f"v{i}": np.full((2, 3), i, np.float32)})
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=str(HERE / "merged/model"), delete_old_dirs=False
    )


def partitioned(tf, tf1):
    """Variables in slices, the slots of two optimizers after one step, and moving averages."""
    rows, columns = tf1.fixed_size_partitioner(3), tf1.fixed_size_partitioner(2, axis=1)
    w = tf1.get_variable("net/w", partitioner=rows, shape=[7, 2], initializer=_counting(tf))
    wide = tf1.get_variable("net/wide", partitioner=columns, shape=[2, 130], initializer=_counting(tf))
    b = tf1.get_variable("net/b", initializer=np.float32([1, 2]))
    loss = sum(tf.reduce_sum(each**2) for each in [*w, *wide, b]) / 2
    step = tf1.train.get_or_create_global_step()
    train = tf1.train.AdamOptimizer(learning_rate=0.0).minimize(loss, global_step=step)
    with tf1.variable_scope("training"):
        again = tf1.train.MomentumOptimizer(0.0, 0.9).minimize(loss, var_list=[b])
    averages = tf1.train.ExponentialMovingAverage(0.9)
    averaging = averages.apply([b])
    with tf1.Session() as session:
        session.run(tf1.global_variables_initializer())
        session.run([train, again, averaging])
        saver = tf1.train.Saver(save_relative_paths=True)
        saver.save(session, str(HERE / "partitioned/model.ckpt"), global_step=1, write_meta_graph=False)


def _counting(tf):
    """An initializer: 0, 1, 2, ... over the whole variable, whichever slice is asked for."""

    def initialize(shape, dtype=None, partition_info=None):
        full = np.arange(np.prod(partition_info.full_shape), dtype=np.float32).reshape(partition_info.full_shape)
        return tf.constant(full[tuple(slice(o, o + n) for o, n in zip(partition_info.var_offset, shape, strict=True))])

    return initialize


def objects(tf):
    """TensorFlow 2: names that follow attributes, an optimizer's slots, and names that have to be written otherwise."""
    model = tf.Module()
    model.layer = tf.Module()
    model.layer.w = tf.Variable([[1.0, 2.0]])
    model.tables = {"x/y.z": tf.Variable(3)}
    optimizer = tf.compat.v1.train.AdamOptimizer(learning_rate=0.0)
    optimizer.minimize(lambda: tf.reduce_sum(model.layer.w**2) / 2, var_list=[model.layer.w])
    tf.train.Checkpoint(model=model, optimizer=optimizer).save(str(HERE / "objects/ckpt"))
    tf.saved_model.save(model, str(HERE / "saved_model"))
    shutil.rmtree(HERE / "saved_model/assets")
    for file in ("saved_model.pb", "fingerprint.pb"):
        (HERE / "saved_model" / file).unlink()  # The graph, which is not read.


def old(tf1):
    """The format before this one."""
    tf1.get_variable("w", initializer=np.float32([1, 2]))
    with tf1.Session() as session:
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver(write_version=tf1.train.SaverDef.V1)
        saver.save(session, str(HERE / "old/model.ckpt"), write_meta_graph=False, write_state=False)


if __name__ == "__main__":
    main()
