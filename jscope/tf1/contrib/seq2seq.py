"""`tf.contrib.seq2seq`: `sequence_loss`; and decoders, all of which say what to do instead."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("contrib.seq2seq")
