"""`tf.math`: arithmetic, reductions and special functions, most of which `tf` itself has, too."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("math")
