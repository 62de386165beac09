"""`tf.errors`: what old code catches."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("errors")
