"""The layers as functions: a layer is made, called once, and forgotten; its variables stay under its name.

A name that is given is the scope's as it stands, so that two calls with one name share where reuse is on; a layer
without a name opens a scope of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from jscope.tf1.layers import _conv, _pool
from jscope.tf1.layers._batch_norm import BatchNormalization
from jscope.tf1.layers._dense import Dense, Dropout, Flatten
from jscope.tf1.layers._layer import Layer, snake_case


def _function_of(kind: type[Layer], order: str = "") -> Callable[..., Any]:
    """Returns the function of a class.

    Its arguments after `inputs` are those of the class and `reuse`; or those that `order` names, among which may be
    arguments of the call.
    """
    own, of_call = _parameters(kind), _parameters(kind.call)
    del of_call["inputs"]
    known = {**own, **of_call, "reuse": _REUSE}
    names = order.split() if order else [*own, "reuse"]
    signature = inspect.Signature([_INPUTS, *(known[name] for name in names)])
    required = {name for name, each in signature.parameters.items() if each.default is each.empty}
    names = ["inputs", *names]

    def function(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args, strict=False)) | kwargs
        # Where something is missing, too much or given twice, `bind` says what; it takes as long as a variable.
        if len(given) != len(args) + len(kwargs) or not required <= given.keys() <= signature.parameters.keys():
            given = signature.bind(*args, **kwargs).arguments
        inputs, reuse = given.pop("inputs"), given.pop("reuse", None)
        at_call = {name: given.pop(name) for name in of_call if name in given}
        # A name that is given is the scope as it stands; only that lets another call of that name share.
        shared = {"_scope": given.get("name"), "_reuse": reuse} if "reuse" in names else {}
        return kind(**given, **shared)(inputs, **at_call)

    function.__name__ = function.__qualname__ = snake_case(kind.__name__)
    function.__doc__ = f"`{kind.__name__}`, made and called on `inputs`."
    vars(function)["__signature__"] = signature
    return function


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    every = inspect.signature(function).parameters
    return {name: each for name, each in every.items() if name not in ("self", "options")}


_INPUTS = inspect.Parameter("inputs", inspect.Parameter.POSITIONAL_OR_KEYWORD)
_REUSE = inspect.Parameter("reuse", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)

dense = _function_of(Dense)
conv1d = _function_of(_conv.Conv1D)
conv2d = _function_of(_conv.Conv2D)
conv3d = _function_of(_conv.Conv3D)
conv2d_transpose = _function_of(_conv.Conv2DTranspose)
conv3d_transpose = _function_of(_conv.Conv3DTranspose)
separable_conv1d = _function_of(_conv.SeparableConv1D)
separable_conv2d = _function_of(_conv.SeparableConv2D)

# Layers without variables have nothing to reuse.
_POOL = "pool_size strides padding data_format name"
max_pooling1d = _function_of(_pool.MaxPooling1D, _POOL)
max_pooling2d = _function_of(_pool.MaxPooling2D, _POOL)
max_pooling3d = _function_of(_pool.MaxPooling3D, _POOL)
average_pooling1d = _function_of(_pool.AveragePooling1D, _POOL)
average_pooling2d = _function_of(_pool.AveragePooling2D, _POOL)
average_pooling3d = _function_of(_pool.AveragePooling3D, _POOL)
# TensorFlow has these in another order than the classes.
batch_normalization = _function_of(
    BatchNormalization,
    "axis momentum epsilon center scale beta_initializer gamma_initializer moving_mean_initializer "
    "moving_variance_initializer beta_regularizer gamma_regularizer beta_constraint gamma_constraint training "
    "trainable name reuse renorm renorm_clipping renorm_momentum fused virtual_batch_size adjustment",
)
dropout = _function_of(Dropout, "rate noise_shape seed training name")
flatten = _function_of(Flatten, "name data_format")
