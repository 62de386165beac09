"""`fully_connected` and what needs no variables."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.nn._layer import along
from jscope.tf1._arguments import ZEROS
from jscope.tf1._entering import variable_scope
from jscope.tf1._errors import ArgumentError
from jscope.tf1._name_scopes import name_scope
from jscope.tf1._tensors import tensor
from jscope.tf1.contrib.framework._arg_scope import add_arg_scope
from jscope.tf1.contrib.framework._variables import model_variable
from jscope.tf1.contrib.layers._common import (
    RENAMED,
    activated,
    finished,
    layer_output,
    layer_scope,
    layout,
    options_of,
    relu,
)
from jscope.tf1.contrib.layers.initializers import XAVIER
from jscope.tf1.contrib.layers.utils import collect_named_outputs, get_variable_collections
from jscope.tf1.layers._dense import Dense, Dropout
from jscope.tf1.layers._functions import flatten as flatten_layer
from jscope.tf1.layers._layer import array_of


@add_arg_scope
def fully_connected(
    inputs: Any,
    num_outputs: int,
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
    """Multiplies the last axis by `weights` and adds `biases`, or normalizes in their place; then activates.

    >>> from jscope import tf1
    >>> model = tf1.transform(lambda x: tf1.contrib.layers.fully_connected(x, 2))
    >>> jscope.tree.names(model.init(jax.random.key(0), jnp.ones((4, 3))))
    ['fully_connected/weights', 'fully_connected/biases']
    """
    if not isinstance(num_outputs, int | np.integer):
        raise ArgumentError(f"num_outputs type should be one of [<class 'int'>], got {type(num_outputs)}.")
    weights = weights_initializer, weights_regularizer
    options = options_of(*weights, biases_initializer, biases_regularizer, trainable)
    # The scope is opened before the layer is made, since the normalizer asks for its variables in it as well.
    with layer_scope(scope, "fully_connected", reuse, RENAMED) as sc:
        where = tensor(inputs), sc, reuse, normalizer_fn, variables_collections
        outputs = layer_output(Dense, *where, num_outputs, **options)
        return finished(outputs, sc, normalizer_fn, normalizer_params, activation_fn, outputs_collections)


linear = functools.partial(fully_connected, activation_fn=None)


@add_arg_scope
def bias_add(
    inputs: Any,
    activation_fn: Callable[..., Any] | None = None,
    initializer: Any = ZEROS,
    regularizer: Callable[..., Any] | None = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    data_format: str = "NHWC",
    scope: Any = None,
) -> Any:
    """Adds `biases`, one for each channel."""
    axis = 1 if layout(data_format) == "channels_first" else -1
    with variable_scope(scope, "BiasAdd", reuse=reuse) as sc:
        inputs = tensor(inputs)
        biases = model_variable(
            "biases",
            [inputs.shape[axis]],
            dtype=inputs.dtype,
            initializer=initializer,
            regularizer=regularizer,
            collections=get_variable_collections(variables_collections, "biases"),
            trainable=trainable,
        )
        outputs = inputs + along(array_of(biases), inputs.shape.ndims, axis)
        return activated(tensor(outputs), sc, activation_fn, outputs_collections)


@add_arg_scope
def dropout(
    inputs: Any,
    keep_prob: Any = 0.5,
    noise_shape: Any = None,
    is_training: Any = True,
    outputs_collections: Any = None,
    scope: Any = None,
    seed: Any = None,
) -> Any:
    """Keeps a share `keep_prob` of the elements in training, and makes them larger by as much."""
    with layer_scope(scope, "Dropout", None) as sc:
        layer = Dropout(1 - keep_prob, noise_shape, seed, name=sc.name, _scope=sc)
        return collect_named_outputs(outputs_collections, sc.name, layer(tensor(inputs), training=is_training))


@add_arg_scope
def flatten(inputs: Any, outputs_collections: Any = None, scope: str | None = None) -> Any:
    """Makes one axis of all but the first."""
    with name_scope(scope, "Flatten") as sc:
        return collect_named_outputs(outputs_collections, sc, flatten_layer(tensor(inputs)))


@add_arg_scope
def one_hot_encoding(
    labels: Any,
    num_classes: int,
    on_value: float = 1.0,
    off_value: float = 0.0,
    outputs_collections: Any = None,
    scope: str | None = None,
) -> Any:
    """Returns one row for each label, with `on_value` in the column of the label.

    >>> from jscope import tf1
    >>> tf1.transform(lambda: tf1.contrib.layers.one_hot_encoding([1], 3)).apply({}).tolist()
    [[0.0, 1.0, 0.0]]
    """
    with name_scope(scope, "OneHotEncoding") as sc:
        hot = jax.nn.one_hot(jnp.asarray(tensor(labels)), int(num_classes), dtype=bool)
        # Of Python's numbers, TensorFlow takes the dtype of `on_value`: float32 for 1.0, int32 for 1.
        kind = jnp.result_type(float) if isinstance(on_value, float) else jnp.asarray(on_value).dtype
        outputs = jnp.where(hot, jnp.asarray(on_value, kind), jnp.asarray(off_value, kind))
        return collect_named_outputs(outputs_collections, sc, tensor(outputs))


@add_arg_scope
def softmax(logits: Any, scope: Any = None) -> Any:
    """Returns the softmax along the last axis."""
    with variable_scope(scope, "softmax"):
        return tensor(jax.nn.softmax(jnp.asarray(tensor(logits)), -1))


@add_arg_scope
def unit_norm(inputs: Any, dim: int, epsilon: float = 1e-7, scope: Any = None) -> Any:
    """Divides by the Euclidean length along one axis."""
    with variable_scope(scope, "UnitNorm"):
        x = jnp.asarray(tensor(inputs))
        if not 0 <= dim < x.ndim:
            raise ArgumentError("dim must be positive but smaller than the input rank.")
        return tensor(x / jnp.sqrt(epsilon + jnp.sum(jnp.square(x), dim, keepdims=True)))


@add_arg_scope
def maxout(inputs: Any, num_units: int, axis: int = -1, scope: Any = None) -> Any:
    """Returns the largest of each group of `channels / num_units` channels."""
    with variable_scope(scope, "MaxOut"):
        x = jnp.asarray(tensor(inputs))
        if x.shape[axis] % num_units:
            raise ArgumentError(f"number of features({x.shape[axis]}) is not a multiple of num_units({num_units})")
        # The groups stand in the last axis, whichever `axis` is: so TensorFlow's reshape cuts them.
        shape = [*x.shape, x.shape[axis] // num_units]
        shape[axis if axis >= 0 else axis - 1] = num_units
        return tensor(jnp.max(x.reshape(shape), -1))


def repeat(inputs: Any, repetitions: int, layer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Applies a layer several times, under `scope_1`, `scope_2`, ...

    >>> from jscope import tf1
    >>> layers = tf1.contrib.layers
    >>> model = tf1.transform(lambda x: layers.repeat(x, 2, layers.fully_connected, 3, scope="fc"))
    >>> jscope.tree.names(model.init(jax.random.key(0), jnp.ones((2, 3))))
    ['fc/fc_1/weights', 'fc/fc_1/biases', 'fc/fc_2/weights', 'fc/fc_2/biases']
    """
    return _in_turn(inputs, layer, [args] * repetitions, kwargs, "Repeat", "repeat")


