"""`get_variable`, from the request to the handle.

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
from jscope.tf1 import _arguments, _bridge, _creating, _dtypes, _partition
from jscope.tf1._ambient import Ambient, current
from jscope.tf1._collections import GraphKeys
from jscope.tf1._creating import Wish
from jscope.tf1._errors import ArgumentError, advised
from jscope.tf1._initial import is_constant
from jscope.tf1._reuse import exists, in_params, refuse_existing, refuse_missing, shared
from jscope.tf1._scopes import VariableScope, as_reuse
from jscope.tf1._shapes import TensorShape, as_shape

AUTO, NONE = _arguments.VariableSynchronization.AUTO, _arguments.VariableAggregation.NONE
OPTIONS = (
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
    synchronization: Any = AUTO,
    aggregation: Any = NONE,
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
      shape: Its shape: an int, a sequence, an array. Must not be given with a constant initializer.
      dtype: Its dtype; the scope's (float32) if None.
      initializer: TensorFlow's (`(shape, dtype=dtype)`) or jscope's (`(key, shape, dtype)`), or a value.
      regularizer: Its penalty, or None for the scope's; `tf1.no_regularizer` for none.
      trainable: Whether it is a param (true, the default) or state.
      collections: Keys of the collections to put it in, in place of `GLOBAL_VARIABLES`.
      caching_device: Accepted, without effect.
      partitioner: Says how to shard it; it stays one array.
      validate_shape: Accepted, without effect.
      use_resource: Accepted, without effect.
      custom_getter: A getter in place of those of the scope.
      constraint: The projection onto its allowed values.
      synchronization: Accepted and checked; `ON_READ` makes it not trainable.
      aggregation: Accepted and checked, without effect.

    Raises:
      ValueError: It exists and reuse is off, or the other way round; or shape, dtype, initializer do not fit together.
      TypeError: The shape, the dtype or the name is of a wrong type.
    """
    ambient = current("get_variable")
    if not ambient.collecting and trainable in (None, True) and synchronization is AUTO and aggregation is NONE:
        ambient.arrive("Variable {!r} was asked for", name)
        if regularizer is collections is caching_device is partitioner is custom_getter is None:
            found = _creating.existing(ambient, name, shape, dtype, initializer, constraint)
            if found is not None:
                return found
    wish = Wish(
        name,
        shape,
        dtype,
        initializer,
        regularizer,
        None,
        trainable,
        collections,
        caching_device,
        partitioner,
        validate_shape,
        use_resource,
        constraint,
        synchronization,
        aggregation,
    )
    return request(ambient, wish, custom_getter, call_site())


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
    synchronization: Any = AUTO,
    aggregation: Any = NONE,
) -> Any:
    """Gets or creates a variable that is never trainable, in `LOCAL_VARIABLES`. Else as `get_variable`."""
    ambient = current("get_local_variable")
    if collections:
        collections += [GraphKeys.LOCAL_VARIABLES]
    else:
        collections = [GraphKeys.LOCAL_VARIABLES]
    wish = Wish(
        name,
        shape,
        dtype,
        initializer,
        regularizer,
        None,
        False,
        collections,
        caching_device,
        partitioner,
        validate_shape,
        use_resource,
        constraint,
        synchronization,
        aggregation,
    )
    return request(ambient, wish, custom_getter, call_site())


def request(ambient: Ambient, wish: Wish, custom: Any, site: str) -> Any:
    """Answers a `get_variable` call: fills in what the current scope says, and runs the getters."""
    ambient.arrive("Variable {!r} was asked for", wish.name)
    scope: VariableScope = ambient.memory.current
    wish.name = _bridge.join(scope.name, wish.name)
    _check_constant_dtype(wish)
    _take_defaults(wish, scope)
    wish.site, wish.reuse_site = site, scope.reuse_site
    custom = scope.custom_getter if custom is None else custom
    if custom is not None and not callable(custom):
        raise ArgumentError(f"Passed a custom_getter which is not callable: {custom}")
    wish.synchronization, wish.aggregation, wish.trainable = _arguments.resolve_synchronization(
        wish.synchronization, wish.aggregation, wish.trainable, wish.name
    )
    if custom is None:
        return _get(ambient, wish)
    options = {role: getattr(wish, role) for role in OPTIONS}
    if not _takes_constraint(custom):
        del options["constraint"]
    true_getter = functools.partial(getter, ambient, site, scope.reuse_site)
    return custom(getter=true_getter, name=wish.name, **options)


def _take_defaults(wish: Wish, scope: VariableScope) -> None:
    wish.reuse = scope.reuse
    if wish.initializer is None:
        wish.initializer = scope.initializer
    if wish.regularizer is None:
        wish.regularizer = scope.regularizer
    if wish.caching_device is None:
        wish.caching_device = scope.caching_device
    if wish.partitioner is None:
        wish.partitioner = scope.partitioner
    if wish.dtype is None:
        wish.dtype = scope.dtype
    if wish.use_resource is None:
        wish.use_resource = scope.use_resource
    if wish.constraint is None:
        wish.constraint = scope.constraint


