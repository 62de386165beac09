"""`tf.linalg`: linear algebra."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("linalg")
