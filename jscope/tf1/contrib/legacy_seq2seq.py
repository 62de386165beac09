"""`tf.contrib.legacy_seq2seq`: losses of lists of steps, and the decoder without attention."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("contrib.legacy_seq2seq")
