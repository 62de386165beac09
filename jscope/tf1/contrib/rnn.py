"""`tf.contrib.rnn`: the cells of `tf.nn.rnn_cell`, and `static_rnn`."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("contrib.rnn")
