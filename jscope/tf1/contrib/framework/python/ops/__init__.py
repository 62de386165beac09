"""`tf.contrib.framework` under the name of the module in which TensorFlow keeps it."""

from jscope.tf1.contrib.framework import *  # noqa: F403 - all of it.
from jscope.tf1.contrib.framework.python.ops import variables as variables