@add_arg_scope
def stack(inputs: Any, layer: Callable[..., Any], stack_args: Any, **kwargs: Any) -> Any:
    """Applies a layer once with each of `stack_args`, under `scope_1`, `scope_2`, ...

    >>> from jscope import tf1
    >>> layers = tf1.contrib.layers
    >>> model = tf1.transform(lambda x: layers.stack(x, layers.fully_connected, [4, 2], scope="fc"))
    >>> model.apply(model.init(jax.random.key(0), jnp.ones((2, 3))), jnp.ones((2, 3))).shape
    (2, 2)
    """
    if not isinstance(stack_args, list | tuple):
        raise ArgumentError("stack_args need to be a list or tuple")
    turns = [each if isinstance(each, list | tuple) else [each] for each in stack_args]
    return _in_turn(inputs, layer, turns, kwargs, "Stack", "stack")


def _in_turn(inputs: Any, layer: Any, turns: Any, kwargs: dict[str, Any], default: str, fallback: str) -> Any:
    scope = kwargs.pop("scope", None)
    with variable_scope(scope, default):
        # A layer that is a `partial` has the name of its function.
        name = scope or getattr(layer, "__name__", None) or getattr(getattr(layer, "func", None), "__name__", fallback)
        outputs = tensor(inputs)
        for number, args in enumerate(turns, 1):
            outputs = layer(outputs, *args, **kwargs, scope=f"{name}_{number}")
        return outputs
