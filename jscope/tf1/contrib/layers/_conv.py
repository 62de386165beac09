"""Convolutions and pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jscope.nn._spatial import Window
from jscope.tf1._arguments import ZEROS
from jscope.tf1._errors import ArgumentError
from jscope.tf1._name_scopes import name_scope
from jscope.tf1._tensors import tensor
from jscope.tf1.contrib.framework._arg_scope import add_arg_scope
from jscope.tf1.contrib.framework._variables import model_variable
from jscope.tf1.contrib.layers._common import (
    RENAMED,
    collect_variable,
    collections_of,
    finished,
    layer_scope,
    layout,
    relu,
)
from jscope.tf1.contrib.layers._dense import bias_add
from jscope.tf1.contrib.layers._initializers import XAVIER
from jscope.tf1.contrib.layers.utils import channel_dimension, collect_named_outputs, two_element_tuple
from jscope.tf1.layers import _conv, _pool
from jscope.tf1.layers._layer import as_given, channels_last

_FORMATS = (None, "NWC", "NCW", "NHWC", "NCHW", "NDHWC", "NCDHW")


@add_arg_scope
def convolution(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str | None = None,
    rate: Any = 1,
    activation_fn: Callable[..., Any] | None = relu,
    normalizer_fn: Callable[..., Any] | None = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_initializer: Any = XAVIER,
    weights_regularizer: Callable[..., Any] | None = None,
    biases_initializer: Any = ZEROS,
    biases_regularizer: Callable[..., Any] | None = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
    conv_dims: int | None = None,
) -> Any:
    """Convolves with `weights` and adds `biases`, or normalizes in their place; then activates.

    >>> from jscope import tf1
    >>> model = tf1.transform(lambda x: tf1.contrib.layers.conv2d(x, 2, 3))
    >>> jscope.tree.names(model.init(jax.random.key(0), jnp.ones((1, 4, 4, 3))))
    ['Conv/weights', 'Conv/biases']
    """
    order = layout(data_format, _FORMATS)  # pyright: ignore[reportArgumentType]
    with layer_scope(scope, "Conv", reuse, RENAMED) as sc:
        inputs = tensor(inputs)
        rank = inputs.shape.ndims
        if conv_dims is not None and conv_dims + 2 != rank:
            raise ArgumentError(f"Convolution expects input with rank {conv_dims + 2}, got {rank}")
        kinds = {3: _conv.Conv1D, 4: _conv.Conv2D, 5: _conv.Conv3D}
        if rank not in kinds:
            raise ArgumentError(f"Convolution not supported for input with rank {rank}")
        layer = kinds[rank](
            num_outputs,
            kernel_size,
            stride,
            padding,
            order,
            rate,
            use_bias=not normalizer_fn and biases_initializer,
            kernel_initializer=weights_initializer,
            bias_initializer=biases_initializer,
            kernel_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            name=sc.name,
            dtype=inputs.dtype,
            _scope=sc,
            _reuse=reuse,
        )
        outputs = layer(inputs)
        collect_variable(layer.kernel, variables_collections, "weights")
        collect_variable(layer.bias, variables_collections, "biases")
        return finished(outputs, sc, normalizer_fn, normalizer_params, activation_fn, outputs_collections)


def _of_rank(dims: int, name: str) -> Callable[..., Any]:
    """Returns `convolution` for inputs with this many spatial axes; a function of its own to `arg_scope`."""

    def function(inputs: Any, num_outputs: int, kernel_size: Any, *args: Any, **kwargs: Any) -> Any:
        return convolution(inputs, num_outputs, kernel_size, *args, conv_dims=dims, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`convolution` over {dims} spatial {'axis' if dims == 1 else 'axes'}; the same arguments."
    return add_arg_scope(function)


convolution1d = conv1d = _of_rank(1, "convolution1d")
convolution2d = conv2d = _of_rank(2, "convolution2d")
convolution3d = conv3d = _of_rank(3, "convolution3d")


def _transpose_of_rank(kind: type[_conv.ConvTranspose], name: str, default: str, formats: tuple[str, ...]) -> Any:
    """Returns the transposed convolution of a class."""

    def function(
        inputs: Any,
        num_outputs: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: str = "SAME",
        data_format: str = formats[0],
        activation_fn: Callable[..., Any] | None = relu,
        normalizer_fn: Callable[..., Any] | None = None,
        normalizer_params: dict[str, Any] | None = None,
        weights_initializer: Any = XAVIER,
        weights_regularizer: Callable[..., Any] | None = None,
        biases_initializer: Any = ZEROS,
        biases_regularizer: Callable[..., Any] | None = None,
        reuse: Any = None,
        variables_collections: Any = None,
        outputs_collections: Any = None,
        trainable: bool = True,
        scope: Any = None,
    ) -> Any:
        with layer_scope(scope, default, reuse, RENAMED) as sc:
            inputs = tensor(inputs)
            layer = kind(
                num_outputs,
                kernel_size,
                stride,
                padding,
                layout(data_format, formats),
                use_bias=not normalizer_fn and biases_initializer,
                kernel_initializer=weights_initializer,
                bias_initializer=biases_initializer,
                kernel_regularizer=weights_regularizer,
                bias_regularizer=biases_regularizer,
                trainable=trainable,
                name=sc.name,
                dtype=inputs.dtype,
                _scope=sc,
                _reuse=reuse,
            )
            outputs = layer(inputs)
            collect_variable(layer.kernel, variables_collections, "weights")
            collect_variable(layer.bias, variables_collections, "biases")
            return finished(outputs, sc, normalizer_fn, normalizer_params, activation_fn, outputs_collections)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Convolves from small to large with `weights` and adds `biases`; arguments as in `convolution`."
    return add_arg_scope(function)


convolution2d_transpose = conv2d_transpose = _transpose_of_rank(
    _conv.Conv2DTranspose, "convolution2d_transpose", "Conv2d_transpose", ("NHWC", "NCHW")
)
convolution3d_transpose = conv3d_transpose = _transpose_of_rank(
    _conv.Conv3DTranspose, "convolution3d_transpose", "Conv3d_transpose", ("NDHWC", "NCDHW")
)


@add_arg_scope
def separable_convolution2d(
    inputs: Any,
    num_outputs: int | None,
    kernel_size: Any,
    depth_multiplier: int = 1,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str = "NHWC",
    rate: Any = 1,
    activation_fn: Callable[..., Any] | None = relu,
    normalizer_fn: Callable[..., Any] | None = None,
    normalizer_params: dict[str, Any] | None = None,
    weights_initializer: Any = XAVIER,
    pointwise_initializer: Any = None,
    weights_regularizer: Callable[..., Any] | None = None,
    biases_initializer: Any = ZEROS,
    biases_regularizer: Callable[..., Any] | None = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Convolves each channel with `depthwise_weights`, mixes the channels with `pointwise_weights`, adds `biases`.

    Without `num_outputs` channels are not mixed.
    """
    order = layout(data_format)
    renamed = {**RENAMED, "depthwise_kernel": "depthwise_weights", "pointwise_kernel": "pointwise_weights"}
    with layer_scope(scope, "SeparableConv2d", reuse, renamed) as sc:
        inputs = tensor(inputs)
        steps = {"kernel": kernel_size, "stride": stride, "rate": rate}
        weights = {"initializer": weights_initializer, "regularizer": weights_regularizer, "trainable": trainable}
        bias = {"initializer": biases_initializer, "regularizer": biases_regularizer, "trainable": trainable}
        if num_outputs is None:
            keys = collections_of(variables_collections, "weights")
            outputs = _depthwise(inputs, steps, depth_multiplier, padding, order, {**weights, "collections": keys})
            if not normalizer_fn and biases_initializer is not None:
                keys = {"variables_collections": variables_collections, "data_format": data_format}
                outputs = bias_add(outputs, **bias, **keys, scope=sc)
            return finished(outputs, sc, normalizer_fn, normalizer_params, activation_fn, outputs_collections)
        layer = _conv.SeparableConv2D(
            num_outputs,
            kernel_size,
            stride,
            padding,
            order,
            two_element_tuple(rate),
            depth_multiplier,
            use_bias=not normalizer_fn and biases_initializer,
            depthwise_initializer=weights_initializer,
            pointwise_initializer=pointwise_initializer or weights_initializer,
            bias_initializer=biases_initializer,
            depthwise_regularizer=weights_regularizer,
            pointwise_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            name=sc.name,
            dtype=inputs.dtype,
            _scope=sc,
            _reuse=reuse,
        )
        outputs = layer(inputs)
        for kernel in (layer.depthwise_kernel, layer.pointwise_kernel):
            collect_variable(kernel, variables_collections, "weights")
        collect_variable(layer.bias, variables_collections, "biases")
        return finished(outputs, sc, normalizer_fn, normalizer_params, activation_fn, outputs_collections)


