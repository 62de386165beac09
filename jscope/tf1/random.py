"""`tf.random`: random numbers, with keys from the scope."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("random")