def getter(
    ambient: Ambient,
    site: str,
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
    synchronization: Any = AUTO,
    aggregation: Any = NONE,
) -> Any:
    """Ends every chain of getters: it gets or creates, and knows no scope but the names it is given."""
    wish = Wish(
        name,
        shape,
        dtype,
        initializer,
        regularizer,
        as_reuse(reuse),
        trainable,
        collections,
        caching_device,
        partitioner,
        validate_shape,
        use_resource,
        constraint,
        synchronization,
        aggregation,
    )
    wish.site, wish.reuse_site = site, reuse_site
    return _get(ambient, wish)


def _get(ambient: Ambient, wish: Wish) -> Any:
    partitioner = wish.partitioner
    wish.trainable = wish.trainable is None or bool(wish.trainable)
    if partitioner is not None and not _is_scalar(wish.shape):
        if not callable(partitioner):
            raise ArgumentError(f"Partitioner must be callable, but received: {partitioner}")
        return _get_partitioned(ambient, wish, partitioner)
    found = shared(ambient, wish.name)
    cut = found is not None and getattr(getattr(found, "facts", None), "partitions", None) is not None
    if cut and wish.reuse is True and partitioner is None:
        return _get_partitioned(ambient, wish, None)
    if cut:
        raise ArgumentError(
            f"No partitioner was provided, but a partitioned version of the variable was found: {wish.name}/part_0. "
            "Perhaps a variable of the same name was already created with partitioning?"
        )
    return _get_single(ambient, wish)


def _get_single(ambient: Ambient, wish: Wish) -> Any:
    if wish.shape is not None and is_constant(wish.initializer):
        raise ArgumentError(
            advised(
                "If initializer is a constant, do not specify shape.",
                f"This is about `{wish.name}`, asked for at {wish.site}. `tf1.constant_initializer(value)` fills a "
                "shape.",
            )
        )
    wish.dtype, wish.shape = _dtypes.as_dtype(wish.dtype), as_shape(wish.shape)
    if exists(ambient, wish.name):
        if wish.reuse is False:
            raise refuse_existing(ambient, wish.name, wish.site)
        return _creating.agreeing(ambient, wish)
    if wish.reuse is True and not in_params(ambient, wish.name):
        raise refuse_missing(ambient, wish.name, wish.site, wish.reuse_site)
    return _creating.create(ambient, wish)


def _is_scalar(shape: Any) -> bool:
    return isinstance(shape, list | tuple) and not isinstance(shape, TensorShape) and not shape


def _get_partitioned(ambient: Ambient, wish: Wish, partitioner: Any) -> Any:
    found, there = shared(ambient, wish.name), exists(ambient, wish.name)
    facts = getattr(found, "facts", None)
    if there and getattr(facts, "partitions", None) is None:
        raise ArgumentError(
            f"A partitioner was provided, but an unpartitioned version of the variable was found: {wish.name}.  "
            "Perhaps "
            "a variable of the same name was already created without partitioning?"
        )
    wish.dtype, wish.shape = _dtypes.as_dtype(wish.dtype), as_shape(wish.shape)
    _creating.take_shape_of_tensor(wish)
    if partitioner is not None:
        wish.partitions = _partition.call(partitioner, wish.shape, wish.dtype)
    if there:
        if wish.reuse is False:
            raise refuse_existing(ambient, wish.name, wish.site, partitioned=True)
        return _creating.agreeing(ambient, wish)
    if wish.reuse is True:
        raise refuse_missing(ambient, wish.name, wish.site, wish.reuse_site, partitioned=True)
    assert wish.shape is not None
    _partition.check_offsets(wish.shape, wish.partitions)
    return _creating.create(ambient, wish)


def _check_constant_dtype(wish: Wish) -> None:
    dtype = wish.dtype
    if dtype is None or not is_constant(wish.initializer):
        return
    found = _dtypes.as_constant(_creating.plain(wish.initializer)).dtype
    if _dtypes.name(found) != _dtypes.name(dtype):
        raise ArgumentError(
            advised(
                f"Initializer type '{_dtypes.name(found)}' and explicit dtype '{_dtypes.name(dtype)}' don't match.",
                f"This is about `{wish.name}`. Leave the dtype out, or convert the initial value.",
            )
        )


def _takes_constraint(getter: Callable[..., Any]) -> bool:
    if getter.__class__ is types.FunctionType and not vars(getter):
        code = getter.__code__
        named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return "constraint" in named or bool(code.co_flags & inspect.CO_VARKEYWORDS)
    try:
        parameters = inspect.signature(getter).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.name == "constraint" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
