"""Normalizations: over the batch, the layer, one image, or groups of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.nn._layer import along, cast
from jscope.nn._norm import statistics_dtype
from jscope.tf1 import _dtypes
from jscope.tf1._arguments import ONES, ZEROS
from jscope.tf1._collections import GraphKeys, add_to_collections
from jscope.tf1._entering import variable_scope
from jscope.tf1._errors import ArgumentError, advised
from jscope.tf1._scopes import get_variable_scope
from jscope.tf1._tensors import tensor
from jscope.tf1.contrib.framework._arg_scope import add_arg_scope
from jscope.tf1.contrib.framework._variables import model_variable
from jscope.tf1.contrib.layers._common import activated, collect_variable, layer_scope, layout
from jscope.tf1.contrib.layers.utils import get_variable_collections
from jscope.tf1.layers._batch_norm import BatchNormalization, moments_to_use, normalized
from jscope.tf1.layers._dense import static_bool
from jscope.tf1.layers._layer import array_of

_STARTS = {
    "beta": ZEROS,
    "gamma": ONES,
    "moving_mean": ZEROS,
    "moving_variance": ONES,
}


@add_arg_scope
def batch_norm(
    inputs: Any,
    decay: float = 0.999,
    center: bool = True,
    scale: bool = False,
    epsilon: float = 0.001,
    activation_fn: Callable[..., Any] | None = None,
    param_initializers: dict[str, Any] | None = None,
    param_regularizers: dict[str, Any] | None = None,
    updates_collections: Any = GraphKeys.UPDATE_OPS,
    is_training: Any = True,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    batch_weights: Any = None,
    fused: bool | None = None,
    data_format: str = "NHWC",
    zero_debias_moving_mean: bool = False,
    scope: Any = None,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_decay: float = 0.99,
    adjustment: Any = None,
) -> Any:
    """Normalizes each channel over all other axes; without `gamma`, unless `scale` is set.

    >>> from jscope import tf1
    >>> model = tf1.transform_with_state(lambda x: tf1.contrib.layers.batch_norm(x, scope="bn"))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((4, 2)))
    >>> jscope.tree.names(params), jscope.tree.names(state)
    (['bn/beta'], ['bn/moving_mean', 'bn/moving_variance'])

    The moving statistics are written at once, whatever `updates_collections` is; the collection holds what was written.
    """
    _refuse(batch_weights=batch_weights, renorm=renorm, adjustment=adjustment)
    if zero_debias_moving_mean and static_bool(is_training) is None:
        raise ArgumentError(
            advised(
                "`zero_debias_moving_mean` of `batch_norm` needs an `is_training` that is known while JAX traces.",
                "Pass a Python bool, such as an argument of the model that `jax.jit` has among its `static_argnames`.",
            )
        )
    inputs, given = tensor(inputs), {**_STARTS, **(param_initializers or {})}
    axis = 1 if layout(data_format) == "channels_first" else inputs.shape.ndims - 1
    # To the kernel a vector is an image of one pixel, so TensorFlow uses it for two axes as well.
    by_kernel = fused is not False and inputs.shape.ndims in (2, 4)
    by_hand = zero_debias_moving_mean or updates_collections is not GraphKeys.UPDATE_OPS
    if (by_kernel and inputs.shape.ndims == 2) or by_hand:
        # Without the class, and so without its order of variables: as in TensorFlow.
        where = scope, "BatchNorm"
        with variable_scope(*where, reuse=reuse) if by_kernel else layer_scope(*where, reuse) as sc:
            # The fused kernel has its variables in float32, whatever the input is; on the other way TensorFlow forgets
            # the regularizers.
            dtype, regularizers = (_dtypes.FLOAT32, param_regularizers) if by_kernel else (inputs.dtype, None)
            kind = {"dtype": dtype, "trainable": trainable, "regularizers": regularizers}
            weights = _Weights(inputs, axis, given, variables_collections, kind)
            moves = center, scale, is_training, decay, epsilon, updates_collections
            outputs = weights.normalized(*moves, fused=by_kernel, debias=zero_debias_moving_mean)
            return activated(outputs, sc, activation_fn, outputs_collections)
    options = {f"{name}_initializer": given[name] for name in _STARTS}
    options |= {f"{name}_regularizer": (param_regularizers or {}).get(name) for name in ("beta", "gamma")}
    options |= {"fused": fused, "trainable": trainable, "_reuse": reuse}
    with layer_scope(scope, "BatchNorm", reuse) as sc:
        layer = BatchNormalization(axis, decay, epsilon, center, scale, name=sc.name, _scope=sc, **options)
        outputs = layer(inputs, training=is_training)
        for name in ("moving_mean", "moving_variance", "beta", "gamma"):
            collect_variable(getattr(layer, name), variables_collections, name)
        return activated(outputs, sc, activation_fn, outputs_collections)


def _refuse(**given: Any) -> None:
    for name, value in given.items():
        if value is not None and value is not False:
            raise ArgumentError(
                advised(f"`{name}` of `batch_norm` is not there.", "Leave it out, or normalize with `tf.nn.moments`.")
            )


class _Weights:
    """The variables of a batch norm that asks for them one by one."""

    def __init__(self, inputs: Any, axis: int, given: dict[str, Any], keys: Any, kind: dict[str, Any]) -> None:
        self.x, self.axis, self.given, self.keys, self.kind = array_of(inputs), axis, given, keys, kind

    def normalized(
        self,
        center: bool,
        scale: bool,
        training: Any,
        decay: float,
        epsilon: float,
        updates: Any,
        *,
        fused: bool,
        debias: bool,
    ) -> Any:
        """Returns the output, after creating the variables and writing the moving ones."""
        beta = self._variable("beta") if center else None
        gamma = self._variable("gamma") if scale else None
        # They are written, which a variable that is cut into parts cannot be in TensorFlow.
        with variable_scope(get_variable_scope()) as here:
            here.set_partitioner(None)
            moving = self._variable("moving_mean"), self._variable("moving_variance")
        how = {"unbiased": fused, "debias": debias}
        mean, variance, written = moments_to_use(self.x, self.axis, training, moving, decay, **how)
        for each in written if updates is not None else ():
            add_to_collections(updates, each)
        return tensor(normalized(self.x, self.axis, mean, variance, gamma, beta, epsilon))

    def _variable(self, name: str) -> Any:
        return model_variable(
            name,
            [self.x.shape[self.axis]],
            self.kind["dtype"],
            initializer=self.given[name],
            regularizer=(self.kind["regularizers"] or {}).get(name),
            trainable=self.kind["trainable"] and not name.startswith("moving"),
            collections=get_variable_collections(self.keys, name),
        )


@add_arg_scope
def layer_norm(
    inputs: Any,
    center: bool = True,
    scale: bool = True,
    activation_fn: Callable[..., Any] | None = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    begin_norm_axis: int = 1,
    begin_params_axis: int = -1,
    scope: Any = None,
) -> Any:
    """Normalizes over the axes from `begin_norm_axis` on; `beta` and `gamma` have those from `begin_params_axis` on.

    >>> from jscope import tf1
    >>> model = tf1.transform(lambda x: tf1.contrib.layers.layer_norm(x))
    >>> jscope.tree.names(model.init(jax.random.key(0), jnp.ones((2, 3))))
    ['LayerNorm/beta', 'LayerNorm/gamma']
    """
    with variable_scope(scope, "LayerNorm", reuse=reuse) as sc:
        x = array_of(tensor(inputs))
        first = begin_norm_axis % x.ndim if begin_norm_axis < 0 else begin_norm_axis
        if begin_params_axis >= x.ndim or first >= x.ndim:
            raise ArgumentError(
                f"begin_params_axis ({begin_params_axis}) and begin_norm_axis ({first}) must be < rank(inputs) "
                f"({x.ndim})"
            )
        shape = x.shape[begin_params_axis:]
        beta, gamma = _affine(shape, x.dtype, center, scale, trainable, variables_collections, {})
        # 1e-12 is 0 in float16: TensorFlow has another one for it.
        epsilon = 1e-3 if x.dtype == np.float16 else 1e-12
        y = _standardized(x, tuple(range(first, x.ndim)), epsilon)
        outputs = _scaled(y, gamma, beta, lambda v: v.reshape((1,) * (x.ndim - len(shape)) + shape))
        return activated(tensor(cast(outputs, x.dtype)), sc, activation_fn, outputs_collections)


@add_arg_scope
def instance_norm(
    inputs: Any,
    center: bool = True,
    scale: bool = True,
    epsilon: float = 1e-6,
    activation_fn: Callable[..., Any] | None = None,
    param_initializers: dict[str, Any] | None = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    data_format: str = "NHWC",
    scope: Any = None,
) -> Any:
    """Normalizes each channel of each example by itself; `beta` and `gamma` are (c,)."""
    order = layout(data_format)
    with variable_scope(scope, "InstanceNorm", reuse=reuse) as sc:
        x = array_of(tensor(inputs))
        axis = 1 if order == "channels_first" else x.ndim - 1
        shape = (x.shape[axis],)
        beta, gamma = _affine(shape, x.dtype, center, scale, trainable, variables_collections, param_initializers)
        y = _standardized(x, tuple(i for i in range(1, x.ndim) if i != axis), epsilon)
        outputs = _scaled(y, gamma, beta, lambda v: along(v, x.ndim, axis))
        return activated(tensor(cast(outputs, x.dtype)), sc, activation_fn, outputs_collections)


@add_arg_scope
def group_norm(
    inputs: Any,
    groups: int = 32,
    channels_axis: int = -1,
    reduction_axes: Any = (-3, -2),
    center: bool = True,
    scale: bool = True,
    epsilon: float = 1e-6,
    activation_fn: Callable[..., Any] | None = None,
    param_initializers: dict[str, Any] | None = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
    mean_close_to_zero: bool = False,
) -> Any:
    """Normalizes groups of channels over `reduction_axes`; `beta` and `gamma` are (c,)."""
    with variable_scope(scope, "GroupNorm", reuse=reuse) as sc:
        x = array_of(tensor(inputs))
        axis = channels_axis % x.ndim
        channels = x.shape[axis]
        if groups > channels or channels % groups:
            raise ArgumentError(f"Invalid groups {groups} for {channels} channels.")
        over = {each % x.ndim for each in reduction_axes}
        if axis in over:
            raise ArgumentError(f"reduction_axes must be mutually exclusive with channels_axis: {reduction_axes}")
        beta, gamma = _affine((channels,), x.dtype, center, scale, trainable, variables_collections, param_initializers)
        split = x.reshape(*x.shape[:axis], groups, channels // groups, *x.shape[axis + 1 :])
        # The channels of a group stand right of the groups, so what lies behind them moves by one.
        y = _standardized(split, (*(each + (each > axis) for each in over), axis + 1), epsilon).reshape(x.shape)
        outputs = _scaled(y, gamma, beta, lambda v: along(v, x.ndim, axis))
        return activated(tensor(cast(outputs, x.dtype)), sc, activation_fn, outputs_collections)


def _affine(
    shape: Any, dtype: Any, center: bool, scale: bool, trainable: bool, keys: Any, given: dict[str, Any] | None
) -> tuple[Any, Any]:
    """Returns `beta` and `gamma`, created in this order; None where there is none."""
    starts, made = {**_STARTS, **(given or {})}, []
    for name, wanted in (("beta", center), ("gamma", scale)):
        options = {
            "initializer": starts[name],
            "collections": get_variable_collections(keys, name),
            "trainable": trainable,
        }
        made.append(model_variable(name, list(shape), dtype, **options) if wanted else None)
    return made[0], made[1]


def _standardized(x: Any, over: tuple[int, ...], epsilon: float) -> Any:
    """Returns the input with mean 0 and variance 1 over these axes."""
    wide = cast(x, statistics_dtype(x))
    centered = jax.lax.sub(wide, jnp.mean(wide, over, keepdims=True))
    variance = jnp.mean(jax.lax.mul(centered, centered), over, keepdims=True)
    return jax.lax.mul(centered, jax.lax.rsqrt(variance + jnp.asarray(epsilon, wide.dtype)))


def _scaled(y: Any, gamma: Any, beta: Any, shaped: Callable[[Any], Any]) -> Any:
    y = y if gamma is None else jax.lax.mul(y, shaped(cast(array_of(gamma), y.dtype)))
    return y if beta is None else jax.lax.add(y, shaped(cast(array_of(beta), y.dtype)))
