"""Averages of params are state beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp

from jscope import initializers
from jscope._types import DType
from jscope.errors import InvalidArgumentError
from jscope.getters._beside import Matching, is_float, known, state_beside, uncast, wide, write


@dataclass(frozen=True, slots=True)
class ema(Matching):
    """Keeps an exponential moving average of each floating-point param, in state beside it: `w_ema/average`.

    The average has the dtype in which the param is stored (or `dtype`), and its axes; it is computed in float32. With a
    large `decay`, the average of a bfloat16 param stands still, since one step is less than bfloat16 can tell: give it
    `dtype=jnp.float32`. Integers and state have no average. (Polyak and Juditsky, 1992,
    https://doi.org/10.1137/0330046; the correction is that of Kingma and Ba, 2014, https://arxiv.org/abs/1412.6980)

    A read returns the param, and updates its average. With `average=True`, for evaluation, it returns the average,
    corrected for its start at zero, and updates nothing. A param that is read twice in a call is averaged twice.

    >>> import jax, jax.numpy as jnp, jscope
    >>> def model(scope, average):
    ...     scope = scope.with_defaults(custom_getter=jscope.getters.ema(0.9, average=average))
    ...     return scope.get_variable("w", (), initializer=jscope.initializers.zeros)
    >>> init, apply = jscope.transform_with_state(model)
    >>> params, state = init(jax.random.key(0), average=False)
    >>> for w in (1.0, 3.0):
    ...     _, state = apply({"w": jnp.asarray(w)}, state, average=False)
    >>> round(float(apply(params, state, average=True)[0]), 4)  # (0.9 * 0.1 * 1 + 0.1 * 3) / (1 - 0.9**2)
    2.0526
    """

    decay: float
    match: str = ""
    average: bool = False
    dtype: DType = None

    def __post_init__(self) -> None:
        Matching.__post_init__(self)
        # An array may come from a schedule, and be traced.
        if not (isinstance(self.decay, jax.Array) or (isinstance(self.decay, Real) and 0 <= float(self.decay) < 1)):
            raise InvalidArgumentError(f"ema: `decay` is {self.decay!r}, where a number from 0 to below 1 is needed.")

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        about = known(getter, name, options)
        value = getter(name, **options)
        if not (about.trainable and self.matches(name) and is_float(value.dtype)):
            return value
        exact = uncast(getter, name, value, options)
        kind = {"shape": exact.shape, "dtype": self.dtype or exact.dtype, "axes": about.axes}
        path, mean = state_beside(getter, f"{name}_ema/average", **kind, initializer=initializers.zeros)
        counted, count = state_beside(
            getter, f"{name}_ema/count", shape=(), dtype=jnp.int32, initializer=initializers.zeros
        )
        computing = wide(exact.dtype)
        average, exact = mean.astype(computing), exact.astype(computing)
        if self.average:
            # Before the first update, the average is only zeros; the param itself stands in for it.
            corrected = average / self._weight_of(jnp.maximum(count, 1).astype(computing))
            return jnp.where(count > 0, corrected, exact).astype(value.dtype)
        average = self.decay * average + (1 - self.decay) * exact
        write(getter, path, average.astype(mean.dtype))
        # A count of its own: params may join a training at any time, and steps of the optimizer are not known here.
        write(getter, counted, count + 1)
        return value

    def _weight_of(self, count: Any) -> Any:
        """Returns the weight that `count` values have in the average together: `1 - decay**count`."""
        # `1 - decay**count` itself loses half its digits where `decay` is nearly 1.
        return -jnp.expm1(count * math.log(self.decay)) if self.decay > 0 else jnp.ones_like(count)
