"""`tf.nn`: convolutions, pools, activations, normalization, losses on logits, recurrent networks."""

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("nn")
