"""Variables of models: created into `MODEL_VARIABLES`, and listed by scope and by the ends of their names."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from jscope import _path
from jscope.tf1._arguments import VariableAggregation, VariableSynchronization
from jscope.tf1._collections import GraphKeys, add_to_collection, get_collection
from jscope.tf1._errors import ArgumentError, ArgumentTypeError
from jscope.tf1._get_variable import get_variable
from jscope.tf1._scopes import VariableScope, get_variable_scope
from jscope.tf1._variables import Variable
from jscope.tf1.contrib.framework._arg_scope import add_arg_scope


@add_arg_scope
def variable(
    name: Any,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Callable[..., Any] | None = None,
    trainable: bool = True,
    collections: Any = None,
    caching_device: Any = None,
    device: Any = None,
    partitioner: Callable[..., Any] | None = None,
    custom_getter: Callable[..., Any] | None = None,
    use_resource: bool | None = None,
    synchronization: Any = VariableSynchronization.AUTO,
    aggregation: Any = VariableAggregation.NONE,
) -> Any:
    """Gets or creates a variable, as `get_variable`; `device` is without effect."""
    keys = [GraphKeys.GLOBAL_VARIABLES] if collections is None else list(dict.fromkeys(collections))
    getter: Callable[..., Any] = get_variable
    if custom_getter is not None:
        getter = functools.partial(custom_getter, reuse=get_variable_scope().reuse)
    return getter(
        name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=trainable,
        collections=keys,
        caching_device=caching_device,
        partitioner=partitioner,
        use_resource=use_resource,
        synchronization=synchronization,
        aggregation=aggregation,
    )


@add_arg_scope
def model_variable(
    name: Any,
    shape: Any = None,
    dtype: Any = "float32",
    initializer: Any = None,
    regularizer: Callable[..., Any] | None = None,
    trainable: bool = True,
    collections: Any = None,
    caching_device: Any = None,
    device: Any = None,
    partitioner: Callable[..., Any] | None = None,
    custom_getter: Callable[..., Any] | None = None,
    use_resource: bool | None = None,
    synchronization: Any = VariableSynchronization.AUTO,
    aggregation: Any = VariableAggregation.NONE,
) -> Any:
    """Gets or creates a variable that is in `MODEL_VARIABLES` as well.

    >>> from jscope import tf1
    >>> def model():
    ...     tf1.contrib.framework.model_variable("w", [2])
    ...     return [v.name for v in tf1.contrib.framework.get_model_variables()]
    >>> tf1.transform(model).apply({"w": jnp.ones(2)})
    ['w:0']
    """
    return variable(
        name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=trainable,
        collections=[*(collections or ()), GraphKeys.GLOBAL_VARIABLES, GraphKeys.MODEL_VARIABLES],
        caching_device=caching_device,
        device=device,
        partitioner=partitioner,
        custom_getter=custom_getter,
        use_resource=use_resource,
        synchronization=synchronization,
        aggregation=aggregation,
    )


def local_variable(
    initial_value: Any, validate_shape: bool = True, name: str | None = None, use_resource: bool | None = None
) -> Any:
    """Creates a variable in `LOCAL_VARIABLES`, as `tf1.Variable`; it is not trained."""
    keys = [GraphKeys.LOCAL_VARIABLES]
    return Variable(initial_value, trainable=False, collections=keys, validate_shape=validate_shape, name=name)


def global_variable(
    initial_value: Any, validate_shape: bool = True, name: str | None = None, use_resource: bool | None = None
) -> Any:
    """Creates a variable in `GLOBAL_VARIABLES`, as `tf1.Variable`; it is not trained."""
    return Variable(initial_value, trainable=False, validate_shape=validate_shape, name=name)


def add_model_variable(var: Any) -> None:
    """Puts a variable into `MODEL_VARIABLES`, unless it is there."""
    add_once(GraphKeys.MODEL_VARIABLES, var)


def add_once(collection: Any, item: Any) -> None:
    """Puts an item into a collection, unless it is there."""
    # By identity: `in` compares by `==`, which items that are arrays answer for each element.
    if not any(each is item for each in get_collection(collection)):
        add_to_collection(collection, item)


def get_variables(
    scope: Any = None, suffix: str | None = None, collection: Any = GraphKeys.GLOBAL_VARIABLES
) -> list[Any]:
    """Returns the variables of a collection whose names begin with `scope` (a regex) and end with `suffix`."""
    prefix = scope.name if isinstance(scope, VariableScope) else scope
    if suffix is not None:
        # Names end in a number after a colon, which a suffix may leave out.
        # Only one regular expression, which must match from the beginning of a name: so all before the suffix is let
        # through.
        prefix = f"{prefix or ''}.*{suffix}" + ("" if ":" in suffix else ":")
    return get_collection(collection, prefix)


def get_model_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """Returns the variables in `MODEL_VARIABLES`; arguments as in `get_variables`."""
    return get_variables(scope, suffix, GraphKeys.MODEL_VARIABLES)


def get_local_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """Returns the variables in `LOCAL_VARIABLES`; arguments as in `get_variables`."""
    return get_variables(scope, suffix, GraphKeys.LOCAL_VARIABLES)


def get_trainable_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """Returns the variables in `TRAINABLE_VARIABLES`; arguments as in `get_variables`."""
    return get_variables(scope, suffix, GraphKeys.TRAINABLE_VARIABLES)


def get_variables_by_suffix(suffix: str, scope: Any = None) -> list[Any]:
    """Returns the variables whose names end with `suffix`."""
    return get_variables(scope, suffix)


def get_variables_by_name(given_name: str, scope: Any = None) -> list[Any]:
    """Returns the variables whose last name is `given_name`."""
    return get_variables(scope, f"{_path.SEPARATOR}{given_name}:|^{given_name}:")


def get_unique_variable(var_op_name: str) -> Any:
    """Returns the variable with this full name.

    Raises:
      ValueError: There is none.
    """
    candidates = get_variables(var_op_name)
    # A name is a prefix of others (`w` of `w_1`), which TensorFlow finds as well and passes over.
    exact = [each for each in candidates if each.op.name == var_op_name]
    if not exact:
        raise ArgumentError(f"Variable {var_op_name} does not uniquely identify a variable")
    return exact[0]


def get_variable_full_name(var: Any) -> str:
    """Returns the full name of a variable, as a checkpoint has it."""
    return var.op.name


def get_variables_to_restore(include: Any = None, exclude: Any = None) -> list[Any]:
    """Returns the global variables under the scopes of `include` (all, if None) and not under those of `exclude`."""
    for what, given in (("include", include), ("exclude", exclude)):
        if given is not None and not isinstance(given, list | tuple):
            raise ArgumentTypeError(f"{what} is provided but is not a list or a tuple.")
    wanted = get_variables() if include is None else [each for scope in include for each in get_variables(scope)]
    left_out = {id(each) for scope in exclude or () for each in get_variables(scope)}
    return [each for each in wanted if id(each) not in left_out]


def filter_variables(
    var_list: list[Any],
    include_patterns: Any = None,
    exclude_patterns: Any = None,
    reg_search: bool = True,
) -> list[Any]:
    """Returns the variables whose names match one of `include_patterns` (all, if None), and none of the others."""
    found = re.search if reg_search else re.match
    kept = var_list if include_patterns is None else _matching(var_list, include_patterns, found)
    left_out = {id(each) for each in _matching(kept, exclude_patterns or (), found)}
    return [each for each in kept if id(each) not in left_out]


def _matching(variables: list[Any], patterns: Any, found: Callable[..., Any]) -> list[Any]:
    return [each for each in variables if any(found(pattern, each.op.name) for pattern in patterns)]
