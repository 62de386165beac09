"""`tf.contrib.data`: what old input pipelines import. All of it says what to do instead."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("contrib.data")
