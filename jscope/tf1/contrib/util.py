"""`tf.contrib.util`: what is known of a tensor while JAX traces."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("contrib.util")
