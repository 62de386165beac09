"""Creating a variable: what `get_variable` does while collecting.

A request becomes a `VariableSpec`, after everything that can be wrong with it was found; the spec is recorded, or
compared with the one that exists; and the caller gets a placeholder of its shape and dtype. A request that is refused
leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope import errors, initializers
from jscope._check import checked_dtype, checked_shape
from jscope._context import Context
from jscope._defaults import OFF, Defaults, Reuse, is_value
from jscope._frame import Frame, Replay
from jscope._materialize import initial_value, making
from jscope._spec import DataDependent, StackAxis, VariableSpec
from jscope._types import Axes, DType, Partitioner, Shape, ShapeLike
from jscope._uses import Entry
from jscope._util import _text
from jscope._util._same import same


@dataclass(frozen=True, slots=True)
class Request:
    """What one `get_variable` call asks for, as it arrives behind the getters.

    Attributes:
      path: The full path of the variable.
      entry: Which entry of its path the scope is that was asked.
      site: Where the call stands, as `file:line`.
      reuse: What it says about sharing; None where the scope decides.
      options: The arguments of `get_variable`.
    """

    path: str
    entry: Entry
    site: str
    reuse: Reuse | None
    options: dict[str, Any]

    @property
    def only_reads(self) -> bool:
        """Whether it says nothing about the variable, so that it is no attempt to create one."""
        return self.reuse is None and self.options.get("shape") is None and self.options.get("initializer") is None


def create(frame: Frame, context: Context, request: Request) -> jax.Array:
    """Creates the variable, or shares it where it exists; returns a placeholder of its shape and dtype."""
    path, stack = request.path, context.stack_of(request.path)
    if frame.replay is not None and path in frame.replay.specs:
        return _again(frame, frame.replay, context, request)
    spec = frame.specs.get(path)
    if spec is not None:
        # The spec has the axes of the lifts around; a body asks for one copy.
        one = replace(spec, shape=spec.shape[len(stack) :])
        _share(frame, context, request, one)
    else:
        _check_may_create(frame, context, request)
        one = _without_tracers(frame, new_spec(path, context.defaults, request.site, **request.options))
        frame.create(_stacked(one, stack), request.entry)
    frame.asked.add(path)
    return frame.placeholder(one, one.shape)


def _again(frame: Frame, replay: Replay, context: Context, request: Request) -> jax.Array:
    """Returns the value of a variable in a replay: what the first pass checked need not be checked again."""
    path, spec = request.path, replay.specs[request.path]
    if path not in replay.values:
        # Only what depends on data has no value yet, and now the data is there.
        wanted = new_spec(path, context.defaults, request.site, **request.options)
        replay.values[path] = replay.computed[path] = initial_value(wanted, replay.key)
    frame.specs.setdefault(path, spec)
    return replay.values[path]


def planned(frame: Frame, context: Context, request: Request) -> VariableSpec | None:
    """Returns the spec that a request would create (of one copy), or that of what is there; None if there is neither.

    Nothing is created.
    """
    if request.options.get("shape") is not None or request.options.get("initializer") is not None:
        return new_spec(request.path, context.defaults, request.site, **request.options)
    spec, stacked = frame.specs.get(request.path), len(context.stack_of(request.path))
    if spec is None or not stacked:
        return spec
    return replace(spec, shape=spec.shape[stacked:], axes=spec.axes and spec.axes[stacked:], stack=())


def _share(frame: Frame, context: Context, request: Request, one: VariableSpec) -> None:
    """Raises unless the variable that exists may be shared, and is the one that the request asks for."""
    options, trainable = request.options, one.trainable
    if not request.only_reads:
        trainable = options.get("trainable", True)
        if (context.defaults.reuse if request.reuse is None else request.reuse) is False:
            alike = _starts_alike(frame.specs[request.path], context.defaults, options)
            frame.share(request.path, request.entry, request.site, alike=alike)
    check_agrees(one, options.get("shape"), options.get("dtype"), trainable, request.site)


def _starts_alike(spec: VariableSpec, defaults: Defaults, options: dict[str, Any]) -> bool:
    """Whether a request asks for the initial value of a variable that exists, as far as that can be told."""
    asked = defaults.settled("initializer", options.get("initializer"))
    asked = initializers.fitting(asked, options.get("fallback_initializer") or initializers.default(spec.dtype))
    if is_value(asked) or is_value(spec.initializer):
        return not (isinstance(asked, bool | int | float) and isinstance(spec.initializer, bool | int | float)) or (
            asked == spec.initializer
        )
    if isinstance(spec.initializer, DataDependent):
        return True
    # What is made anew in each trace, and cannot be taken apart, differs from itself.
    first, second = same(spec.initializer), same(asked)
    return not (first.by_value and second.by_value) or first == second


def _check_may_create(frame: Frame, context: Context, request: Request) -> None:
    if (context.defaults.reuse if request.reuse is None else request.reuse) is True:
        raise errors.MissingVariableError(
            f"Variable `{request.path}` does not exist, but was asked for with `reuse=True` at {request.site}."
            f"{_text.did_you_mean(request.path, frame.specs)}\n"
            "Create it first, or allow both with `reuse=jscope.AUTO_REUSE`."
        )
    if context.lifted is not None and context.lifted.refusal is not None:
        raise errors.InvalidArgumentError(
            f"Variable `{request.path}` would be created {context.lifted.refusal} (at {request.site})."
        )


def new_spec(
    path: str,
    defaults: Defaults,
    site: str,
    *,
    shape: ShapeLike | None = None,
    dtype: DType = None,
    initializer: Any = None,
    fallback_initializer: Any = None,
    trainable: bool = True,
    regularizer: Any = None,
    constraint: Any = None,
    partitioner: Partitioner | None = None,
    axes: Axes | None = None,
    collections: Iterable[str] = (),
) -> VariableSpec:
    """Returns the spec of a variable that is being created, defaults filled in and everything checked."""
    try:
        initializer = defaults.settled("initializer", initializer)
        if fallback_initializer is not None:
            initializer = defaults.settled("initializer", initializers.fitting(initializer, fallback_initializer))
        regularizer, constraint = (
            defaults.settled("regularizer", regularizer),
            defaults.settled("constraint", constraint),
        )
        partitioner = defaults.settled("partitioner", partitioner)
    except Exception as error:
        # It is known there what may be a default, but not whose it is.
        error.add_note(f"jscope: while creating `{path}` at {site}")
        raise
    full_shape, full_dtype = _shape_and_dtype(path, shape, dtype, defaults.dtype, initializer)
    if not isinstance(trainable, bool):
        raise errors.InvalidArgumentError(f"trainable={trainable!r} of `{path}` must be True or False.")
    return VariableSpec(
        path=path,
        shape=full_shape,
        dtype=full_dtype,
        initializer=initializers.default(full_dtype) if initializer is None else initializer,
        trainable=trainable,
        regularizer=regularizer,
        constraint=constraint,
        axes=_axes(path, full_shape, full_dtype, axes, partitioner),
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


def _shape_and_dtype(
    path: str, shape: ShapeLike | None, dtype: DType, inherited: DType, initializer: Any
) -> tuple[Shape, np.dtype[Any]]:
    if is_value(initializer):
        return _of_value(path, shape, dtype, initializer)
    if shape is None:
        raise errors.ShapeMismatchError(
            f"Variable `{path}` is new, so its shape must be given: `get_variable(name, shape)`.\nIt may be left "
            "out only where the variable exists already, or where the initializer is an array or number."
        )
    return checked_shape(path, shape), checked_dtype(path, inherited if dtype is None or dtype is OFF else dtype)


def _of_value(path: str, shape: ShapeLike | None, dtype: DType, value: Any) -> tuple[Shape, np.dtype[Any]]:
    """Returns the shape and dtype that an array or number gives to a variable that starts with it."""
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
        # A Python number has no dtype of its own: it takes any that holds it exactly.
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
    if isinstance(axes, str) or not isinstance(axes, Iterable) or len(tuple(axes)) != len(shape):
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


def _stacked(spec: VariableSpec, stack: tuple[StackAxis, ...]) -> VariableSpec:
    """Returns the spec with the leading axes of the lifts around it."""
    if not stack:
        return spec
    axes = None if spec.axes is None else (*(axis.name for axis in stack), *spec.axes)
    return replace(spec, shape=(*(axis.size for axis in stack), *spec.shape), stack=stack, axes=axes)


def _without_tracers(frame: Frame, spec: VariableSpec) -> VariableSpec:
    """Returns a spec that stores no tracer, but says where the initial value depends on data."""
    # The same initializer serves many variables, and to find out what it captures takes a trace.
    if id(spec.initializer) in frame.data_free or not _depends_on_data(spec):
        frame.data_free[id(spec.initializer)] = spec.initializer
        return spec
    if frame.trace() != 0:
        raise errors.NativeTransformError(
            f"The initial value of `{spec.path}` (created at {spec.site}) depends on data inside a JAX transform, "
            "where it cannot be computed.\nCreate the variable outside the transform, or give it an initializer "
            "function that depends only on its key, shape and dtype."
        )
    return replace(spec, initializer=DataDependent(spec.path))


def _depends_on_data(spec: VariableSpec) -> bool:
    if is_value(spec.initializer):
        return isinstance(spec.initializer, Tracer)
    # What compares by value was taken apart, and held no tracer.
    if same(spec.initializer).by_value:
        return False
    key = jax.eval_shape(lambda: jax.random.key(0))
    assert callable(spec.initializer)
    with making(spec):
        make = spec.initializer
        jaxpr = jax.make_jaxpr(lambda key: make(key, spec.shape, spec.dtype))(key)
    return any(isinstance(const, Tracer) for const in jaxpr.consts)
