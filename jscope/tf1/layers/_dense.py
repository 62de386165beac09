"""Layers on vectors: `Dense`, and those without variables, `Dropout` and `Flatten`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.nn._layer import in_one_dtype, times
from jscope.tf1._arguments import ZEROS
from jscope.tf1._errors import ArgumentError
from jscope.tf1._ops._drawing import next_key
from jscope.tf1._tensors import tensor
from jscope.tf1.layers._kernel import KernelLayer
from jscope.tf1.layers._layer import Layer, activated, array_of, channels_last, channels_of, check_rank


class Dense(KernelLayer):
    """Multiplies the last axis by `kernel` and adds `bias`.

    >>> from jscope import tf1
    >>> def model(x):
    ...     layer = tf1.layers.Dense(3)
    ...     return layer(layer(x))
    >>> jscope.tree.names(tf1.transform(model).init(jax.random.key(0), jnp.ones((2, 3))))
    ['dense/kernel', 'dense/bias']

    Arguments are those of `tf1.layers.dense`, without `inputs` and `reuse`.
    """

    def __init__(
        self,
        units: Any,
        activation: Any = None,
        use_bias: Any = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = ZEROS,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: Any = None,
        **options: Any,
    ) -> None:
        options |= {"kernel_constraint": kernel_constraint, "bias_constraint": bias_constraint, "name": name}
        initial = kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer
        super().__init__(activation, use_bias, *initial, trainable=trainable, **options)
        self.units = int(units)

    def build(self, input_shape: Any) -> None:
        """Creates `kernel` (d, units) and `bias` (units,)."""
        self.kernel = self._weight("kernel", [channels_of(input_shape), self.units], "kernel")
        self.bias = self._bias_weight(self.units)

    def call(self, inputs: Any) -> Any:
        """Returns `activation(inputs @ kernel + bias)`."""
        x = array_of(inputs)
        check_rank(self, x, "min_ndim=2", fits=x.ndim >= 2)
        # A custom getter may have cast the kernel; the layer computes in the dtype of its input.
        x, kernel = in_one_dtype(x, array_of(self.kernel))
        return activated(self._with_bias(times(x, kernel)), self.activation, "BiasAdd" if self.use_bias else "MatMul")


class Dropout(Layer):
    """Sets a share `rate` of the elements to zero in training, and makes the others larger by as much.

    >>> from jscope import tf1
    >>> model = tf1.transform(lambda x: tf1.layers.dropout(x, 0.5, training=True)).with_rng(jax.random.key(0))
    >>> sorted(set(model.apply({}, jnp.ones(100)).tolist()))
    [0.0, 2.0]

    Arguments are those of `tf1.layers.dropout`, without `inputs` and `training`.
    """

    def __init__(
        self, rate: Any = 0.5, noise_shape: Any = None, seed: Any = None, name: Any = None, **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def call(self, inputs: Any, training: Any = False) -> Any:
        """Returns the input, in training with zeros in it."""
        # Before a key is asked for: a model that is not trained needs none.
        decided = static_bool(training)
        if decided is False or (isinstance(self.rate, int | float) and self.rate == 0):
            return tensor(inputs, "Identity")
        x = array_of(inputs)
        keep = 1 - jnp.asarray(self.rate, x.dtype)
        # None in a noise shape is the size of the input, and 1 shares the noise along an axis.
        given = self.noise_shape or x.shape
        shape = tuple(size if each is None else int(each) for each, size in zip(given, x.shape, strict=True))
        dropped = jnp.where(jax.random.uniform(next_key(self.seed), shape, x.dtype) < keep, x / keep, jnp.zeros_like(x))
        return tensor(dropped if decided else jnp.where(jnp.asarray(training), dropped, x), "dropout")


class Flatten(Layer):
    """Makes one axis of all but the first.

    >>> from jscope import tf1
    >>> tf1.transform(lambda x: tf1.layers.flatten(x)).apply({}, jnp.ones((2, 3, 4))).shape
    (2, 12)

    Arguments are those of `tf1.layers.flatten`, without `inputs`.
    """

    def __init__(self, data_format: str = "channels_last", name: Any = None, **options: Any) -> None:
        super().__init__(name=name, **options)
        self.data_format = data_format

    def call(self, inputs: Any) -> Any:
        """Returns the input with two axes, the channels as the fastest."""
        x = array_of(inputs)
        # With the channels last, whatever the format: a dense layer behind it has the same weights for both formats.
        if x.ndim > 2:
            x = channels_last(x, self.data_format)
        return tensor(x.reshape(x.shape[0], int(np.prod(x.shape[1:]))), "Reshape")


def static_bool(value: Any) -> bool | None:
    """Returns whether a flag is set, or None if only the running program knows; None itself is not set."""
    value = getattr(value, "operand", lambda: value)()
    # An array of NumPy's is a static tensor, which `tf.constant(True)` is.
    if value is None or isinstance(value, bool | int | np.bool_ | np.ndarray):
        return bool(value)
    if not isinstance(value, jax.Array):
        raise ArgumentError(f"`training` must be a bool or a bool tensor, not {value!r}.")
    return None
