"""`get_variable`, from the call to the handle.

The order of the checks is TensorFlow's, since it decides which error a program sees: the constant's dtype; the
getters; the partitioner; a shape beside a constant; then what exists (reuse, shape, dtype), then what is to be created.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from jscope._util._stack import call_site
from jscope.tf1 import _bridge, _creating, _dtypes, _partition, _reuse
from jscope.tf1._ambient import Ambient, current
from jscope.tf1._arguments import VariableAggregation, VariableSynchronization, resolve_synchronization
from jscope.tf1._caches import current_trace
from jscope.tf1._collections import GraphKeys
from jscope.tf1._errors import ArgumentError, advised
from jscope.tf1._initial import dtype_of_constant, is_constant
from jscope.tf1._request import VariableRequest
from jscope.tf1._scopes import VariableScope, as_reuse
from jscope.tf1._shapes import TensorShape, as_shape
from jscope.tf1._sites import Site, site_above

SYNCHRONIZATION_AUTO, AGGREGATION_NONE = VariableSynchronization.AUTO, VariableAggregation.NONE
GETTER_OPTIONS = (
    *("shape", "dtype", "initializer", "regularizer", "trainable", "collections", "caching_device", "partitioner"),
    *("validate_shape", "use_resource", "constraint", "synchronization", "aggregation", "reuse"),
)
"""What a custom getter is given by name, beside `getter` and `name`."""


def get_variable(
    name: Any,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Callable[..., Any] | None = None,
    constraint: Callable[..., Any] | None = None,
    synchronization: Any = SYNCHRONIZATION_AUTO,
    aggregation: Any = AGGREGATION_NONE,
) -> Any:
    """Gets an existing variable, or creates a new one, as the current variable scope says.

    >>> from jscope import tf1
    >>> def model(x):
    ...     with tf1.variable_scope("layer", reuse=tf1.AUTO_REUSE):
    ...         return x @ tf1.get_variable("w", [2, 2]) @ tf1.get_variable("w", [2, 2])
    >>> params = tf1.transform(model).init(jax.random.key(0), jnp.ones((1, 2)))
    >>> jscope.tree.names(params)
    ['layer/w']

    Args:
      name: Its name below the current scope.
      shape: Its shape: an int, a sequence or an array. Must not be given with a constant initializer.
      dtype: Its dtype; the scope's (float32) if None.
      initializer: TensorFlow's (`(shape, dtype=dtype)`) or jscope's (`(key, shape, dtype)`), or a value.
      regularizer: Its penalty, or None for the scope's; `tf1.no_regularizer` for none.
      trainable: Whether it is a param (true, the default) or state.
      collections: Keys of the collections to put it in, in place of `GLOBAL_VARIABLES`.
      caching_device: Accepted, without effect.
      partitioner: Decides which axis to shard; the variable stays one array.
      validate_shape: Accepted, without effect.
      use_resource: Accepted, without effect.
      custom_getter: A getter in place of those of the scope.
      constraint: The projection onto its allowed values.
      synchronization: Accepted and checked; `ON_READ` makes it not trainable.
      aggregation: Accepted and checked, without effect.

    Raises:
      ValueError: It exists and reuse is off, or the other way round; or shape, dtype and initializer disagree.
      TypeError: The shape, the dtype or the name has a wrong type.
    """
    ambient = current("get_variable")
    # Of all that `note_use` does, nearly always nothing but this is needed.
    if current_trace(()) is not ambient.watch.noted_untraced:
        ambient.note_use("Variable {!r} was asked for", name)
    plain = synchronization is SYNCHRONIZATION_AUTO and aggregation is AGGREGATION_NONE and trainable in (None, True)
    plain = plain and regularizer is collections is caching_device is partitioner is custom_getter is None
    if plain and not ambient.collecting:
        found = _creating.find_at_once(ambient, name, shape, dtype, initializer, constraint)
        if found is not None:
            return found
    request = VariableRequest(
        name=name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=trainable,
        collections=collections,
        caching_device=caching_device,
        partitioner=partitioner,
        validate_shape=validate_shape,
        use_resource=use_resource,
        constraint=constraint,
        synchronization=synchronization,
        aggregation=aggregation,
        site=call_site() if ambient.collecting else site_above(2),
    )
    return _answer(ambient, request, custom_getter)


def get_local_variable(
    name: Any,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = False,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Callable[..., Any] | None = None,
    constraint: Callable[..., Any] | None = None,
    synchronization: Any = SYNCHRONIZATION_AUTO,
    aggregation: Any = AGGREGATION_NONE,
) -> Any:
    """Gets or creates a variable that is never trainable, in `LOCAL_VARIABLES`. Otherwise as `get_variable`."""
    current("get_local_variable")
    # In place, into the caller's list, and whatever `trainable` says: both as in TensorFlow.
    if collections:
        collections += [GraphKeys.LOCAL_VARIABLES]
    else:
        collections = [GraphKeys.LOCAL_VARIABLES]
    return get_variable(
        name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=False,
        collections=collections,
        caching_device=caching_device,
        partitioner=partitioner,
        validate_shape=validate_shape,
        use_resource=use_resource,
        custom_getter=custom_getter,
        constraint=constraint,
        synchronization=synchronization,
        aggregation=aggregation,
    )


def _answer(ambient: Ambient, request: VariableRequest, custom: Any) -> Any:
    """Answers a `get_variable` call: fills in what the current scope says, and runs the getters."""
    scope: VariableScope = ambient.memory.variable_scope
    request.name = _bridge.join(scope.name, request.name)
    # Before the scope's defaults are known: TensorFlow lets a constant that comes from the scope override the dtype.
    _check_constant_dtype(request)
    request.take_defaults(scope)
    # A getter that is passed replaces those of the scope; only scopes nest theirs.
    custom = scope.custom_getter if custom is None else custom
    if custom is not None and not callable(custom):
        raise ArgumentError(f"Passed a custom_getter which is not callable: {custom}")
    request.synchronization, request.aggregation, request.trainable = resolve_synchronization(
        request.synchronization, request.aggregation, request.trainable, request.name
    )
    if custom is None:
        return _get(ambient, request)
    options = {role: getattr(request, role) for role in GETTER_OPTIONS}
    # Getters written before TensorFlow had constraints do not know the argument.
    if not _takes_constraint(custom):
        del options["constraint"]
    getter = functools.partial(_true_getter, ambient, request.site, scope.reuse_site)
    return custom(getter=getter, name=request.name, **options)


def _true_getter(
    ambient: Ambient,
    site: str | Site,
    reuse_site: str,
    /,
    name: Any,
    shape: Any = None,
    dtype: Any = _dtypes.FLOAT32,
    initializer: Any = None,
    regularizer: Any = None,
    reuse: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    constraint: Any = None,
    synchronization: Any = SYNCHRONIZATION_AUTO,
    aggregation: Any = AGGREGATION_NONE,
) -> Any:
    """Ends every chain of getters. It knows the current scope only by what the getters pass on."""
    # A getter that leaves `reuse` out passes None, which from here on means `AUTO_REUSE`, as in TensorFlow.
    request = VariableRequest(
        name=name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        reuse=as_reuse(reuse),
        trainable=trainable,
        collections=collections,
        caching_device=caching_device,
        partitioner=partitioner,
        validate_shape=validate_shape,
        use_resource=use_resource,
        constraint=constraint,
        synchronization=synchronization,
        aggregation=aggregation,
        site=site,
        reuse_site=reuse_site,
    )
    return _get(ambient, request)


def _get(ambient: Ambient, request: VariableRequest) -> Any:
    partitioner = request.partitioner
    request.trainable = request.trainable is None or bool(request.trainable)
    if partitioner is not None and not _is_written_as_scalar(request.shape):
        if not callable(partitioner):
            raise ArgumentError(f"Partitioner must be callable, but received: {partitioner}")
        return _get_partitioned(ambient, request, partitioner)
    found = _reuse.stored(ambient, request.name)
    cut = getattr(getattr(found, "facts", None), "partitions", None) is not None
    # Of the flags, only True promises that the variable exists, so only with it may the partitioner be left out.
    if cut and request.reuse is True and partitioner is None:
        return _get_partitioned(ambient, request, None)
    if cut:
        part = _bridge.join(request.name, "part_0")
        raise ArgumentError(
            f"No partitioner was provided, but a partitioned version of the variable was found: {part}. "
            "Perhaps a variable of the same name was already created with partitioning?"
        )
    return _get_single(ambient, request)


def _get_single(ambient: Ambient, request: VariableRequest) -> Any:
    # Before looking whether the variable exists: even reusing one with both is an error.
    if request.shape is not None and is_constant(request.initializer):
        raise ArgumentError(
            advised(
                "If initializer is a constant, do not specify shape.",
                f"This is about `{request.name}`, asked for at {request.site}. "
                "`tf1.constant_initializer(value)` fills a shape.",
            )
        )
    request.dtype, request.shape = _dtypes.as_dtype(request.dtype), as_shape(request.shape)
    if _reuse.exists(ambient, request.name):
        if request.reuse is False:
            raise _reuse.exists_error(ambient, request)
        return _reuse.get_existing(ambient, request)
    # In `apply`, code may reuse what other code created in `init`: then the params have it.
    if request.reuse is True and not _reuse.is_in_params(ambient, request.name):
        raise _reuse.missing_error(ambient, request)
    return _creating.create(ambient, request)


def _is_written_as_scalar(shape: Any) -> bool:
    """Whether the shape is an empty list or tuple. TensorFlow does not recognise an empty `TensorShape` here."""
    return isinstance(shape, list | tuple) and not isinstance(shape, TensorShape) and not shape


def _get_partitioned(ambient: Ambient, request: VariableRequest, partitioner: Any) -> Any:
    found, exists = _reuse.stored(ambient, request.name), _reuse.exists(ambient, request.name)
    facts = getattr(found, "facts", None)
    if exists and getattr(facts, "partitions", None) is None:
        raise ArgumentError(
            f"A partitioner was provided, but an unpartitioned version of the variable was found: {request.name}.  "
            "Perhaps a variable of the same name was already created without partitioning?"
        )
    request.dtype, request.shape = _dtypes.as_dtype(request.dtype), as_shape(request.shape)
    _creating.take_shape_of_tensor(request)
    # Also where the variable exists: reuse compares what the partitioner says now with what it said then.
    if partitioner is not None:
        request.partitions = _partition.call_partitioner(partitioner, request.shape, request.dtype)
    if exists:
        if request.reuse is False:
            raise _reuse.exists_error(ambient, request, partitioned=True)
        return _reuse.get_existing(ambient, request)
    if request.reuse is True:
        raise _reuse.missing_error(ambient, request, partitioned=True)
    assert request.shape is not None
    # TensorFlow notices this while it makes the shards, after everything else was in order.
    _partition.check_offsets(request.shape, request.partitions)
    return _creating.create(ambient, request)


def _check_constant_dtype(request: VariableRequest) -> None:
    dtype = request.dtype
    if dtype is None or not is_constant(request.initializer):
        return
    found = dtype_of_constant(request.initializer)
    if _dtypes.name(found) != _dtypes.name(dtype):
        raise ArgumentError(
            advised(
                f"Initializer type '{_dtypes.name(found)}' and explicit dtype '{_dtypes.name(dtype)}' don't match.",
                f"This is about `{request.name}`. Leave the dtype out, or convert the initial value.",
            )
        )


def _takes_constraint(getter: Callable[..., Any]) -> bool:
    # Plain functions say it in their code; `inspect.signature` takes longer than all the rest of a request.
    if getter.__class__ is types.FunctionType and not vars(getter):
        code = getter.__code__
        named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return "constraint" in named or bool(code.co_flags & inspect.CO_VARKEYWORDS)
    try:
        parameters = inspect.signature(getter).parameters.values()
    except (TypeError, ValueError):
        return True  # Some callables of C have no signature to look at.
    return any(p.name == "constraint" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
