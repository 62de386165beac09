"""Initializers under TensorFlow 1's names, with its signatures and its distributions.

Each is a frozen value that can be called as `initializer(shape, dtype=None)`, as in TensorFlow, and as
`initializer(key, shape, dtype)`, so that the explicit core takes it as it is. A `seed` fixes the values, whatever the
key is. Without a key, without a seed, and outside the initializer of a variable there is nothing to draw from, which is
an error.
"""

# ruff: noqa: D102, N801 - `Initializer` says what the methods do; classes here are called like functions.

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import initializers as core
from jscope._types import Shape
from jscope.errors import MissingRngError
from jscope.tf1 import _dtypes
from jscope.tf1._ambient import current_or_none
from jscope.tf1._errors import ArgumentError, ArgumentTypeError, advised
from jscope.tf1._lazy import finder
from jscope.tf1._tensors import Tensor, Undrawn, is_static, tensor

__getattr__, __dir__ = finder("initializers")

DRAWING: ContextVar[list[Any] | None] = ContextVar("jscope_tf1_drawing", default=None)
"""The key of the variable whose initializer runs, and how many keys were taken from it."""


@dataclass(frozen=True, repr=False)
class Initializer(abc.ABC):
    """An initializer that can be called as TensorFlow does and as jscope does."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            # Old files compute such numbers by `tf.sqrt`, whose results are known where all that goes in is. (By class,
            # since what could not be drawn is a tensor, too, and in `apply` nobody needs the number.)
            if value.__class__ is Tensor and is_static(value.value()) and not np.ndim(value.value()):
                object.__setattr__(self, each.name, value.value().item())

    def __call__(self, *args: Any, shape: Any = None, dtype: Any = None, partition_info: Any = None) -> Any:
        """Returns the values: called as `(shape, dtype=None)`, or as `(key, shape, dtype)`."""
        args = args if shape is None else (*args, shape)
        # TensorFlow's call has a shape where jscope's has a key, and only a key is an array of the dtype of keys.
        key, args = (args[0], args[1:]) if _is_key(args[0]) else (None, args)
        sizes = tuple(np.atleast_1d(np.asarray(args[0], int)).tolist())
        asked = args[1] if len(args) > 1 else dtype
        full = _dtypes.canonical(_dtypes.as_dtype(getattr(self, "dtype", "float32") if asked is None else asked))
        self.check(sizes, full)
        try:
            made = self.draw(self._key(key), sizes, full)
        except MissingRngError as error:
            return _undrawn(functools.partial(self, sizes, dtype=full), sizes, full, error)
        # Called by hand in a model, it is an operation like any other.
        return made if key is not None or current_or_none() is None else tensor(made)

    def __repr__(self) -> str:
        shown = [f"{f.name}={value!r}" for f in fields(self) if (value := getattr(self, f.name)) != f.default]
        return f"{type(self).__name__}({', '.join(shown)})"

    def check(self, shape: Shape, dtype: Any) -> None:  # noqa: B027 - Most initializers can make values of any.
        """Raises unless the initializer can make values of this shape and dtype."""

    @abc.abstractmethod
    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        """Returns the values."""

    def _key(self, key: Any) -> Any:
        seed = getattr(self, "seed", None)
        if seed is not None:
            return jax.random.key(seed)
        if key is None and isinstance(self, _Random):
            # A TensorFlow-style initializer that calls others, as mixtures do: each gets a key of its own.
            drawing = DRAWING.get()
            if drawing is None:
                raise MissingRngError(
                    f"{self!r} was called without a key, and not within the initializer of a variable.\n"
                    "Give `get_variable` the initializer itself, or give the initializer a `seed`."
                )
            drawing[1] += 1
            return jax.random.fold_in(drawing[0], drawing[1])
        return key


def _undrawn(draw: Callable[[], Any], shape: Shape, dtype: Any, error: Exception) -> Tensor:
    """Returns a tensor for `tf1.Variable`, which draws it with its own key; outside of a call, raises the error."""
    ambient = current_or_none()
    if ambient is None:
        raise error
    # What a variable begins with is known by shape and dtype in `init`, and of no use in `apply`.
    out = Tensor(jnp.zeros(shape, dtype)) if ambient.collecting else Undrawn(error, None)
    out.recipe = draw
    return out


class _Random:
    """Marks initializers that need a key."""


def _is_key(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    if dtype is None or not isinstance(value, jax.Array):
        return False
    return bool(jnp.issubdtype(dtype, jax.dtypes.prng_key)) or dtype == jnp.uint32


def _require_float(initializer: Any, dtype: Any) -> None:
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ArgumentError(
            advised(
                f"Argument `dtype` is expected to be floating point. Received: {_dtypes.name(dtype)}.",
                f"{initializer!r} draws real numbers: give the variable a floating-point dtype or another initializer.",
            )
        )


@dataclass(frozen=True, repr=False)
class zeros(Initializer):
    """Zeros: `zeros_initializer(dtype=tf.float32)`.

    >>> zeros()([2], dtype="int32").tolist()
    [0, 0]
    """

    dtype: Any = "float32"

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        return jnp.zeros(shape, dtype)


@dataclass(frozen=True, repr=False)
class ones(Initializer):
    """Ones: `ones_initializer(dtype=tf.float32)`.

    >>> ones()([2], dtype="int32").tolist()
    [1, 1]
    """

    dtype: Any = "float32"

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        return jnp.ones(shape, dtype)


@dataclass(frozen=True, repr=False)
class constant(Initializer):
    """One value for all, or a list that fills the variable row by row; its last item is repeated to the end.

    >>> constant([1, 2, 3])([2, 2], dtype="float32").tolist()
    [[1.0, 2.0], [3.0, 3.0]]
    """

    value: Any = 0
    dtype: Any = "float32"
    verify_shape: bool = False

    def __post_init__(self) -> None:
        if not (np.isscalar(self.value) or isinstance(self.value, list | tuple | np.ndarray)):
            raise ArgumentTypeError(
                f"Invalid type for initial value={self.value} of type: {type(self.value).__name__}. Expected Python "
                "scalar, list or tuple of values, or numpy.ndarray."
            )
        # A tuple in place of an array or a list: the fields must be hashable and equal, for `init` to compile once.
        array = np.asarray(self.value)
        object.__setattr__(self, "value", tuple(array.reshape(-1).tolist()) if array.ndim else array.item())
        object.__setattr__(self, "_shape", array.shape)

    def check(self, shape: Shape, dtype: Any) -> None:
        if not isinstance(self.value, tuple):
            return
        size = math.prod(shape)
        if self.verify_shape and self._shape != tuple(shape):  # pyright: ignore[reportAttributeAccessIssue]
            raise ArgumentTypeError(f"Expected Tensor's shape: {tuple(shape)}, got {self._shape}.")  # pyright: ignore[reportAttributeAccessIssue]
        if len(self.value) > size:
            raise ArgumentError(
                f"Too many elements provided. Takes at most {size:d}, but got {len(self.value):d} (shape "
                f"{tuple(shape)})."
            )

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        flat = np.asarray(self.value).reshape(-1)
        rest = math.prod(shape) - len(flat)
        filled = np.concatenate([flat, np.repeat(flat[-1:], rest)]) if rest > 0 else flat[: math.prod(shape)]
        return jnp.asarray(filled.reshape(shape), dtype)


@dataclass(frozen=True, repr=False)
class random_uniform(Initializer, _Random):
    """Draws from `[minval, maxval)`; `maxval=None` is 1. For an integer dtype, integers.

    >>> values = random_uniform(-1.0, 1.0, seed=0)([1000])
    >>> bool((values >= -1).all() and (values < 1).all())
    True
    """

    minval: Any = 0
    maxval: Any = None
    seed: int | None = None
    dtype: Any = "float32"

    def check(self, shape: Shape, dtype: Any) -> None:
        if self.maxval is None and not jnp.issubdtype(dtype, jnp.floating):
            raise ArgumentError(f"Must specify maxval for integer dtype {_dtypes.name(dtype)}")

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        return core.uniform(self.minval, 1 if self.maxval is None else self.maxval)(key, shape, dtype)


@dataclass(frozen=True, repr=False)
class random_normal(Initializer, _Random):
    """Draws from a normal distribution.

    >>> random_normal(stddev=0.0, mean=2.0, seed=0)([2]).tolist()
    [2.0, 2.0]
    """

    mean: float = 0.0
    stddev: float = 1.0
    seed: int | None = None
    dtype: Any = "float32"

    def check(self, shape: Shape, dtype: Any) -> None:
        _require_float(self, dtype)

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        return core.normal(self.stddev, mean=self.mean)(key, shape, dtype)


@dataclass(frozen=True, repr=False)
class truncated_normal(random_normal):
    """Draws from a normal distribution, cut off at two standard deviations from the mean.

    >>> values = truncated_normal(stddev=0.5, seed=0)([1000])
    >>> bool((abs(values) <= 1).all())
    True
    """

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        return core.truncated_normal(self.stddev, mean=self.mean)(key, shape, dtype)


@dataclass(frozen=True, repr=False)
class uniform_unit_scaling(Initializer, _Random):
    """Draws uniformly with variance `factor**2 / n`, where n is the product of all axes but the last.

    >>> values = uniform_unit_scaling(seed=0)([3, 1000])
    >>> bool((abs(values) <= 1).all())
    True
    """

    factor: float = 1.0
    seed: int | None = None
    dtype: Any = "float32"

    def check(self, shape: Shape, dtype: Any) -> None:
        _require_float(self, dtype)

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        # A variable without elements would divide by 0.
        bound = self.factor * math.sqrt(3 / max(1.0, math.prod(shape[:-1])))
        return jax.random.uniform(key, shape, dtype, -bound, bound)


_MODES = ("fan_in", "fan_out", "fan_avg")
_KINDS = ("normal", "uniform", "truncated_normal", "untruncated_normal")


@dataclass(frozen=True, repr=False)
class variance_scaling(Initializer, _Random):
    """Draws with variance `scale / fan`. As in TensorFlow, `"normal"` is the truncated normal distribution.

    >>> values = variance_scaling(3.0, "fan_in", "uniform", seed=0)([3, 1000])
    >>> bool((abs(values) <= np.sqrt(3)).all())
    True
    """

    scale: float = 1.0
    mode: Any = "fan_in"
    distribution: Any = "truncated_normal"
    seed: int | None = None
    dtype: Any = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale <= 0.0:
            raise ArgumentError(f"Argument `scale` must be a positive float. Received: {self.scale}")
        if self.mode not in _MODES:
            raise ArgumentError(f"Argument `mode` should be one of {_MODES}. Received: {self.mode}")
        if not isinstance(self.distribution, str) or self.distribution.lower() not in _KINDS:
            raise ArgumentError(f"Argument `distribution` should be one of {_KINDS}. Received: {self.distribution}")

    def check(self, shape: Shape, dtype: Any) -> None:
        _require_float(self, dtype)

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        kind = {"normal": "truncated_normal", "untruncated_normal": "normal"}
        distribution: Any = kind.get(self.distribution.lower(), self.distribution.lower())
        return core.variance_scaling(self.scale, self.mode, distribution)(key, shape, dtype)


@dataclass(frozen=True, repr=False)
class orthogonal(Initializer, _Random):
    """Draws a matrix with orthonormal rows or columns, whichever are fewer, times `gain`.

    >>> w = orthogonal(seed=0)([4, 4])
    >>> bool(jnp.allclose(w @ w.T, jnp.eye(4), atol=1e-5))
    True
    """

    gain: float = 1.0
    seed: int | None = None
    dtype: Any = "float32"

    def check(self, shape: Shape, dtype: Any) -> None:
        _require_float(self, dtype)
        if len(shape) < 2:
            raise ArgumentError(
                "The tensor to initialize, specified by argument `shape` must be at least two-dimensional. Received "
                f"shape={list(shape)}"
            )

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        return core.orthogonal(self.gain)(key, shape, dtype)


@dataclass(frozen=True, repr=False)
class identity(Initializer):
    """Makes a matrix with `gain` on the diagonal.

    >>> identity(2.0)([2, 3]).tolist()
    [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """

    gain: float = 1.0
    dtype: Any = "float32"

    def check(self, shape: Shape, dtype: Any) -> None:
        if len(shape) != 2:
            raise ArgumentError(
                "The tensor to initialize, specified by argument `shape` must be at least two-dimensional. Received "
                f"shape={list(shape)}"
            )

    def draw(self, key: Any, shape: Shape, dtype: Any) -> jax.Array:
        return self.gain * jnp.eye(*shape, dtype=dtype)


def glorot_uniform(seed: int | None = None, dtype: Any = "float32") -> variance_scaling:
    """Draws uniformly from `±sqrt(6 / (fan_in + fan_out))`: the default of `get_variable`."""
    return variance_scaling(1.0, "fan_avg", "uniform", seed, dtype)


def glorot_normal(seed: int | None = None, dtype: Any = "float32") -> variance_scaling:
    """Draws from a truncated normal distribution with variance `2 / (fan_in + fan_out)`."""
    return variance_scaling(1.0, "fan_avg", "truncated_normal", seed, dtype)


def he_uniform(seed: int | None = None) -> variance_scaling:
    """Draws uniformly with variance `2 / fan_in`."""
    return variance_scaling(2.0, "fan_in", "uniform", seed)


def he_normal(seed: int | None = None) -> variance_scaling:
    """Draws from a truncated normal distribution with variance `2 / fan_in`."""
    return variance_scaling(2.0, "fan_in", "truncated_normal", seed)


def lecun_uniform(seed: int | None = None) -> variance_scaling:
    """Draws uniformly with variance `1 / fan_in`."""
    return variance_scaling(1.0, "fan_in", "uniform", seed)


def lecun_normal(seed: int | None = None) -> variance_scaling:
    """Draws from a truncated normal distribution with variance `1 / fan_in`."""
    return variance_scaling(1.0, "fan_in", "truncated_normal", seed)
