"""`get_variable`, from the request to the handle.

The order of the checks is TensorFlow's, since it decides which error a program sees: the constant's dtype; the
getters; the partitioner; a shape beside a constant; then what exists (reuse, shape, dtype), then what is to be created.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from jscope._stack import call_site
from jscope.tf1 import _core, _creating, _dtypes, _partition, _sync
from jscope.tf1._ambient import Ambient, current
from jscope.tf1._collections import GraphKeys
from jscope.tf1._errors import ArgumentError, advised
from jscope.tf1._initial import is_constant
from jscope.tf1._scopes import VariableScope, as_reuse
from jscope.tf1._shapes import TensorShape, as_shape
from jscope.tf1._sharing import exists, in_params, refuse_existing, refuse_missing, shared

AUTO, NONE = _sync.VariableSynchronization.AUTO, _sync.VariableAggregation.NONE


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
    options = {key: value for key, value in locals().items() if key not in ("name", "custom_getter")}
    return request(current("get_variable"), name, options, custom_getter, call_site())


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
    options = {key: value for key, value in locals().items() if key not in ("name", "custom_getter")}
    if collections:
        collections += [GraphKeys.LOCAL_VARIABLES]
    else:
        collections = [GraphKeys.LOCAL_VARIABLES]
    options |= {"trainable": False, "collections": collections}
    return request(current("get_local_variable"), name, options, custom_getter, call_site())


def request(ambient: Ambient, name: Any, options: dict[str, Any], getter: Any, site: str) -> Any:
    """Answers a `get_variable` call: fills in what the current scope says, and runs the getters."""
    ambient.arrive(f"Variable {name!r} was asked for")
    scope: VariableScope = ambient.memory.current
    for role in ("regularizer", "caching_device", "partitioner", "use_resource"):
        if options[role] is None:
            options[role] = getattr(scope, role)
    full_name = _core.join(scope.name, name)
    _check_constant_dtype(full_name, options["dtype"], options["initializer"])
    for role in ("initializer", "constraint", "dtype"):
        if options[role] is None:
            options[role] = getattr(scope, role)
    options["reuse"] = scope.reuse
    getter = scope.custom_getter if getter is None else getter
    if getter is not None and not callable(getter):
        raise ArgumentError(f"Passed a custom_getter which is not callable: {getter}")
    options.update(_sync.checked(options["synchronization"], options["aggregation"], options["trainable"], full_name))
    true_getter = _true_getter(ambient, site, scope.reuse_site)
    if getter is None:
        return true_getter(full_name, **options)
    if not _takes_constraint(getter):
        del options["constraint"]
    return getter(getter=true_getter, name=full_name, **options)


def _true_getter(ambient: Ambient, site: str, reuse_site: str) -> Callable[..., Any]:
    """Returns the end of every chain of getters: it gets or creates, and knows no scope but the names it is given."""

    def getter(
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
        wish = _creating.Wish(
            name, shape, dtype, initializer, regularizer, as_reuse(reuse), trainable is None or bool(trainable)
        )
        wish.collections, wish.caching_device, wish.constraint = collections, caching_device, constraint
        wish.synchronization, wish.aggregation, wish.validate_shape = synchronization, aggregation, validate_shape
        wish.site, wish.reuse_site, wish.use_resource = site, reuse_site, use_resource
        return _get(ambient, wish, partitioner)

    return getter


def _get(ambient: Ambient, wish: Any, partitioner: Any) -> Any:
    scalar = isinstance(wish.shape, list | tuple) and not isinstance(wish.shape, TensorShape) and not wish.shape
    if partitioner is not None and not scalar:
        if not callable(partitioner):
            raise ArgumentError(f"Partitioner must be callable, but received: {partitioner}")
        return _get_partitioned(ambient, wish, partitioner)
    found = shared(ambient, wish.name)
    cut = getattr(getattr(found, "facts", None), "partitions", None) is not None
    if cut and wish.reuse is True and partitioner is None:
        return _get_partitioned(ambient, wish, None)
    if cut:
        raise ArgumentError(
            f"No partitioner was provided, but a partitioned version of the variable was found: {wish.name}/part_0. "
            "Perhaps a variable of the same name was already created with partitioning?"
        )
    return _get_single(ambient, wish)


def _get_single(ambient: Ambient, wish: Any) -> Any:
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


def _get_partitioned(ambient: Ambient, wish: Any, partitioner: Any) -> Any:
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


def _check_constant_dtype(name: Any, dtype: Any, initializer: Any) -> None:
    if dtype is None or not is_constant(initializer):
        return
    found = _dtypes.as_constant(_creating.plain(initializer)).dtype
    if _dtypes.name(found) != _dtypes.name(dtype):
        raise ArgumentError(
            advised(
                f"Initializer type '{_dtypes.name(found)}' and explicit dtype '{_dtypes.name(dtype)}' don't match.",
                f"This is about `{name}`. Leave the dtype out, or convert the initial value.",
            )
        )


def _takes_constraint(getter: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(getter).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.name == "constraint" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