separable_conv2d = separable_convolution2d


def _depthwise(inputs: Any, steps: dict[str, Any], multiplier: int, padding: str, order: str, options: Any) -> Any:
    over = Window(*(two_element_tuple(steps[name]) for name in ("kernel", "stride", "rate")))
    shape = [*over.size, channel_dimension(inputs.shape, order, 4), multiplier]
    kernel = model_variable("depthwise_weights", shape, inputs.dtype, **options)
    x = channels_last(jnp.asarray(inputs), order)
    return tensor(as_given(_conv.depthwise(x, kernel, over, padding.lower()), order))


def _pool_of(kind: type[_pool.Pool], name: str, default: str, formats: tuple[str, ...]) -> Any:
    """Returns the pool of a class."""

    def function(
        inputs: Any,
        kernel_size: Any,
        stride: Any = 2,
        padding: str = "VALID",
        data_format: str = formats[0],
        outputs_collections: Any = None,
        scope: str | None = None,
    ) -> Any:
        order = layout(data_format, formats)
        with name_scope(scope, default) as sc:
            layer = kind(kernel_size, stride, padding, order, _scope=sc)
            return collect_named_outputs(outputs_collections, sc, layer(tensor(inputs)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The pools of `{kind.__name__}`, with a stride of 2 unless another is given."
    return add_arg_scope(function)


_IMAGES, _VOLUMES = ("NHWC", "NCHW"), ("NDHWC", "NCDHW")
avg_pool2d = _pool_of(_pool.AveragePooling2D, "avg_pool2d", "AvgPool2D", _IMAGES)
avg_pool3d = _pool_of(_pool.AveragePooling3D, "avg_pool3d", "AvgPool3D", _VOLUMES)
max_pool2d = _pool_of(_pool.MaxPooling2D, "max_pool2d", "MaxPool2D", _IMAGES)
max_pool3d = _pool_of(_pool.MaxPooling3D, "max_pool3d", "MaxPool3D", _VOLUMES)
