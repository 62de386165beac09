"""Batch normalization, with TensorFlow's two ways to compute it.

On images TensorFlow calls one fused kernel, of which the variance that is kept is the unbiased one (with n - 1).
Otherwise it computes with single operations, and the variance that is kept is the one that was used.

The moving statistics are written at once. In TensorFlow, they are written if the session runs the collection
`UPDATE_OPS`; here that collection holds what was written.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.nn._layer import along, cast
from jscope.nn._norm import statistics_dtype
from jscope.tf1 import _dtypes
from jscope.tf1._ambient import current
from jscope.tf1._arguments import ONES, ZEROS
from jscope.tf1._errors import ArgumentError, advised
from jscope.tf1._moving import assign_moving_average
from jscope.tf1._tensors import tensor
from jscope.tf1.layers._dense import static_bool
from jscope.tf1.layers._layer import Layer, array_of


class BatchNormalization(Layer):
    """Normalizes each channel over all other axes.

    >>> from jscope import tf1
    >>> model = tf1.transform_with_state(lambda x: tf1.layers.batch_normalization(x, training=True, name="bn"))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((4, 2)))
    >>> jscope.tree.names(params), jscope.tree.names(state)
    (['bn/gamma', 'bn/beta'], ['bn/moving_mean', 'bn/moving_variance'])
    >>> out, state = model.apply(params, state, jnp.ones((4, 2)))
    >>> bool(jnp.allclose(state["bn"]["moving_mean"], 0.01))
    True

    `training` may be a bool tensor. The moving statistics are written at once; `UPDATE_OPS` holds what was written.

    Arguments are those of `tf1.layers.batch_normalization`, without `inputs`, `training` and `reuse`.
    """

    def __init__(
        self,
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
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        fused: bool | None = None,
        trainable: bool = True,
        virtual_batch_size: int | None = None,
        adjustment: Any = None,
        name: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(trainable, name, **options)
        for what, value in (("renorm", renorm), ("virtual_batch_size", virtual_batch_size), ("adjustment", adjustment)):
            if value:
                raise ArgumentError(
                    advised(f"`{what}` of batch normalization is not there.", "Write it with `jax.numpy`.")
                )
        self.axis, self.momentum, self.epsilon, self.fused = axis, momentum, epsilon, fused
        self.center, self.scale = center, scale
        self.initializers = gamma_initializer, beta_initializer, moving_mean_initializer, moving_variance_initializer
        self.gamma_options = {"regularizer": gamma_regularizer, "constraint": gamma_constraint}
        self.beta_options = {"regularizer": beta_regularizer, "constraint": beta_constraint}
        self.gamma: Any = None
        self.beta: Any = None

    def build(self, input_shape: Any) -> None:
        """Creates `gamma`, `beta`, `moving_mean` and `moving_variance`, all (c,)."""
        axis = self._channels(len(input_shape))
        gamma, beta, mean, variance = self.initializers
        dtype = np.dtype(self.dtype)
        # As in TensorFlow: in 16 bits a moving mean would stand still, since what it moves by is rounded away.
        dtype = _dtypes.FLOAT32 if dtype.itemsize < 4 else dtype
        shape = [int(input_shape[axis])]
        if self.scale:
            self.gamma = self.add_weight("gamma", shape, dtype, gamma, **self.gamma_options)
        if self.center:
            self.beta = self.add_weight("beta", shape, dtype, beta, **self.beta_options)
        # They are written, which a variable that is cut into parts cannot be in TensorFlow.
        here = self._opened_scope(current("BatchNormalization"), None)
        partitioner = here.partitioner
        here.set_partitioner(None)
        try:
            self.moving_mean = self.add_weight("moving_mean", shape, dtype, mean, trainable=False)
            self.moving_variance = self.add_weight("moving_variance", shape, dtype, variance, trainable=False)
        finally:
            here.set_partitioner(partitioner)

    def call(self, inputs: Any, training: Any = False) -> Any:
        """Returns the normalized input; in training by the statistics of the batch, which also move the moving ones."""
        x = array_of(inputs)
        axis = self._channels(x.ndim)
        # TensorFlow's kernel knows images and volumes, with the channels first or last, and no float64.
        fused = self.fused is not False and (x.ndim, axis) in ((4, 1), (4, 3), (5, 1), (5, 4)) and x.dtype != "float64"
        moving, decay = (self.moving_mean, self.moving_variance), self.momentum
        # What is not trained does not move, either: TensorFlow leaves its updates out of the collection.
        mean, variance, written = moments_to_use(
            x, axis, training, moving, decay, unbiased=fused, writes=self.trainable
        )
        self.add_update(written)
        y = normalized(x, axis, mean, variance, self.gamma, self.beta, self.epsilon)
        return tensor(y, "FusedBatchNormV3" if fused else "batchnorm/add_1")

    def _channels(self, ndim: int) -> int:
        axes = list(self.axis) if isinstance(self.axis, list | tuple) else [self.axis]
        if len(axes) != 1 or not -ndim <= axes[0] < ndim:
            raise ArgumentError(f"Invalid axis: {self.axis} of an input with {ndim} axes; one axis is normalized.")
        return axes[0] % ndim


def moments_to_use(
    x: Any,
    axis: int,
    training: Any,
    moving: tuple[Any, Any],
    decay: Any,
    *,
    unbiased: bool,
    writes: bool = True,
    debias: bool = False,
) -> tuple[Any, Any, list[Any]]:
    """Returns mean and variance to normalize with, and what was written to the moving ones.

    With `debias`, the moving mean forgets what it began with.
    """
    decided = static_bool(training)
    old = array_of(moving[0]), array_of(moving[1])
    if decided is False:
        return *old, []
    wide = cast(x, statistics_dtype(x))
    over = tuple(i for i in range(x.ndim) if i != axis)
    mean = jnp.mean(wide, over)
    centered = jax.lax.sub(wide, along(mean, x.ndim, axis))
    variance = jnp.mean(jax.lax.mul(centered, centered), over)
    # Only the variance that is kept is that of a sample; what normalizes is that of the batch.
    count = math.prod(x.shape[i] for i in over)
    kept = variance * (count / max(count - 1, 1)) if unbiased else variance
    flag = True if decided else jnp.asarray(training)
    pairs = enumerate(zip(moving, old, (mean, kept), strict=True))
    if debias:
        written = [assign_moving_average(moving[0], mean, decay), _moved(moving[1], old[1], kept, decay, flag, 1)]
    else:
        written = [_moved(*each, decay, flag, number) for number, each in pairs if writes]
    if decided:
        return mean, variance, written
    return jnp.where(flag, mean, old[0]), jnp.where(flag, variance, old[1]), written


def _moved(variable: Any, old: Any, new: Any, decay: Any, flag: Any, number: int) -> Any:
    """Writes a moving statistic, which goes towards that of the batch; returns it."""
    # TensorFlow subtracts a share of the difference; a weighted mean of both would round otherwise.
    towards = old - jax.lax.sub(old, cast(new, old.dtype)) * jnp.asarray(1 - decay, old.dtype)
    suffix = f"_{number}" if number else ""
    new = towards if flag is True else jnp.where(flag, towards, old)
    return variable.assign(new, name=f"AssignMovingAvg{suffix}")


def normalized(x: Any, axis: int, mean: Any, variance: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Returns the input with this mean and variance taken out, and scaled and moved by `gamma` and `beta`."""
    dtype = statistics_dtype(x)
    factor = jax.lax.rsqrt(cast(variance, dtype) + jnp.asarray(epsilon, dtype))
    factor = factor if gamma is None else jax.lax.mul(factor, cast(array_of(gamma), dtype))
    centered = jax.lax.sub(cast(x, dtype), along(cast(mean, dtype), x.ndim, axis))
    y = jax.lax.mul(centered, along(factor, x.ndim, axis))
    y = y if beta is None else jax.lax.add(y, along(cast(array_of(beta), dtype), x.ndim, axis))
    return cast(y, x.dtype)
