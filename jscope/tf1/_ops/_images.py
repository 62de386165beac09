"""Kernels of images: `[height, width, channels]`, or a batch of them.

When TensorFlow 1 resizes, the first pixel stays the first, unless `half_pixel_centers` or `align_corners` is given;
`jax.image.resize` always keeps the centers of pixels in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jscope.tf1 import _dtypes
from jscope.tf1._arrays import absolute
from jscope.tf1._errors import ArgumentError
from jscope.tf1._ops._shaping import sizes_of
from jscope.tf1._tensors import as_array


def _places(old: int, new: int, align_corners: bool, half_pixel_centers: bool) -> np.ndarray:
    """Returns where in the old image the new pixels lie, along one axis."""
    # In float32, as TensorFlow's kernels: in float64 a place on the edge of two pixels would fall to the other one.
    scale = np.float32((old - 1) / (new - 1) if align_corners and new > 1 else old / new)
    steps = np.arange(new, dtype=np.float32)
    return (steps + np.float32(0.5)) * scale - np.float32(0.5) if half_pixel_centers else steps * scale


def _along(weights: np.ndarray, axis: int) -> np.ndarray:
    return weights.reshape((-1,) + (1,) * (-axis - 1)).astype(np.float32)


def resize_bilinear(images: Any, size: Any, align_corners: bool, half_pixel_centers: bool) -> Any:
    """Images of another size; each pixel is a mean of the four around it. Always float32."""
    images = as_array(images).astype(jnp.float32)
    for axis, new in zip((-3, -2), sizes_of(size), strict=True):
        old = images.shape[axis]
        places = _places(old, new, align_corners, half_pixel_centers)
        low = np.floor(places)
        first, second = np.clip(low, 0, old - 1).astype(np.int32), np.clip(low + 1, 0, old - 1).astype(np.int32)
        weight = _along(places - low, axis)
        one, other = jnp.take(images, first, axis), jnp.take(images, second, axis)
        images = one + (other - one) * weight.reshape((1,) * (images.ndim - weight.ndim) + weight.shape)
    return images


def crop_and_resize(image: Any, boxes: Any, crop_size: Any, method: str, outside: float, box_indices: Any) -> Any:
    """Boxes `(y1, x1, y2, x2)`, from 0 to 1, of images, all of one size: `(n, 4) -> (n, h, w, c)`. Always float32."""
    if method not in ("bilinear", "nearest"):
        raise ArgumentError(f"`method` must be 'bilinear' or 'nearest', not {method!r}.")
    images, boxes = as_array(image).astype(jnp.float32), as_array(boxes)
    of_image, (height, width) = as_array(box_indices)[:, None, None], sizes_of(crop_size)
    top, bottom, down, in_rows = _cut(boxes[:, 0, None], boxes[:, 2, None], images.shape[1] - 1, height, method)
    left, right, across, in_columns = _cut(boxes[:, 1, None], boxes[:, 3, None], images.shape[2] - 1, width, method)

    # Only the pixels that are used: feature maps are large, and detectors cut hundreds of boxes from one.
    def row_between(rows: Any) -> Any:
        one, other = (images[of_image, rows[:, :, None], columns[:, None]] for columns in (left, right))
        return one + (other - one) * across[:, None, :, None]

    upper, lower = row_between(top), row_between(bottom)
    found = upper + (lower - upper) * down[:, :, None, None]
    return jnp.where((in_rows[:, :, None] & in_columns[:, None])[..., None], found, jnp.float32(outside))


def _cut(start: Any, end: Any, last: int, new: int, method: str) -> tuple[Any, Any, Any, Any]:
    """Returns the pixels before and after each new one, how far it is from the first, and whether it is inside."""
    # In the order in which TensorFlow computes: a place that rounding moves over the edge gets another value.
    places = start * last
    if new > 1:
        places = places + np.arange(new, dtype=np.float32)[None] * ((end - start) * last / (new - 1))
    else:  # The middle of the box.
        places = np.float32(0.5) * (start + end) * last
    low, high = (jnp.floor(places), jnp.ceil(places)) if method == "bilinear" else (jnp.floor(places + 0.5),) * 2
    one, other = (jnp.clip(at, 0, last).astype(jnp.int32) for at in (low, high))
    return one, other, places - low, (places >= 0) & (places <= last)


def resize_nearest(images: Any, size: Any, align_corners: bool, half_pixel_centers: bool) -> Any:
    """Images of another size; each pixel is one of the old ones."""
    images = as_array(images)
    for axis, new in zip((-3, -2), sizes_of(size), strict=True):
        old = images.shape[axis]
        scale = np.float32((old - 1) / (new - 1) if align_corners and new > 1 else old / new)
        steps = np.arange(new, dtype=np.float32) + np.float32(0.5 if half_pixel_centers else 0)
        places = np.floor(steps * scale + np.float32(0.5)) if align_corners else np.floor(steps * scale)
        images = jnp.take(images, np.clip(places, 0, old - 1).astype(np.int32), axis)
    return images


def resize_bicubic(images: Any, size: Any, align_corners: bool, half_pixel_centers: bool) -> Any:
    """Images of another size; each pixel is a mean of the sixteen around it. Always float32."""
    # TensorFlow has another curve where the centers stay, and looks it up at one of 1024 places.
    a = -0.5 if half_pixel_centers else -0.75

    def mix(old: int, new: int) -> np.ndarray:
        places = _places(old, new, align_corners, half_pixel_centers)
        low = np.floor(places).astype(int)
        near = np.rint((places - low) * np.float32(1024)) / 1024
        weights = np.zeros((new, old), np.float32)
        for tap, far in enumerate((1 + near, near, 1 - near, 2 - near)):
            inner, outer = ((a + 2) * far - (a + 3)) * far**2 + 1, ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
            at = low - 1 + tap
            inside = np.clip(at, 0, old - 1)
            weight = np.where(far <= 1, inner, outer)
            np.add.at(weights, (np.arange(new), inside), weight if not half_pixel_centers else weight * (at == inside))
        return weights / weights.sum(1, keepdims=True) if half_pixel_centers else weights

    return _mixed(images, size, mix)


def resize_area(images: Any, size: Any, align_corners: bool) -> Any:
    """Images of another size; each pixel is the mean of the area that it covers. Always float32."""

    def mix(old: int, new: int) -> np.ndarray:
        scale = (old - 1) / (new - 1) if align_corners and new > 1 else old / new
        weights = np.zeros((new, old), np.float32)
        for i, start in enumerate(np.arange(new) * scale):
            for j in range(int(np.floor(start)), int(np.ceil(start + scale))):
                weights[i, min(j, old - 1)] += (min(j + 1, start + scale) - max(j, start)) / scale
        return weights

    return _mixed(images, size, mix)


def _mixed(images: Any, size: Any, mix: Callable[[int, int], np.ndarray]) -> Any:
    """Returns images whose rows and columns are sums of the old ones, with the weights `mix(old, new)`."""
    images, (height, width) = as_array(images).astype(jnp.float32), sizes_of(size)
    rows, columns = mix(images.shape[-3], height), mix(images.shape[-2], width)
    # Accelerators would round the products.
    return jnp.einsum("...hwc,yh,xw->...yxc", images, rows, columns, precision="highest")


def resize_images(images: Any, size: Any, method: Any, align_corners: bool, preserve_aspect_ratio: bool) -> Any:
    """Images of another size: bilinear (0), the nearest pixel (1), bicubic (2) or means of areas (3)."""
    images, new = as_array(images), sizes_of(size)
    if preserve_aspect_ratio:
        height, width = images.shape[-3:-1]
        scale = min(new[0] / height, new[1] / width)
        new = round(height * scale), round(width * scale)
    if new == images.shape[-3:-1]:
        return images
    if method in (ResizeMethod.AREA, "area"):
        return resize_area(images, new, align_corners)
    methods: dict[Any, Callable[..., Any]] = {0: resize_bilinear, 1: resize_nearest, 2: resize_bicubic}
    methods |= {"bilinear": resize_bilinear, "nearest": resize_nearest, "bicubic": resize_bicubic}
    if method not in methods:
        raise ArgumentError(f"method={method!r} is none of bilinear (0), nearest (1), bicubic (2) and area (3).")
    return methods[method](images, new, align_corners, False)


class ResizeMethod:
    """How `resize_images` makes pixels."""

    BILINEAR, NEAREST_NEIGHBOR, BICUBIC, AREA = range(4)


def flip(axis: int) -> Callable[[Any], Any]:
    """Returns the kernel that turns images round along an axis, counted from the end."""
    return lambda image: jnp.flip(as_array(image), axis)


def transpose(image: Any) -> Any:
    """Images with height and width exchanged."""
    return jnp.swapaxes(as_array(image), -3, -2)


def rot90(image: Any, k: Any) -> Any:
    """Images, turned by a quarter `k` times, against the clock."""
    return jnp.rot90(as_array(image), int(k), (-3, -2))


def adjust_brightness(image: Any, delta: Any) -> Any:
    """Images with `delta` added."""
    image = as_array(image)
    return image + jnp.asarray(delta, image.dtype)


def adjust_contrast(images: Any, factor: Any) -> Any:
    """Images whose pixels are `factor` times as far from the mean of their channel."""
    images = as_array(images)
    middle = jnp.mean(images, (-3, -2), keepdims=True)
    return (images - middle) * jnp.asarray(factor, images.dtype) + middle


def rgb_to_grayscale(images: Any) -> Any:
    """Images with one channel for brightness."""
    images = as_array(images)
    weights = jnp.asarray([0.2989, 0.587, 0.114], images.dtype)
    return jnp.sum(images * weights.reshape((1,) * (images.ndim - 1) + (3,)), -1, keepdims=True)


def grayscale_to_rgb(images: Any) -> Any:
    """Images whose one channel is three times there."""
    return jnp.repeat(as_array(images), 3, -1)


def central_crop(image: Any, fraction: Any) -> Any:
    """The middle of images: this share of height and width."""
    image = as_array(image)
    # Rounded as TensorFlow rounds: the margin down to an int, and the same on both sides.
    boxes = []
    for size in image.shape[-3:-1]:
        start = int((size - size * float(fraction)) / 2)
        boxes.append(slice(start, size - start))
    return image[..., boxes[0], boxes[1], :]


def per_image_standardization(image: Any) -> Any:
    """Images with mean 0 and variance 1."""
    image = as_array(image).astype(jnp.float32)
    count = np.prod(image.shape[-3:])
    middle = jnp.mean(image, (-3, -2, -1), keepdims=True)
    # Of an image of one color nothing is left but rounding errors, which must not be blown up: so TensorFlow has a
    # least deviation.
    deviation = jnp.sqrt(jnp.mean(jnp.square(image - middle), (-3, -2, -1), keepdims=True))
    return (image - middle) / jnp.maximum(deviation, jnp.float32(1 / np.sqrt(count)))


def crop_to_box(image: Any, top: Any, left: Any, height: Any, width: Any) -> Any:
    """A box of images."""
    top, left = int(top), int(left)
    return as_array(image)[..., top : top + int(height), left : left + int(width), :]


def pad_to_box(image: Any, top: Any, left: Any, height: Any, width: Any) -> Any:
    """Images with zeros around them."""
    image, top, left = as_array(image), int(top), int(left)
    old = image.shape[-3:-1]
    margins = [(top, int(height) - top - old[0]), (left, int(width) - left - old[1]), (0, 0)]
    return jnp.pad(image, [(0, 0)] * (image.ndim - 3) + margins)


def crop_or_pad(image: Any, height: Any, width: Any) -> Any:
    """Images of another size: their middle, or with zeros around them."""
    image, wanted = as_array(image), (int(height), int(width))
    for axis, new in zip((-3, -2), wanted, strict=True):
        old = image.shape[axis]
        if old > new:
            image = jnp.take(image, np.arange(new) + (old - new) // 2, axis)
        else:
            before = (new - old) // 2
            widths = [(0, 0)] * image.ndim
            widths[axis] = (before, new - old - before)
            image = jnp.pad(image, widths)
    return image


def convert_dtype(image: Any, dtype: Any) -> Any:
    """Images in another dtype, of which the integers reach from 0 to their largest, the fractions from 0 to 1."""
    image, wanted = as_array(image), _dtypes.canonical(_dtypes.as_dtype(dtype))
    whole = [jnp.issubdtype(d, jnp.integer) for d in (image.dtype, wanted)]
    if image.dtype == wanted or not any(whole):
        return image.astype(wanted)
    if whole == [True, False]:
        return image.astype(wanted) * jnp.asarray(1.0 / jnp.iinfo(image.dtype).max, wanted)
    if whole == [False, True]:
        # TensorFlow's half: without it the cast, which rounds down, would hardly ever reach the largest number.
        return (image * (jnp.iinfo(wanted).max + 0.5)).astype(wanted)
    ratio = (int(jnp.iinfo(image.dtype).max) + 1) // (int(jnp.iinfo(wanted).max) + 1)
    if ratio:
        return (image // ratio).astype(wanted)
    return image.astype(wanted) * ((int(jnp.iinfo(wanted).max) + 1) // (int(jnp.iinfo(image.dtype).max) + 1))


def total_variation(images: Any) -> Any:
    """How much neighbours differ, summed up for each image."""
    images = as_array(images)
    down = absolute(images[..., 1:, :, :] - images[..., :-1, :, :])
    right = absolute(images[..., :, 1:, :] - images[..., :, :-1, :])
    return jnp.sum(down, (-3, -2, -1)) + jnp.sum(right, (-3, -2, -1))
