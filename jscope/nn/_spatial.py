"""Windows that slide over the spatial axes of an input: what convolutions and pools have in common.

An input is `(batch..., spatial..., channels)`. How many spatial axes there are is told by the length of the window; a
window that is one int has that size along all axes between the first and the last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp

from jscope._scope import Scope
from jscope.nn._layer import check_rank, check_size, refuse

Padding: TypeAlias = Literal["same", "valid", "causal", "circular"] | Sequence[tuple[int, int]]
Pairs: TypeAlias = tuple[tuple[int, int], ...]

SPATIAL = "XYZ"
"""Letters for up to three spatial axes, as `jax.lax` takes them."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window over spatial axes, one entry of each field per axis. `extent` is what a dilated window covers."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        if max(self.dilation) == 1:
            return self.size
        return tuple((size - 1) * gap + 1 for size, gap in zip(self.size, self.dilation, strict=True))

    def __len__(self) -> int:
        return len(self.size)


def window(
    scope: Scope | None,
    layer: str,
    x: jax.Array,
    size: Sequence[int] | int,
    strides: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    name: str = "kernel_size",
) -> Window:
    """Returns the window, after checking it and the rank of the input."""
    check_rank(scope, layer, x, "(batch..., spatial..., channels)", least=0)
    count = len(size) if isinstance(size, Sequence) else x.ndim - 2
    if not 1 <= count <= 3 or x.ndim < count + 1:
        problem = f"`{name}` is {size!r} and the input has shape {x.shape}"
        advice = "The input should be (batch..., spatial..., channels), with one entry of 1 to 3 for each spatial axis."
        refuse(scope, layer, problem, advice)
    return Window(
        per_axis(scope, layer, name, size, count),
        per_axis(scope, layer, "strides", strides, count),
        per_axis(scope, layer, "dilation", dilation, count),
    )


def per_axis(scope: Scope | None, layer: str, name: str, value: Any, count: int) -> tuple[int, ...]:
    """Returns one int for each spatial axis."""
    # Nearly always; the rest is for what has to be checked.
    if value.__class__ is int and value > 0:
        return (value,) * count
    values = tuple(value) if isinstance(value, Sequence) else (value,) * count
    if len(values) != count:
        refuse(scope, layer, f"`{name}` is {value!r}", f"Give one int, or one for each of the {count} spatial axes.")
    return tuple([check_size(scope, layer, name, each) for each in values])


def pairs(
    scope: Scope | None, layer: str, x: jax.Array, over: Window, padding: Padding, allowed: tuple[str, ...]
) -> Pairs:
    """Returns how many elements stand before and after each spatial axis."""
    if isinstance(padding, str):
        if padding not in allowed:
            advice = f"It should be one of {', '.join(map(repr, allowed))}, or a pair of ints for each spatial axis."
            refuse(scope, layer, f"`padding` is {padding!r}", advice)
        return _by_name(x, over, padding)
    each = padding if isinstance(padding, Iterable) else ()
    given: Any = tuple(tuple(pair) if isinstance(pair, Sequence) else (pair,) for pair in each)
    if len(given) != len(over) or not all(len(pair) == 2 and all(isinstance(n, int) for n in pair) for pair in given):
        advice = f"Give a pair (before, after) for each of the {len(over)} spatial axes, such as ((1, 1), (2, 0))."
        refuse(scope, layer, f"`padding` is {padding!r}", advice)
    return given


def check_fits(scope: Scope | None, layer: str, x: jax.Array, over: Window, padding: Pairs) -> None:
    """Raises unless the window has room in the padded input."""
    spatial = x.shape[-1 - len(over) : -1]
    for i, (size, pair, extent) in enumerate(zip(spatial, padding, over.extent, strict=True)):
        # JAX would return an array of size 0, and say nothing.
        if size + pair[0] + pair[1] < extent:
            problem = f"a window of {extent} does not fit spatial axis {i} of size {size} with padding {pair}"
            refuse(scope, layer, f"{problem} (input {x.shape})", 'Choose a smaller window, or `padding="same"`.')


def _by_name(x: jax.Array, over: Window, padding: str) -> Pairs:
    if padding == "valid":
        return ((0, 0),) * len(over)
    if padding == "causal":
        return tuple((extent - 1, 0) for extent in over.extent)
    spatial = x.shape[-1 - len(over) : -1]
    if not all(size.__class__ is int for size in spatial):  # Sizes may be symbolic, in `jax.export`.
        return tuple(jax.lax.padtype_to_pads(spatial, over.extent, over.strides, "SAME"))
    # What JAX computes with arrays: as many outputs as strides begin in the input, and what they lack on both sides.
    lacks = [
        max(0, (-(-size // stride) - 1) * stride + extent - size)
        for size, extent, stride in zip(spatial, over.extent, over.strides, strict=True)
    ]
    return tuple([(lack // 2, lack - lack // 2) for lack in lacks])


def wrapped(x: jax.Array, padding: Pairs) -> jax.Array:
    """Returns an input that goes on at each end of its spatial axes as it begins at the other."""
    return jnp.pad(x, (*((0, 0),) * (x.ndim - 1 - len(padding)), *padding, (0, 0)), mode="wrap")


def one_batch_axis(x: jax.Array, spatial: int) -> jax.Array:
    """Returns an input with exactly one axis before the spatial ones."""
    lead = x.shape[: x.ndim - spatial - 1]
    # None is one, too: the product of no sizes is 1.
    return x if len(lead) == 1 else x.reshape(math.prod(lead), *x.shape[len(lead) :])


def like_batch_of(y: jax.Array, x: jax.Array, spatial: int) -> jax.Array:
    """Returns an output with the axes that `x` has before the spatial ones."""
    lead = x.shape[: x.ndim - spatial - 1]
    return y if len(lead) == 1 else y.reshape(*lead, *y.shape[1:])
