"""`tf.contrib.layers` under the name of the module in which TensorFlow keeps it."""

from jscope.tf1.contrib.layers import *  # noqa: F403 - all of it.
