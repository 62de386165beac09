"""The layers as functions: a layer is made, called once, and forgotten; its variables stay under its name.

A name that is given is the scope's as it stands, so that two calls with one name share where reuse is on; a layer
without a name opens a scope of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from jscope.tf1._arguments import ONES, ZEROS
from jscope.tf1.layers import _conv, _pool
from jscope.tf1.layers._batch_norm import BatchNormalization
from jscope.tf1.layers._dense import Dense, Dropout, Flatten
from jscope.tf1.layers._layer import Layer, snake_case


def _function_of(kind: type[Layer], *, shares: bool = True) -> Callable[..., Any]:
    """Returns the function of a class: its arguments after `inputs`, and `reuse` where the layer may share."""
    own = [each for each in inspect.signature(kind).parameters.values() if each.name != "options"]
    inputs = inspect.Parameter("inputs", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    reuse = inspect.Parameter("reuse", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
    signature = inspect.Signature([inputs, *own, *([reuse] if shares else [])])

    def function(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        inputs, reuse = given.pop("inputs"), given.pop("reuse", None)
        shared = {"_scope": given.get("name"), "_reuse": reuse} if shares else {}
        return kind(**given, **shared)(inputs)

    function.__name__ = function.__qualname__ = snake_case(kind.__name__)
    function.__doc__ = f"`{kind.__name__}`, made and called on `inputs`."
    vars(function)["__signature__"] = signature
    return function


dense = _function_of(Dense)
conv1d = _function_of(_conv.Conv1D)
conv2d = _function_of(_conv.Conv2D)
conv3d = _function_of(_conv.Conv3D)
conv2d_transpose = _function_of(_conv.Conv2DTranspose)
conv3d_transpose = _function_of(_conv.Conv3DTranspose)
separable_conv1d = _function_of(_conv.SeparableConv1D)
separable_conv2d = _function_of(_conv.SeparableConv2D)
max_pooling1d = _function_of(_pool.MaxPooling1D, shares=False)
max_pooling2d = _function_of(_pool.MaxPooling2D, shares=False)
max_pooling3d = _function_of(_pool.MaxPooling3D, shares=False)
average_pooling1d = _function_of(_pool.AveragePooling1D, shares=False)
average_pooling2d = _function_of(_pool.AveragePooling2D, shares=False)
average_pooling3d = _function_of(_pool.AveragePooling3D, shares=False)


def batch_normalization(
    inputs: Any,
    axis: Any = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Any = ZEROS,
    gamma_initializer: Any = ONES,
    moving_mean_initializer: Any = ZEROS,
    moving_variance_initializer: Any = ONES,
    beta_regularizer: Any = None,
    gamma_regularizer: Any = None,
    beta_constraint: Any = None,
    gamma_constraint: Any = None,
    training: Any = False,
    trainable: bool = True,
    name: Any = None,
    reuse: Any = None,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_momentum: float = 0.99,
    fused: bool | None = None,
    virtual_batch_size: int | None = None,
    adjustment: Any = None,
) -> Any:
    """Normalizes each channel over all other axes: in training by the statistics of the batch.

    >>> from jscope import tf1
    >>> model = tf1.transform_with_state(lambda x: tf1.layers.batch_normalization(x, training=True, name="bn"))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((4, 2)))
    >>> out, state = model.apply(params, state, jnp.ones((4, 2)))
    >>> bool(jnp.allclose(state["bn"]["moving_mean"], 0.01))
    True

    `training` may be a bool tensor. The moving statistics are written at once; `UPDATE_OPS` holds what was written.
    """
    layer = BatchNormalization(
        axis,
        momentum,
        epsilon,
        center,
        scale,
        beta_initializer,
        gamma_initializer,
        moving_mean_initializer,
        moving_variance_initializer,
        beta_regularizer,
        gamma_regularizer,
        beta_constraint,
        gamma_constraint,
        renorm,
        renorm_clipping,
        renorm_momentum,
        fused,
        trainable,
        virtual_batch_size,
        adjustment,
        name,
        _scope=name,
        _reuse=reuse,
    )
    return layer(inputs, training=training)


def dropout(
    inputs: Any,
    rate: Any = 0.5,
    noise_shape: Any = None,
    seed: Any = None,
    training: Any = False,
    name: Any = None,
) -> Any:
    """Sets a share `rate` of the elements to zero in training, and makes the others larger by as much.

    >>> from jscope import tf1
    >>> model = tf1.transform(lambda x: tf1.layers.dropout(x, 0.5, training=True)).with_rng(jax.random.key(0))
    >>> sorted(set(model.apply({}, jnp.ones(100)).tolist()))
    [0.0, 2.0]
    """
    return Dropout(rate, noise_shape, seed, name)(inputs, training=training)


def flatten(inputs: Any, name: Any = None, data_format: str = "channels_last") -> Any:
    """Makes one axis of all but the first.

    >>> from jscope import tf1
    >>> tf1.transform(lambda x: tf1.layers.flatten(x)).apply({}, jnp.ones((2, 3, 4))).shape
    (2, 12)
    """
    return Flatten(data_format, name)(inputs)
