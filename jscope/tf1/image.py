"""`tf.image`: images of other sizes, colours and sides."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("image")
