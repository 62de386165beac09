"""An initializer is a value: two that were made by the same call are equal, and hash alike.

That lets jscope compile one program for all variables that start the same way, however often a layer calls
`glorot_uniform()`. An initializer is called as `(key, shape, dtype)`, and returns an array of that shape and dtype.
Most of them use `jax.nn.initializers`, and give the same numbers; those can be used directly as well.

Errors are of two kinds. A parameter that no variable could use is an `InvalidArgumentError` when the initializer is
made; a shape or dtype that does not suit it is an `InitializerError` when it is called.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, field, replace
from numbers import Real
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jscope._types import DType, Initializer, Key, Shape
from jscope.errors import InitializerError, InvalidArgumentError

Axis: TypeAlias = int | tuple[int, ...]
Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution: TypeAlias = Literal["uniform", "normal", "truncated_normal"]


def _finite(initializer: Any, name: str, minimum: float = -math.inf) -> None:
    """Replaces the field `name` by a float, after checking that it is a finite number."""
    value = getattr(initializer, name)
    if not (isinstance(value, Real) and math.isfinite(value) and float(value) >= minimum):
        bound = "" if minimum == -math.inf else f" of at least {minimum:g}"
        kind = type(initializer).__name__
        raise InvalidArgumentError(f"`{name}` of `{kind}` must be a finite number{bound}, not {value!r}.")
    # So that `normal(1)` and `normal(1.0)` are one value: equal numbers with one repr.
    object.__setattr__(initializer, name, float(value))


def _misfit(initializer: Initializer, needs: str, found: object) -> InitializerError:
    return InitializerError(
        f"`{initializer!r}` needs {needs}, found {found}.\n"
        "Give the variable another initializer, or another shape or dtype."
    )


def _require_dtype(initializer: Initializer, kind: Any, dtype: DType) -> None:
    if not jnp.issubdtype(dtype, kind):
        raise _misfit(initializer, f"a dtype that is {kind.__name__}", jnp.dtype(dtype).name)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


# All have a slot for weak references, because `jax.jit` keeps one to every function that it is given.
@dataclass(frozen=True, slots=True, weakref_slot=True)
class constant:
    """Repeats one value, which is broadcast to the shape.

    >>> constant(0.5)(jax.random.key(0), (3,)).tolist()
    [0.5, 0.5, 0.5]

    A list or an array is kept as nested tuples, so it should be small. An array that is itself the initial value can
    be passed as `initializer` directly. A value that the dtype cannot hold (0.5 as int32), or that does not broadcast
    to the shape, is an `InitializerError`.
    """

    value: Any

    def __post_init__(self) -> None:
        try:
            array = np.asarray(self.value)
        except (TypeError, ValueError) as e:
            raise InvalidArgumentError(f"`value` of `constant` must be known and rectangular: {self.value!r}.") from e
        if not (jnp.issubdtype(array.dtype, np.number) or array.dtype == bool):
            raise InvalidArgumentError(f"`value` of `constant` must be a number or an array, not {self.value!r}.")
        object.__setattr__(self, "value", _tuples(array.tolist()))

    def __call__(self, key: Key, shape: Shape, dtype: DType = jnp.float32) -> jax.Array:
        value = np.asarray(self.value)
        # Rounding to the precision of a float is expected; losing a fraction, a sign or an imaginary part is not.
        if np.iscomplexobj(value):
            _require_dtype(self, jnp.complexfloating, dtype)
        elif not jnp.issubdtype(dtype, jnp.inexact) and (value.astype(dtype) != value).any():
            raise _misfit(self, "a dtype that can hold it", jnp.dtype(dtype).name)
        try:
            return jnp.asarray(np.broadcast_to(value, shape), dtype)
        except ValueError as e:
            raise _misfit(self, f"a shape that {value.shape} broadcasts to", tuple(shape)) from e

    def __repr__(self) -> str:
        return _NAMES.get(self, f"constant({self.value!r})")


zeros = constant(0)
"""Zeros of any dtype. Used without a call: `initializer=zeros`."""

ones = constant(1)
"""Ones of any dtype. Used without a call: `initializer=ones`."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class uniform:
    """Draws from the half-open interval `[minval, maxval)`; for an integer dtype, integers.

    >>> dice = uniform(1, 7)(jax.random.key(0), (100,), jnp.int32)
    >>> sorted(set(dice.tolist()))
    [1, 2, 3, 4, 5, 6]

    Both ends must be given, because one number means different things in `jax.nn.initializers.uniform`, Keras and TF1.
    The dtype must be floating or integer; for integers, both ends must be whole numbers.
    """

    minval: float
    maxval: float

    def __post_init__(self) -> None:
        _finite(self, "minval")
        _finite(self, "maxval")
        if self.minval > self.maxval:
            raise InvalidArgumentError(f"`{self!r}` is empty: let `minval` be at most `maxval`.")

    def __call__(self, key: Key, shape: Shape, dtype: DType = jnp.float32) -> jax.Array:
        if not jnp.issubdtype(dtype, jnp.integer):
            _require_dtype(self, jnp.floating, dtype)
            return jax.random.uniform(key, shape, dtype, self.minval, self.maxval)
        low, high = int(self.minval), int(self.maxval)
        if (low, high) != (self.minval, self.maxval):
            raise _misfit(self, "a floating dtype, or integers as bounds", jnp.dtype(dtype).name)
        return jax.random.randint(key, shape, low, high, dtype)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class normal:
    """Draws from a normal distribution.

    >>> normal(0.02) == normal(0.02, mean=0.0)
    True

    `mean` must be given by keyword, because the first parameter is the mean in TensorFlow, but `stddev` in JAX. The
    dtype must be floating or complex.
    """

    stddev: float
    mean: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        _finite(self, "stddev", 0)
        _finite(self, "mean")

    def __call__(self, key: Key, shape: Shape, dtype: DType = jnp.float32) -> jax.Array:
        _require_dtype(self, jnp.inexact, dtype)
        return self.mean + self.stddev * jax.random.normal(key, shape, dtype)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class truncated_normal:
    """Draws from a normal distribution that is cut off at two `stddev` on either side of the mean.

    >>> values = truncated_normal(0.1, mean=1.0)(jax.random.key(0), (1000,))
    >>> bool((values >= 0.8).all() and (values <= 1.2).all())
    True

    As in TensorFlow and JAX, `stddev` is that of the whole distribution; the standard deviation of what is left is 0.88
    times as large. `variance_scaling` corrects for this. The dtype must be floating.
    """

    stddev: float
    mean: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        _finite(self, "stddev", 0)
        _finite(self, "mean")

    def __call__(self, key: Key, shape: Shape, dtype: DType = jnp.float32) -> jax.Array:
        _require_dtype(self, jnp.floating, dtype)
        return self.mean + self.stddev * jax.random.truncated_normal(key, -2, 2, shape, dtype)


