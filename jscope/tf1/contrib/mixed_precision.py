"""`tf.contrib.mixed_precision`: scales of losses, all of which say what to do instead."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("contrib.mixed_precision")
