"""Layers, as plain functions of a scope.

>>> def mlp(scope, x):
...     x = jscope.nn.dense(scope / "hidden", x, 32, activation=jax.nn.relu)
...     return jscope.nn.dense(scope / "out", x, 10)
>>> jscope.tree.names(jscope.init(mlp, jax.random.key(0), jnp.ones((1, 4))))
['hidden/kernel', 'hidden/bias', 'out/kernel', 'out/bias']

The names of variables and arguments, the defaults and the initial values are those of Keras 3, and so of `tf.layers`. A
layer computes in the dtype of its input, and takes its statistics in float32. See `docs/layers.md`.
"""

from jscope.nn._dense import dense as dense
