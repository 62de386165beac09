"""Layers with kernels and a bias: their options have the same names and meanings in all of them."""

from __future__ import annotations

from typing import Any

import jax

from jscope.nn._layer import along, in_one_dtype
from jscope.tf1._arguments import ZEROS
from jscope.tf1.layers._layer import Layer, array_of


class KernelLayer(Layer):
    """What a dense layer and convolutions have in common. The order of the arguments is that of TensorFlow's layers."""

    def __init__(
        self,
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
        super().__init__(trainable, name, activity_regularizer=activity_regularizer, **options)
        self.activation, self.use_bias = activation, use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint
        self.bias: Any = None

    def _weight(self, name: str, shape: list[int], role: str) -> Any:
        """Returns the variable `name`, with the options whose names begin with `role`."""
        # A separable convolution has two kernels, whose options are called by the first word of their names.
        options = {part: getattr(self, f"{role}_{part}") for part in ("initializer", "regularizer", "constraint")}
        return self.add_weight(name, shape, **options)

    def _bias_weight(self, size: int) -> Any:
        # By truth: `tf.contrib` gives an initializer, or None, as `use_bias`.
        return self._weight("bias", [size], "bias") if self.use_bias else None

    def _with_bias(self, y: Any) -> Any:
        """Returns an output with the bias added along the last axis, if there is one."""
        if self.bias is None:
            return y
        y, bias = in_one_dtype(y, array_of(self.bias))
        return jax.lax.add(y, along(bias, y.ndim))
