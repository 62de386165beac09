"""Kernels of colors: hue, saturation and value, and what is changed of them; by how much may be drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1 import _dtypes
from jscope.tf1._arrays import absolute
from jscope.tf1._errors import ArgumentError
from jscope.tf1._ops._call import never_static
from jscope.tf1._ops._drawing import next_key
from jscope.tf1._ops._images import convert_dtype
from jscope.tf1._tensors import as_array


def rgb_to_hsv(images: Any) -> Any:
    """Red, green and blue as hue, saturation and value, each from 0 to 1."""
    images = as_array(images)
    red, green, blue = images[..., 0], images[..., 1], images[..., 2]
    value = jnp.max(images, -1)
    spread = value - jnp.min(images, -1)
    gray = spread <= 0
    # Divided by numbers that are not 0, also where the quotient is not used: the gradient would be NaN.
    sixth = 1.0 / (6.0 * jnp.where(gray, 1.0, spread))
    saturation = jnp.where(value > 0, spread / jnp.where(value > 0, value, 1.0), 0.0)
    of_green, of_blue = (blue - red) * sixth + 2.0 / 6.0, (red - green) * sixth + 4.0 / 6.0
    hue = jnp.where(red == value, (green - blue) * sixth, jnp.where(green == value, of_green, of_blue))
    hue = jnp.where(gray, 0.0, hue)
    return jnp.stack([jnp.where(hue < 0, hue + 1.0, hue), saturation, value], -1)


def hsv_to_rgb(images: Any) -> Any:
    """Hue, saturation and value as red, green and blue."""
    images = as_array(images)
    hue, saturation, value = images[..., 0:1], images[..., 1:2], images[..., 2:3]
    sixths = hue * 6.0
    parts = [absolute(sixths - 3.0) - 1.0, 2.0 - absolute(sixths - 2.0), 2.0 - absolute(sixths - 4.0)]
    return (1.0 - saturation + saturation * jnp.clip(jnp.concatenate(parts, -1), 0.0, 1.0)) * value


def adjust_hue(image: Any, delta: Any) -> Any:
    """Images whose hues are turned by `delta`, 1 being the whole circle."""
    return _adjusted(image, lambda hsv: hsv.at[..., 0].set(jnp.mod(hsv[..., 0] + delta, 1.0)))


def adjust_saturation(image: Any, factor: Any) -> Any:
    """Images whose colors are `factor` times as strong."""
    return _adjusted(image, lambda hsv: hsv.at[..., 1].set(jnp.clip(hsv[..., 1] * factor, 0.0, 1.0)))


def _adjusted(image: Any, change: Callable[[Any], Any]) -> Any:
    image = as_array(image)
    wide = hsv_to_rgb(change(rgb_to_hsv(convert_dtype(image, _dtypes.float32))))
    if jnp.issubdtype(image.dtype, jnp.floating):
        return wide.astype(image.dtype)
    return convert_dtype(jnp.clip(wide, 0.0, 1.0), _dtypes.as_dtype(image.dtype))


def by_a_random(adjust: Callable[[Any, Any], Any], most: float = np.inf) -> Callable[..., Any]:
    """Returns the kernel `(image, low, high, seed)` that adjusts by a number between both; or by up to `low`."""

    def kernel(image: Any, *limits: Any) -> Any:
        *bounds, seed = limits
        low, high = bounds if len(bounds) == 2 else (-bounds[0], bounds[0])
        if high > most or low > high or (len(bounds) == 2 and low < 0):
            raise ArgumentError(f"By a number between {low} and {high} nothing can be changed at random.")
        return adjust(image, jax.random.uniform(next_key(seed), (), jnp.float32, low, high))

    return never_static(kernel)