random_uniform = uniform
random_normal = normal


@dataclass(frozen=True, slots=True, weakref_slot=True)
class variance_scaling:
    """Draws with mean 0 and variance `scale / fan`, so that signals keep their size from layer to layer.

    >>> variance_scaling(1.0, "fan_avg", "uniform")
    glorot_uniform()

    Args:
      scale: The variance, times the fan.
      mode: What `fan` is: the number of inputs (`"fan_in"`), of outputs (`"fan_out"`), or their arithmetic or geometric
        mean (`"fan_avg"`, `"fan_geo_avg"`). Axes that are none of the following (a convolution's window) count for
        both. As in TensorFlow, both fans of a vector are its size, and those of a scalar are 1.
      distribution: `"uniform"`, `"normal"`, or `"truncated_normal"`, which is cut off at two standard deviations and
        corrected for the cut. (TensorFlow calls `"normal"` `"untruncated_normal"`.) Complex values are uniform on a
        disk, or normal or truncated in the plane, of that variance.
      in_axis: The axis of the inputs, or several.
      out_axis: The axis of the outputs, or several.
      batch_axis: Axes that count for neither fan.

    The dtype must be floating or complex. (Glorot and Bengio, 2010,
    https://proceedings.mlr.press/v9/glorot10a.html; He et al., 2015, https://arxiv.org/abs/1502.01852)
    """

    scale: float
    mode: Mode
    distribution: Distribution
    in_axis: Axis = -2
    out_axis: Axis = -1
    batch_axis: Axis = ()

    def __post_init__(self) -> None:
        _finite(self, "scale", 0)
        for name, choices in ("mode", get_args(Mode)), ("distribution", get_args(Distribution)):
            if getattr(self, name) not in choices:
                raise InvalidArgumentError(f"`{name}` must be one of {choices}, not {getattr(self, name)!r}.")
        for name in ("in_axis", "out_axis", "batch_axis"):
            if not isinstance(getattr(self, name), int | tuple):
                raise InvalidArgumentError(f"`{name}` must be an int or a tuple of them, not {getattr(self, name)!r}.")

    def __call__(self, key: Key, shape: Shape, dtype: DType = jnp.float32) -> jax.Array:
        _require_dtype(self, jnp.inexact, dtype)
        if 0 in shape:  # A fan of 0 would be divided by.
            return jnp.zeros(shape, dtype)
        # Without in- and out-axes, every axis counts for both fans: n for a vector, 1 for a scalar.
        flat = len(shape) < (2 if self.in_axis == -2 else 1)
        axes = ((), ()) if flat else (self.in_axis, self.out_axis)
        draw = jax.nn.initializers.variance_scaling(self.scale, self.mode, self.distribution, *axes, self.batch_axis)
        try:
            return draw(key, shape, dtype)
        except IndexError as e:
            raise _misfit(self, "a shape with all of its axes", tuple(shape)) from e

    def __repr__(self) -> str:
        return _NAMES.get(self, f"variance_scaling{astuple(self)!r}")


