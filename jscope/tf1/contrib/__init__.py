"""What old code takes from `tf.contrib`."""

from jscope.tf1.contrib import layers as layers
