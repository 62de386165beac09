"""Convolutions: one class for each number of spatial axes, as in TensorFlow; `jscope.nn` computes them."""

from __future__ import annotations

from typing import Any

from jscope.nn._conv import convolved
from jscope.nn._conv_transpose import transposed
from jscope.nn._spatial import Window
from jscope.tf1._arguments import ZEROS
from jscope.tf1._shapes import TensorShape
from jscope.tf1.layers._kernel import KernelLayer
from jscope.tf1.layers._layer import activated, array_of, as_given, channels_last, channels_of, check_rank, sizes


class Conv(KernelLayer):
    """What all convolutions have in common; `rank` is the number of spatial axes."""

    rank = 0

    def __init__(
        self,
        filters: Any,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
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
        self.filters, self.data_format, self.padding = int(filters), data_format, str(padding).lower()
        self.kernel_size = sizes("kernel_size", kernel_size, self.rank)
        self.strides = sizes("strides", strides, self.rank)
        self.dilation_rate = sizes("dilation_rate", dilation_rate, self.rank)

    def build(self, input_shape: Any) -> None:
        """Creates `kernel` (kernel_size..., c, filters) and `bias` (filters,)."""
        shape = [*self.kernel_size, channels_of(input_shape, self.data_format), self.filters]
        self.kernel = self._weight("kernel", shape, "kernel")
        self.bias = self._bias_weight(self.filters)

    def call(self, inputs: Any) -> Any:
        """Returns the convolution of the inputs."""
        x = array_of(inputs)
        check_rank(self, x, f"min_ndim={self.rank + 2}", fits=x.ndim == self.rank + 2)
        y = self._with_bias(self._computed(channels_last(x, self.data_format)))
        return activated(as_given(y, self.data_format), self.activation, "BiasAdd" if self.use_bias else "Conv")

    def _computed(self, x: Any) -> Any:
        kernel: Any = array_of(self.kernel)
        return convolved(None, self.name, x, kernel, self._window(), self.padding, 1, None)  # pyright: ignore[reportArgumentType]

    def _window(self) -> Window:
        return Window(self.kernel_size, self.strides, self.dilation_rate)


class Conv1D(Conv):
    """Convolves `(b, t, c)`. Arguments are those of `tf1.layers.conv1d`, without `inputs` and `reuse`."""

    rank = 1


class Conv2D(Conv):
    """Convolves `(b, h, w, c)`. Arguments are those of `tf1.layers.conv2d`, without `inputs` and `reuse`."""

    rank = 2


class Conv3D(Conv):
    """Convolves `(b, d, h, w, c)`. Arguments are those of `tf1.layers.conv3d`, without `inputs` and `reuse`."""

    rank = 3


class ConvTranspose(Conv):
    """What transposed convolutions have in common: they do what the gradient of a convolution does."""

    def __init__(
        self,
        filters: Any,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
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
        shared = {"kernel_constraint": kernel_constraint, "bias_constraint": bias_constraint, "trainable": trainable}
        initial = kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer
        # TensorFlow 1 has no dilation here, so its arguments have no place for one.
        before = filters, kernel_size, strides, padding, data_format, 1, activation, use_bias
        super().__init__(*before, *initial, name=name, **shared, **options)

    def build(self, input_shape: Any) -> None:
        """Creates `kernel` (kernel_size..., filters, c) and `bias` (filters,)."""
        # The other way round than a convolution's: it is the kernel of the convolution that leads back.
        shape = [*self.kernel_size, self.filters, channels_of(input_shape, self.data_format)]
        self.kernel = self._weight("kernel", shape, "kernel")
        self.bias = self._bias_weight(self.filters)

    def _computed(self, x: Any) -> Any:
        kernel: Any = array_of(self.kernel)
        return transposed(None, x, kernel, self._window(), self.padding)  # pyright: ignore[reportArgumentType]


class Conv2DTranspose(ConvTranspose):
    """Arguments are those of `tf1.layers.conv2d_transpose`, without `inputs` and `reuse`."""

    rank = 2


class Conv3DTranspose(ConvTranspose):
    """Arguments are those of `tf1.layers.conv3d_transpose`, without `inputs` and `reuse`."""

    rank = 3


class SeparableConv(Conv):
    """What separable convolutions have in common: each channel by itself, then a mixture of the channels."""

    def __init__(
        self,
        filters: Any,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: Any = True,
        depthwise_initializer: Any = None,
        pointwise_initializer: Any = None,
        bias_initializer: Any = ZEROS,
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: Any = None,
        **options: Any,
    ) -> None:
        before = filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias
        of_bias = {"bias_regularizer": bias_regularizer, "bias_constraint": bias_constraint}
        shared = {"activity_regularizer": activity_regularizer, "trainable": trainable, "name": name}
        super().__init__(*before, bias_initializer=bias_initializer, **of_bias, **shared, **options)
        self.depth_multiplier = int(TensorShape([depth_multiplier])[0])
        self.depthwise_initializer, self.pointwise_initializer = depthwise_initializer, pointwise_initializer
        self.depthwise_regularizer, self.pointwise_regularizer = depthwise_regularizer, pointwise_regularizer
        self.depthwise_constraint, self.pointwise_constraint = depthwise_constraint, pointwise_constraint

    def build(self, input_shape: Any) -> None:
        """Creates `depthwise_kernel` (kernel_size..., c, m), `pointwise_kernel` (1..., c * m, filters) and `bias`."""
        channels, m = channels_of(input_shape, self.data_format), self.depth_multiplier
        self.depthwise_kernel = self._weight("depthwise_kernel", [*self.kernel_size, channels, m], "depthwise")
        point = [*(1,) * self.rank, channels * m, self.filters]
        self.pointwise_kernel = self._weight("pointwise_kernel", point, "pointwise")
        self.bias = self._bias_weight(self.filters)

    def _computed(self, x: Any) -> Any:
        # Strides and dilation are the first convolution's; the second looks at one pixel at a time.
        y, ones = depthwise(x, self.depthwise_kernel, self._window(), self.padding), (1,) * self.rank
        kernel: Any = array_of(self.pointwise_kernel)
        return convolved(None, self.name, y, kernel, Window(ones, ones, ones), "valid", 1, None)


class SeparableConv1D(SeparableConv):
    """Arguments are those of `tf1.layers.separable_conv1d`, without `inputs` and `reuse`."""

    rank = 1


class SeparableConv2D(SeparableConv):
    """Arguments are those of `tf1.layers.separable_conv2d`, without `inputs` and `reuse`."""

    rank = 2


def depthwise(x: Any, kernel: Any, over: Window, padding: Any) -> Any:
    """Returns the convolution of each channel by itself with a kernel (size..., c, m)."""
    kernel, channels = array_of(kernel), x.shape[-1]
    # JAX has groups of one channel each, whose outputs follow each other by channel, as TensorFlow's do.
    kernel = kernel.reshape(*over.size, 1, channels * kernel.shape[-1])
    return convolved(None, "depthwise", x, kernel, over, padding, channels, None)