def glorot_uniform(in_axis: Axis = -2, out_axis: Axis = -1, batch_axis: Axis = ()) -> variance_scaling:
    """Draws uniformly with variance `2 / (fan_in + fan_out)`: jscope's default for floating and complex variables.

    >>> glorot_uniform() == glorot_uniform() == variance_scaling(1.0, "fan_avg", "uniform")
    True

    (Glorot and Bengio, 2010, https://proceedings.mlr.press/v9/glorot10a.html)
    """
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis)


def glorot_normal(in_axis: Axis = -2, out_axis: Axis = -1, batch_axis: Axis = ()) -> variance_scaling:
    """Draws from a truncated normal distribution with variance `2 / (fan_in + fan_out)`.

    >>> glorot_normal() == variance_scaling(1.0, "fan_avg", "truncated_normal")
    True

    (Glorot and Bengio, 2010, https://proceedings.mlr.press/v9/glorot10a.html)
    """
    return variance_scaling(1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis)


def he_uniform(in_axis: Axis = -2, out_axis: Axis = -1, batch_axis: Axis = ()) -> variance_scaling:
    """Draws uniformly with variance `2 / fan_in`, which suits a ReLU.

    >>> he_uniform() == variance_scaling(2.0, "fan_in", "uniform")
    True

    (He et al., 2015, https://arxiv.org/abs/1502.01852)
    """
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis)


def he_normal(in_axis: Axis = -2, out_axis: Axis = -1, batch_axis: Axis = ()) -> variance_scaling:
    """Draws from a truncated normal distribution with variance `2 / fan_in`, which suits a ReLU.

    >>> he_normal() == variance_scaling(2.0, "fan_in", "truncated_normal")
    True

    (He et al., 2015, https://arxiv.org/abs/1502.01852)
    """
    return variance_scaling(2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis)


def lecun_uniform(in_axis: Axis = -2, out_axis: Axis = -1, batch_axis: Axis = ()) -> variance_scaling:
    """Draws uniformly with variance `1 / fan_in`.

    >>> lecun_uniform() == variance_scaling(1.0, "fan_in", "uniform")
    True

    (LeCun et al., 1998, "Efficient BackProp")
    """
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis)


def lecun_normal(in_axis: Axis = -2, out_axis: Axis = -1, batch_axis: Axis = ()) -> variance_scaling:
    """Draws from a truncated normal distribution with variance `1 / fan_in`.

    >>> lecun_normal() == variance_scaling(1.0, "fan_in", "truncated_normal")
    True

    (LeCun et al., 1998, "Efficient BackProp")
    """
    return variance_scaling(1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis)


xavier_uniform, xavier_normal = glorot_uniform, glorot_normal
kaiming_uniform, kaiming_normal = he_uniform, he_normal


def uniform_unit_scaling(factor: float = 1.0) -> variance_scaling:
    """Draws uniformly with variance `factor**2 / n`, where n is the product of all axes but the last.

    >>> uniform_unit_scaling(2.0)
    variance_scaling(4.0, 'fan_in', 'uniform', (), -1, ())

    This is TF1's initializer of that name. Unlike `lecun_uniform`, it takes n = 1 for a vector.
    """
    # Without an in-axis, the fan-in is what the other axes count for both: all but the last.
    return variance_scaling(factor**2, "fan_in", "uniform", in_axis=())


