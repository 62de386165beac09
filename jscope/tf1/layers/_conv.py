"""Convolutions: one class for each number of spatial axes, as in TensorFlow; `jscope.nn` computes them."""

from __future__ import annotations

from typing import Any

from jscope.nn._conv import convolved
from jscope.nn._conv_transpose import transposed
from jscope.nn._spatial import Window
from jscope.tf1._arguments import ZEROS
from jscope.tf1._errors import ArgumentError
from jscope.tf1.layers._dense import add_bias_weight, with_bias
from jscope.tf1.layers._layer import Layer, activated, array_of, as_given, channels_last, channels_of


class Conv(Layer):
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
        super().__init__(trainable, name, activity_regularizer=activity_regularizer, **options)
        self.filters, self.data_format, self.padding = int(filters), data_format, str(padding).lower()
        self.kernel_size = self._sizes("kernel_size", kernel_size)
        self.strides = self._sizes("strides", strides)
        self.dilation_rate = self._sizes("dilation_rate", dilation_rate)
        self.activation, self.use_bias = activation, use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint
        self.bias: Any = None

    def build(self, input_shape: Any) -> None:
        """Creates `kernel` (kernel_size..., c, filters) and `bias` (filters,)."""
        shape = [*self.kernel_size, channels_of(input_shape, self.data_format), self.filters]
        self.kernel = self._weight("kernel", shape, "kernel")
        self.bias = add_bias_weight(self, self.filters)

    def call(self, inputs: Any) -> Any:
        """Returns the convolution of the inputs."""
        x = channels_last(array_of(inputs), self.data_format)
        if x.ndim != self.rank + 2:
            raise ArgumentError(
                f'Input 0 of layer "{self.name}" is incompatible with the layer: expected min_ndim={self.rank + 2}, '
                f"found ndim={x.ndim}. Full shape received: {x.shape}"
            )
        y = with_bias(self, self._computed(x))
        return activated(as_given(y, self.data_format), self.activation, "BiasAdd" if self.use_bias else "Conv")

    def _computed(self, x: Any) -> Any:
        kernel: Any = array_of(self.kernel)
        return convolved(None, self.name, x, kernel, self._window(), self.padding, 1, None)  # pyright: ignore[reportArgumentType]

    def _window(self) -> Window:
        return Window(self.kernel_size, self.strides, self.dilation_rate)

    def _weight(self, name: str, shape: list[int], role: str) -> Any:
        kind = (getattr(self, f"{role}_{part}") for part in ("initializer", "regularizer", "constraint"))
        initializer, regularizer, constraint = kind
        return self.add_weight(name, shape, initializer=initializer, regularizer=regularizer, constraint=constraint)

    def _sizes(self, name: str, value: Any) -> tuple[int, ...]:
        sizes = tuple(map(int, value)) if hasattr(value, "__len__") else (int(value),) * self.rank
        if len(sizes) != self.rank:
            raise ArgumentError(f"The `{name}` argument must be a tuple of {self.rank} integers. Received: {value}")
        return sizes


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
        before = filters, kernel_size, strides, padding, data_format, 1, activation, use_bias
        super().__init__(*before, *initial, name=name, **shared, **options)

    def build(self, input_shape: Any) -> None:
        """Creates `kernel` (kernel_size..., filters, c) and `bias` (filters,)."""
        shape = [*self.kernel_size, self.filters, channels_of(input_shape, self.data_format)]
        self.kernel = self._weight("kernel", shape, "kernel")
        self.bias = add_bias_weight(self, self.filters)

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
        self.depth_multiplier = int(depth_multiplier)
        self.depthwise_initializer, self.pointwise_initializer = depthwise_initializer, pointwise_initializer
        self.depthwise_regularizer, self.pointwise_regularizer = depthwise_regularizer, pointwise_regularizer
        self.depthwise_constraint, self.pointwise_constraint = depthwise_constraint, pointwise_constraint

    def build(self, input_shape: Any) -> None:
        """Creates `depthwise_kernel` (kernel_size..., c, m), `pointwise_kernel` (1..., c * m, filters) and `bias`."""
        channels, m = channels_of(input_shape, self.data_format), self.depth_multiplier
        self.depthwise_kernel = self._weight("depthwise_kernel", [*self.kernel_size, channels, m], "depthwise")
        point = [*(1,) * self.rank, channels * m, self.filters]
        self.pointwise_kernel = self._weight("pointwise_kernel", point, "pointwise")
        self.bias = add_bias_weight(self, self.filters)

    def _computed(self, x: Any) -> Any:
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
    kernel = kernel.reshape(*over.size, 1, channels * kernel.shape[-1])
    return convolved(None, "depthwise", x, kernel, over, padding, channels, None)
