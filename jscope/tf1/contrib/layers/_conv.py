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
    finished,
    layer_output,
    layer_scope,
    layout,
    options_of,
    relu,
)
from jscope.tf1.contrib.layers._dense import bias_add
from jscope.tf1.contrib.layers.initializers import XAVIER
from jscope.tf1.contrib.layers.utils import (
    channel_dimension,
    collect_named_outputs,
    get_variable_collections,
    two_element_tuple,
)
from jscope.tf1.layers import _conv, _pool
from jscope.tf1.layers._layer import array_of, as_given, channels_last

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
    weights = weights_initializer, weights_regularizer
    options = options_of(*weights, biases_initializer, biases_regularizer, trainable)
    options |= {"strides": stride, "padding": padding, "data_format": order, "dilation_rate": rate}
    with layer_scope(scope, "Conv", reuse, RENAMED) as sc:
        inputs = tensor(inputs)
        rank = inputs.shape.ndims
        if conv_dims is not None and conv_dims + 2 != rank:
            raise ArgumentError(f"Convolution expects input with rank {conv_dims + 2}, got {rank}")
        # `convolution` itself goes by the input; only `conv1d`, `conv2d` and `conv3d` know what they want.
        kinds = {3: _conv.Conv1D, 4: _conv.Conv2D, 5: _conv.Conv3D}
        if rank not in kinds:
            raise ArgumentError(f"Convolution not supported for input with rank {rank}")
        where = inputs, sc, reuse, normalizer_fn, variables_collections
        outputs = layer_output(kinds[rank], *where, num_outputs, kernel_size, **options)
        return finished(outputs, sc, normalizer_fn, normalizer_params, activation_fn, outputs_collections)


