"""Pools: layers without variables; `jscope.nn` computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jscope.nn import avg_pool, max_pool
from jscope.tf1._errors import ArgumentError
from jscope.tf1._tensors import tensor
from jscope.tf1.layers._layer import Layer, array_of, as_given, channels_last, check_rank, sizes


class Pool(Layer):
    """What all pools have in common; `rank` is the number of spatial axes."""

    rank = 0
    function: Callable[..., Any]

    def __init__(
        self,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: Any = None,
        **options: Any,
    ) -> None:
        if strides is None:
            raise ArgumentError("Argument `strides` must not be None.")
        super().__init__(name=name, **options)
        self.pool_size, self.strides = sizes("pool_size", pool_size, self.rank), sizes("strides", strides, self.rank)
        self.padding, self.data_format = str(padding).lower(), data_format

    def call(self, inputs: Any) -> Any:
        """Returns the pool of the inputs."""
        x = array_of(inputs)
        # Without this, `nn` would take an input without a batch axis for one example.
        check_rank(self, x, f"ndim={self.rank + 2}", fits=x.ndim == self.rank + 2)
        x = channels_last(x, self.data_format)
        y = type(self).function(x, self.pool_size, strides=self.strides, padding=self.padding)
        return tensor(as_given(y, self.data_format), "Pool")


class MaxPooling1D(Pool):
    """Arguments are those of `tf1.layers.max_pooling1d`, without `inputs`."""

    rank, function = 1, staticmethod(max_pool)


class MaxPooling2D(Pool):
    """Arguments are those of `tf1.layers.max_pooling2d`, without `inputs`."""

    rank, function = 2, staticmethod(max_pool)


class MaxPooling3D(Pool):
    """Arguments are those of `tf1.layers.max_pooling3d`, without `inputs`."""

    rank, function = 3, staticmethod(max_pool)


class AveragePooling1D(Pool):
    """Arguments are those of `tf1.layers.average_pooling1d`, without `inputs`."""

    rank, function = 1, staticmethod(avg_pool)


class AveragePooling2D(Pool):
    """Arguments are those of `tf1.layers.average_pooling2d`, without `inputs`."""

    rank, function = 2, staticmethod(avg_pool)


class AveragePooling3D(Pool):
    """Arguments are those of `tf1.layers.average_pooling3d`, without `inputs`."""

    rank, function = 3, staticmethod(avg_pool)
