"""From the arguments of a `get_variable` call to a `VariableSpec`.

Everything that can be wrong with such a call is found here, before anything is recorded.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import errors, initializers
from jscope._defaults import OFF, Defaults, check_callable, is_value
from jscope._spec import VariableSpec
from jscope._types import Axes, DType, Partitioner, Shape, ShapeLike


def new_spec(
    path: str,
    defaults: Defaults,
    site: str,
    *,
    shape: ShapeLike | None = None,
    dtype: DType = None,
    initializer: Any = None,
    trainable: bool = True,
    regularizer: Any = None,
    constraint: Any = None,
    partitioner: Partitioner | None = None,
    axes: Axes | None = None,
    collections: Iterable[str] = (),
) -> VariableSpec:
    """Returns the spec of a variable that is being created, defaults filled in and everything checked."""
    with errors.noting(f"while creating `{path}` at {site}"):
        given = defaults.override(
            initializer=initializer, regularizer=regularizer, constraint=constraint, partitioner=partitioner
        )
    full_shape, full_dtype = _shape_and_dtype(path, shape, dtype, given)
    if not isinstance(trainable, bool):
        raise errors.InvalidArgumentError(f"trainable={trainable!r} of `{path}` is neither True nor False.")
    return VariableSpec(
        path=path,
        shape=full_shape,
        dtype=full_dtype,
        initializer=initializers.default(full_dtype) if given.initializer is None else given.initializer,
        trainable=trainable,
        regularizer=given.regularizer,
        constraint=given.constraint,
        axes=_axes(path, full_shape, full_dtype, axes, given.partitioner),
        collections=_collections(path, collections),
        site=site,
    )


def check_agrees(spec: VariableSpec, shape: ShapeLike | None, dtype: DType, trainable: bool, site: str) -> None:
    """Raises unless a request to share the variable of `spec` asks for the same shape, dtype and trainability."""
    asked_shape = spec.shape if shape is None else checked_shape(spec.path, shape)
    asked_dtype = spec.dtype if dtype is None or dtype is OFF else checked_dtype(spec.path, dtype)
    for what, found, asked, error in (
        ("shape", spec.shape, asked_shape, errors.ShapeMismatchError),
        ("dtype", spec.dtype, asked_dtype, errors.DTypeMismatchError),
        ("trainable", spec.trainable, trainable, errors.MismatchError),
    ):
        if found != asked:
            raise error(
                f"Variable `{spec.path}` has {what} {found} (created at {spec.site}), asked for with {what} {asked} "
                f"at {site}.\nIf the two are meant to share it, make them agree; otherwise give one of them a "
                "scope of its own."
            )


def checked_shape(path: str, shape: ShapeLike) -> Shape:
    """Returns a shape as a tuple of ints, or raises an error that names the variable.

    >>> checked_shape("w", 3), checked_shape("w", [2, 3])
    ((3,), (2, 3))
    """
    if type(shape) is tuple and all(dim.__class__ is int and dim >= 0 for dim in shape):
        return shape
    try:
        if isinstance(shape, str | bool | Mapping):
            raise TypeError
        dims = (shape,) if hasattr(shape, "__index__") and np.ndim(shape) == 0 else shape
        result = tuple(operator.index(dim) for dim in dims)  # pyright: ignore[reportGeneralTypeIssues]
    except (TypeError, jax.errors.JAXTypeError):
        raise errors.InvalidArgumentError(
            f"The shape of `{path}` must be ints that are known when tracing, not {shape!r}.\n"
            "Use static values such as `x.shape[-1]`; a traced value cannot be a dimension."
        ) from None
    if any(dim < 0 for dim in result):
        raise errors.ShapeMismatchError(
            f"The shape of `{path}` has a negative dimension: {result}. Dimensions are >= 0."
        )
    return result


def checked_dtype(path: str, dtype: DType) -> np.dtype[Any]:
    """Returns a dtype as JAX will use it (without 64 bits unless they are enabled)."""
    try:
        known = np.dtype(jax.dtypes.canonicalize_dtype(dtype))
        if known.kind in "OSUM":
            raise TypeError
        return known
    except TypeError:
        raise errors.InvalidArgumentError(
            f"The dtype of `{path}` is {dtype!r}, which JAX does not know. Use `jnp.float32`, `jnp.bfloat16`, ..."
        ) from None


def _shape_and_dtype(path: str, shape: ShapeLike | None, dtype: DType, given: Defaults) -> tuple[Shape, np.dtype[Any]]:
    if is_value(given.initializer):
        return _of_value(path, shape, dtype, given.initializer)
    check_callable("initializer", given.initializer)
    if shape is None:
        raise errors.ShapeMismatchError(
            f"Variable `{path}` is new, so its shape must be given: `get_variable(name, shape)`.\nIt may be left "
            "out only where the variable exists already, or where the initializer is an array or number."
        )
    asked = given.dtype if dtype is None or dtype is OFF else dtype
    return checked_shape(path, shape), checked_dtype(path, asked)


def _of_value(path: str, shape: ShapeLike | None, dtype: DType, value: Any) -> tuple[Shape, np.dtype[Any]]:
    found = tuple(np.shape(value))
    if shape is not None and checked_shape(path, shape) != found:
        raise errors.ShapeMismatchError(
            f"Variable `{path}` was asked for with shape {checked_shape(path, shape)}, but its initializer is a value "
            f"of shape {found}.\nLeave the shape out, or use `initializers.constant(...)` to fill one."
        )
    natural = jnp.result_type(value) if hasattr(value, "dtype") else checked_dtype(path, type(value))
    if dtype is not None and dtype is not OFF and checked_dtype(path, dtype) != natural:
        if hasattr(value, "dtype"):
            raise errors.InitializerError(
                f"Variable `{path}` was asked for with dtype {np.dtype(dtype).name}, but its initializer is a value of "
                f"dtype {np.dtype(natural).name}. Cast the value, or leave the dtype out."
            )
        if np.asarray(value, checked_dtype(path, dtype)) != value:
            raise errors.InitializerError(
                f"Variable `{path}` of dtype {np.dtype(dtype).name} cannot start at {value!r}."
            )
        return found, checked_dtype(path, dtype)
    return found, np.dtype(natural)


def _axes(path: str, shape: Shape, dtype: DType, axes: Axes | None, partitioner: Partitioner | None) -> Axes | None:
    if axes is None and partitioner is not None:
        axes = partitioner(shape, dtype)
    if axes is None:
        return None
    if isinstance(axes, str) or len(tuple(axes)) != len(shape):
        raise errors.InvalidArgumentError(
            f"axes={axes!r} of `{path}` must name each of its {len(shape)} axes (shape {shape}), "
            'such as ("embed", "mlp"); None leaves one without a name.'
        )
    return tuple(axes)


def _collections(path: str, collections: Iterable[str]) -> tuple[str, ...]:
    if isinstance(collections, str):
        raise errors.InvalidArgumentError(
            f"collections={collections!r} of `{path}` must be several names: ({collections!r},)."
        )
    return tuple(collections)