def _named(function: Callable[..., Any], name: str, doc: str) -> Callable[..., Any]:
    """Returns one of several functions that are made alike, under its own name, for `arg_scope`."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return add_arg_scope(function)


def _of_rank(dims: int, name: str) -> Callable[..., Any]:
    """Returns `convolution` for inputs with this many spatial axes; a function of its own to `arg_scope`."""

    def function(inputs: Any, num_outputs: int, kernel_size: Any, *args: Any, **kwargs: Any) -> Any:
        return convolution(inputs, num_outputs, kernel_size, *args, conv_dims=dims, **kwargs)

    return _named(
        function, name, f"`convolution` over {dims} spatial {'axis' if dims == 1 else 'axes'}; the same arguments."
    )


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
        weights = weights_initializer, weights_regularizer
        options = options_of(*weights, biases_initializer, biases_regularizer, trainable)
        options |= {"strides": stride, "padding": padding, "data_format": layout(data_format, formats)}
        with layer_scope(scope, default, reuse, RENAMED) as sc:
            where = tensor(inputs), sc, reuse, normalizer_fn, variables_collections
            outputs = layer_output(kind, *where, num_outputs, kernel_size, **options)
            return finished(outputs, sc, normalizer_fn, normalizer_params, activation_fn, outputs_collections)

    return _named(
        function, name, "Convolves from small to large with `weights` and adds `biases`; arguments as in `convolution`."
    )


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
    after = normalizer_fn, normalizer_params, activation_fn, outputs_collections
    given = {"strides": stride, "padding": padding, "data_format": order, "dilation_rate": two_element_tuple(rate)}
    bias = {"bias_initializer": biases_initializer, "bias_regularizer": biases_regularizer, "trainable": trainable}
    weights = {"depthwise_initializer": weights_initializer, "depthwise_regularizer": weights_regularizer}
    weights |= {"pointwise_initializer": pointwise_initializer or weights_initializer}
    weights |= {"pointwise_regularizer": weights_regularizer, "depth_multiplier": depth_multiplier}
    with layer_scope(scope, "SeparableConv2d", reuse, _SEPARABLE) as sc:
        inputs = tensor(inputs)
        if num_outputs is None:
            outputs = _depthwise(inputs, kernel_size, given, {**weights, **bias}, variables_collections)
            start = biases_initializer, biases_regularizer, None, variables_collections, None, trainable
            return finished(_biased(outputs, normalizer_fn, *start, data_format, sc), sc, *after)
        where = inputs, sc, reuse, normalizer_fn, variables_collections, num_outputs, kernel_size
        outputs = layer_output(_conv.SeparableConv2D, *where, kernels=_KERNELS, **given, **weights, **bias)
        return finished(outputs, sc, *after)


_KERNELS = "depthwise_kernel", "pointwise_kernel"
_SEPARABLE = {**RENAMED, "depthwise_kernel": "depthwise_weights", "pointwise_kernel": "pointwise_weights"}
separable_conv2d = separable_convolution2d


def _depthwise(inputs: Any, kernel_size: Any, given: dict[str, Any], weights: dict[str, Any], keys: Any) -> Any:
    """Returns the convolution of each channel by itself, with a variable of its own."""
    over = Window(*map(two_element_tuple, (kernel_size, given["strides"], given["dilation_rate"])))
    order, padding = given["data_format"], given["padding"].lower()
    # Under its own name at once: the getter of the scope renames only what a layer asks for.
    kernel = model_variable(
        "depthwise_weights",
        [*over.size, channel_dimension(inputs.shape, order, 4), weights["depth_multiplier"]],
        inputs.dtype,
        initializer=weights["depthwise_initializer"],
        regularizer=weights["depthwise_regularizer"],
        trainable=weights["trainable"],
        collections=get_variable_collections(keys, "weights"),
    )
    return tensor(as_given(_conv.depthwise(channels_last(array_of(inputs), order), kernel, over, padding), order))


def _biased(outputs: Any, normalizer_fn: Any, initializer: Any, *options: Any) -> Any:
    """Adds the biases, if there are any, where no layer is called that would add them."""
    return outputs if normalizer_fn or initializer is None else bias_add(outputs, None, initializer, *options)


@add_arg_scope
def convolution2d_in_plane(
    inputs: Any,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
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
    """Convolves each channel with the same `weights`, and adds `biases`."""
    keys = get_variable_collections(variables_collections, "weights")
    weights = {"initializer": weights_initializer, "regularizer": weights_regularizer, "trainable": trainable}
    over = Window(*map(two_element_tuple, (kernel_size, stride, 1)))
    with layer_scope(scope, "ConvInPlane", reuse) as sc:
        inputs = tensor(inputs)
        kernel = model_variable("weights", [*over.size, 1, 1], inputs.dtype, collections=keys, **weights)
        kernel = jnp.tile(array_of(kernel), [1, 1, inputs.shape.as_list()[-1], 1])
        outputs = tensor(_conv.depthwise(array_of(inputs), kernel, over, padding.lower()))
        start = biases_initializer, biases_regularizer, None, variables_collections, None, trainable
        outputs = _biased(outputs, normalizer_fn, *start, "NHWC", sc)
        return finished(outputs, sc, normalizer_fn, normalizer_params, activation_fn, outputs_collections)


conv2d_in_plane = convolution2d_in_plane


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

    return _named(function, name, f"The pools of `{kind.__name__}`, with a stride of 2 unless another is given.")


_IMAGES, _VOLUMES = ("NHWC", "NCHW"), ("NDHWC", "NCDHW")
avg_pool2d = _pool_of(_pool.AveragePooling2D, "avg_pool2d", "AvgPool2D", _IMAGES)
avg_pool3d = _pool_of(_pool.AveragePooling3D, "avg_pool3d", "AvgPool3D", _VOLUMES)
max_pool2d = _pool_of(_pool.MaxPooling2D, "max_pool2d", "MaxPool2D", _IMAGES)
max_pool3d = _pool_of(_pool.MaxPooling3D, "max_pool3d", "MaxPool3D", _VOLUMES)