@dataclass(frozen=True, slots=True, weakref_slot=True)
class orthogonal:
    """Draws a matrix with orthonormal rows or columns, whichever are fewer, times `scale`.

    >>> w = orthogonal()(jax.random.key(0), (4, 4))
    >>> bool(jnp.allclose(w @ w.T, jnp.eye(4), atol=1e-5))
    True

    The shape must have at least two axes; all but `column_axis` are taken as one. The dtype must be floating or
    complex; the matrix is computed in at least float32. (Saxe et al., 2013, https://arxiv.org/abs/1312.6120)
    """

    scale: float = 1.0
    column_axis: int = -1

    def __post_init__(self) -> None:
        _finite(self, "scale")

    def __call__(self, key: Key, shape: Shape, dtype: DType = jnp.float32) -> jax.Array:
        _require_dtype(self, jnp.inexact, dtype)
        if len(shape) < 2:
            raise _misfit(self, "a shape of rank 2 or more", tuple(shape))
        # LAPACK has no decomposition of half-precision matrices.
        wide = np.promote_types(jnp.dtype(dtype), np.float32)
        return jax.nn.initializers.orthogonal(self.scale, self.column_axis)(key, shape, wide).astype(dtype)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class delta_orthogonal:
    """Draws a convolution kernel that is an orthogonal matrix in the middle of its window and zero elsewhere.

    >>> w = delta_orthogonal()(jax.random.key(0), (3, 8, 8))
    >>> bool(jnp.allclose(w[1] @ w[1].T, jnp.eye(8), atol=1e-5) and (w[0] == 0).all())
    True

    The shape is one to three window axes, inputs, outputs; there must not be more inputs than outputs. The dtype must
    be floating or complex. (Xiao et al., 2018, https://arxiv.org/abs/1806.05393)
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        _finite(self, "scale")

    def __call__(self, key: Key, shape: Shape, dtype: DType = jnp.float32) -> jax.Array:
        if not 3 <= len(shape) <= 5:
            raise _misfit(self, "a shape of rank 3 to 5", tuple(shape))
        if shape[-2] > shape[-1]:
            raise _misfit(self, "no more inputs (the last axis but one) than outputs (the last)", tuple(shape))
        # All weight is on the middle of the window, so a position sees none of its neighbours at first.
        middle = tuple((size - 1) // 2 for size in shape[:-2])
        return jnp.zeros(shape, dtype).at[middle].set(orthogonal(self.scale)(key, shape[-2:], dtype))


@dataclass(frozen=True, slots=True, weakref_slot=True)
class identity:
    """Makes a matrix with `gain` on the diagonal and zeros elsewhere.

    >>> identity(2)(jax.random.key(0), (2, 3), jnp.int32).tolist()
    [[2, 0, 0], [0, 2, 0]]

    The shape must have two axes. The dtype may be any that can hold `gain`.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        _finite(self, "gain")

    def __call__(self, key: Key, shape: Shape, dtype: DType = jnp.float32) -> jax.Array:
        if len(shape) != 2:
            raise _misfit(self, "a shape of rank 2", tuple(shape))
        return jnp.eye(*shape, dtype=dtype) * constant(self.gain)(key, (), dtype)


def default(dtype: DType) -> Initializer:
    """Returns the initializer of a variable that was given none.

    >>> default(jnp.bfloat16), default(jnp.int32)
    (glorot_uniform(), zeros)
    """
    return _GLOROT_UNIFORM if jnp.issubdtype(dtype, jnp.inexact) else zeros


def fitting(initializer: Any, fallback: Initializer) -> Any:
    """Returns `initializer` as it suits a variable that a layer starts from `fallback`, which stands in for None.

    The layer knows which axes of its variable are inputs and which are outputs. An initializer that goes by fans and
    does not say by which takes the axes of the fallback.

    >>> fitting(he_normal(), glorot_uniform(in_axis=(0, 1)))
    variance_scaling(2.0, 'fan_in', 'truncated_normal', (0, 1), -1, ())
    """
    if not (isinstance(initializer, variance_scaling) and isinstance(fallback, variance_scaling)):
        return fallback if initializer is None else initializer
    if (initializer.in_axis, initializer.out_axis, initializer.batch_axis) != (-2, -1, ()):
        return initializer
    axes = {"in_axis": fallback.in_axis, "out_axis": fallback.out_axis, "batch_axis": fallback.batch_axis}
    return replace(initializer, **axes)


_GLOROT_UNIFORM = glorot_uniform()
_FACTORIES = (glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal)
# Their repr is the call that people write, also where an equal value was made by another.
_NAMES: dict[Any, str] = {zeros: "zeros", ones: "ones", **{make(): f"{make.__name__}()" for make in _FACTORIES}}
