"""Kernels that draw random numbers, with keys from the scope.

A key depends on the key of the call (`model.with_rng(key).apply`), on the variable scope, and on how often that was
asked. In a loop that JAX runs, whose body is traced once, each step gets a key of its own with its arguments;
`loop_key` is how the loop hands it down.

Of a seed all operations draw the same numbers, wherever they are: who crops an image and its mask, or drops the same
parts in two layers, gives both one seed. Only the steps of a loop, which run an operation again, draw other ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1 import _bridge, _dtypes
from jscope.tf1._ambient import current_or_none
from jscope.tf1._ops._call import never_static
from jscope.tf1._ops._shaping import sizes_of
from jscope.tf1._tensors import as_array
from jscope.tf1._transform import current_scope
from jscope.tf1.initializers import DRAWING


@dataclass(slots=True)
class _Step:
    """One step of a loop, or a branch.

    Attributes:
      key: Its key; None if the call has none, or if JAX does not run the loop, and scopes count what is drawn.
      number: Which step it is, where its key does not say so.
      repeats: Whether operations with a seed draw other numbers in it than around it: not in a branch.
      around: The step that it is in.
      used: How often the key was used.
    """

    key: Any
    number: int
    repeats: bool
    around: _Step | None
    used: int = 0


_step: ContextVar[_Step | None] = ContextVar("jscope_tf1_step", default=None)


def next_key(seed: Any = None) -> Any:
    """Returns a fresh key, or the one of a seed.

    Raises:
      MissingRngError: The call has none.
    """
    drawing = DRAWING.get()
    if drawing is not None:
        # The initializer of a variable draws with the variable's key.
        drawing[1] += 1
        return jax.random.fold_in(drawing[0], drawing[1])
    step = _keyed(_step.get())
    if step is not None and seed is None:
        step.used += 1
        return jax.random.fold_in(step.key, step.used)
    if step is not None:
        return _key_of(seed)
    ambient = current_or_none()
    scope = current_scope() if ambient is not None else None
    if scope is None or not scope.has_rng:
        # A model that fixes its seeds may be run without a key. And what is drawn while collecting is not used.
        if seed is not None or (scope is not None and scope.collecting):
            return jax.random.key(int(seed or 0))
        return current_scope().rng()
    return scope.rng() if seed is None else _key_of(seed)


def _keyed(step: _Step | None) -> _Step | None:
    """Returns the innermost step or branch that has a key."""
    while step is not None and step.key is None:
        step = step.around
    return step


def _key_of(seed: Any) -> Any:
    return _fold(_key_of_seeds(_step.get()), 1, int(seed))


def _key_of_seeds(step: _Step | None) -> Any:
    while step is not None and not step.repeats:
        step = step.around
    if step is None:
        ambient = current_or_none()
        assert ambient is not None
        return _bridge.key_of_seeds(ambient.core_scope)
    return _fold(step.key if step.key is not None else _key_of_seeds(step.around), 0, step.number)


def _fold(key: Any, kind: int, number: int) -> Any:
    return jax.random.fold_in(jax.random.fold_in(key, kind), number & 0xFFFFFFFF)


def key_for_loop() -> Any:
    """Returns a key for a whole loop, or None if the call has none."""
    # Without a key a loop must still run, if nothing is drawn in it.
    ambient = current_or_none()
    has = _keyed(_step.get()) is not None or (ambient is not None and current_scope().has_rng)
    return next_key() if has else None


@contextlib.contextmanager
def loop_key(key: Any, number: int = 0, *, repeats: bool = True) -> Iterator[None]:
    """Makes what is drawn inside use the key of this step, or of this branch, which does not repeat anything."""
    token = _step.set(_Step(key, number, repeats, _step.get()))
    try:
        yield
    finally:
        _step.reset(token)


def _float(dtype: Any) -> Any:
    return _dtypes.canonical(_dtypes.as_dtype(dtype))


@never_static
def normal(shape: Any, mean: Any, stddev: Any, dtype: Any, seed: Any) -> Any:
    """Numbers of a normal distribution."""
    dtype = _float(dtype)
    drawn = jax.random.normal(next_key(seed), sizes_of(shape), dtype)
    return drawn * jnp.asarray(stddev, dtype) + jnp.asarray(mean, dtype)


@never_static
def truncated_normal(shape: Any, mean: Any, stddev: Any, dtype: Any, seed: Any) -> Any:
    """Numbers of a normal distribution, none farther than two standard deviations from its mean."""
    dtype = _float(dtype)
    drawn = jax.random.truncated_normal(next_key(seed), -2.0, 2.0, sizes_of(shape), dtype)
    return drawn * jnp.asarray(stddev, dtype) + jnp.asarray(mean, dtype)


@never_static
def uniform(shape: Any, minval: Any, maxval: Any, dtype: Any, seed: Any) -> Any:
    """Numbers of a uniform distribution from `minval` on and below `maxval` (1 for fractions)."""
    dtype = _float(dtype)
    if jnp.issubdtype(dtype, jnp.integer):
        return jax.random.randint(next_key(seed), sizes_of(shape), minval, maxval, dtype)
    low, high = jnp.asarray(minval, dtype), jnp.asarray(1.0 if maxval is None else maxval, dtype)
    return jax.random.uniform(next_key(seed), sizes_of(shape), dtype) * (high - low) + low


@never_static
def shuffle(value: Any, seed: Any) -> Any:
    """The rows in a random order."""
    return jax.random.permutation(next_key(seed), as_array(value))


@never_static
def categorical(logits: Any, num_samples: Any, dtype: Any, seed: Any) -> Any:
    """Classes drawn with these logits, `num_samples` for each row."""
    logits, count = as_array(logits), int(num_samples)
    drawn = jax.random.categorical(next_key(seed), logits[:, None], -1, shape=(logits.shape[0], count))
    return drawn.astype(_float(dtype or _dtypes.int64))


@never_static
def gamma(shape: Any, alpha: Any, beta: Any, dtype: Any, seed: Any) -> Any:
    """Numbers of a gamma distribution; `shape` of them for each `alpha`."""
    dtype = _float(dtype)
    alpha = jnp.asarray(alpha, dtype)
    drawn = jax.random.gamma(next_key(seed), alpha, (*sizes_of(shape), *alpha.shape), dtype)
    return drawn if beta is None else drawn / jnp.asarray(beta, dtype)


@never_static
def poisson(lam: Any, shape: Any, dtype: Any, seed: Any) -> Any:
    """Numbers of a Poisson distribution; `shape` of them for each `lam`."""
    lam = as_array(lam)
    return jax.random.poisson(next_key(seed), lam, (*sizes_of(shape), *lam.shape)).astype(_float(dtype))


@never_static
def crop(value: Any, size: Any, seed: Any) -> Any:
    """A box of the array, of this size, somewhere."""
    value, sizes = as_array(value), sizes_of(size)
    # Also the last place counts: `randint` leaves out its upper end.
    room = np.asarray(value.shape) - np.asarray(sizes) + 1
    return jax.lax.dynamic_slice(value, jax.random.randint(next_key(seed), room.shape, 0, room), sizes)


@never_static
def dropout(x: Any, keep_prob: Any, noise_shape: Any, seed: Any, rate: Any) -> Any:
    """The numbers, of which a share of `rate` is 0 and the others are larger by as much."""
    x = as_array(x)
    keep = keep_prob if rate is None else 1 - rate if isinstance(rate, int | float) else jnp.subtract(1, rate)
    # All code calls it, training or not; where nothing is dropped, no key is needed.
    if isinstance(keep, int | float | np.ndarray | np.generic) and keep == 1:
        return x
    keep = jnp.asarray(keep, x.dtype)
    shape = (
        x.shape
        if noise_shape is None
        else tuple(n if s is None else int(s) for s, n in zip(noise_shape, x.shape, strict=True))
    )
    mask = jax.random.uniform(next_key(seed), shape, x.dtype) < keep
    return jnp.where(jnp.broadcast_to(mask, x.shape), x / keep, jnp.zeros_like(x))


def flip(axis: int) -> Any:
    """Returns the kernel that turns an image, or each of a batch, round along an axis from the end, or does not."""

    def kernel(image: Any, seed: Any) -> Any:
        image = as_array(image)
        # Each image of a batch is turned or not by itself.
        shape = (image.shape[0],) + (1,) * 3 if image.ndim == 4 else ()
        turned = jax.random.bernoulli(next_key(seed), 0.5, shape)
        return jnp.where(turned, jnp.flip(image, axis), image)

    return never_static(kernel)
