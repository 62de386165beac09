"""The variables of `tf.contrib.framework` under the name of the module in which TensorFlow keeps them."""

from jscope.tf1.contrib.framework import *  # noqa: F403 - all of it.
