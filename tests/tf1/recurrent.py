"""Recurrent networks to which TensorFlow gave the answers in `recurrent.json`.

`f(2, 3)` is an array of floats; `rnn` has the cells (TensorFlow 2 keeps them in another place). Variables are set to
`value_of` their names. The answers are made anew by `python -m tests.tf1.oracle.recurrent`.
"""

from __future__ import annotations

import zlib

import numpy as np

CASES = """
tf.nn.dynamic_rnn(rnn.BasicRNNCell(3), f(2, 4, 2), dtype=tf.float32)
tf.nn.dynamic_rnn(rnn.GRUCell(3), f(2, 4, 2), sequence_length=[2, 4], dtype=tf.float32)
tf.nn.dynamic_rnn(rnn.BasicLSTMCell(3, forget_bias=0.5), f(2, 4, 2), dtype=tf.float32)
tf.nn.dynamic_rnn(rnn.BasicLSTMCell(3, state_is_tuple=False), f(2, 4, 2), dtype=tf.float32)
tf.nn.dynamic_rnn(rnn.LSTMCell(3, use_peepholes=True, num_proj=2, cell_clip=0.3), f(2, 4, 2), dtype=tf.float32)
tf.nn.dynamic_rnn(rnn.LSTMCell(3, name="cell"), f(4, 2, 2), [3, 2], time_major=True, dtype=tf.float32, scope="net")
tf.nn.dynamic_rnn(rnn.MultiRNNCell([rnn.BasicLSTMCell(3), rnn.GRUCell(2)]), f(2, 4, 2), dtype=tf.float32)
tf.nn.dynamic_rnn(rnn.ResidualWrapper(rnn.GRUCell(2)), f(2, 4, 2), initial_state=f(2, 2))
tf.nn.dynamic_rnn(rnn.DropoutWrapper(rnn.GRUCell(2), output_keep_prob=1.0), f(2, 4, 2), dtype=tf.float32)
tf.nn.bidirectional_dynamic_rnn(rnn.GRUCell(2), rnn.GRUCell(3), f(2, 4, 2), [4, 3], dtype=tf.float32)
tf.nn.bidirectional_dynamic_rnn(rnn.LSTMCell(2), rnn.LSTMCell(2), f(2, 3, 2), dtype=tf.float32, scope="b")
tf.nn.static_rnn(rnn.BasicLSTMCell(3), [f(2, 2), f(2, 2)], dtype=tf.float32)
tf.nn.static_rnn(rnn.GRUCell(3), tf.unstack(f(3, 2, 2)), dtype=tf.float32, sequence_length=[3, 1])
tf.nn.static_bidirectional_rnn(rnn.GRUCell(2), rnn.GRUCell(2), tf.unstack(f(3, 2, 2)), dtype=tf.float32)
(lambda cell: [tf.nn.dynamic_rnn(cell, f(2, 3, 2), dtype=tf.float32), cell(f(2, 2), f(2, 3))])(rnn.GRUCell(3))
""".strip().splitlines()


def floats(shape):
    """Numbers around 0."""
    return np.sin(1.7 * np.arange(np.prod(shape), dtype=np.float64) + 0.4).reshape(shape).astype("float32")


def value_of(name, shape):
    """What a variable is set to."""
    start = zlib.crc32(name.encode()) % 100
    return (0.5 * np.sin(start + 1.3 * np.arange(np.prod(shape), dtype=np.float64))).reshape(shape).astype("float32")
