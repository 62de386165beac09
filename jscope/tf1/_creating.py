"""Creating a variable, and returning one that exists.

A `Wish` is a `get_variable` call on its way. After scopes and getters it has a full name and no more defaults: in
`init` it becomes a spec of the core's; in `apply` it finds the value that the spec led to. Most that `apply` is asked
for needs no wish: `existing` sees at once that there is nothing to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope._util._stack import call_site
from jscope.errors import DTypeMismatchError, ShapeMismatchError
from jscope.tf1 import _bridge, _dtypes, _initial, _name_scopes, _partition
from jscope.tf1._ambient import Ambient
from jscope.tf1._arrays import plain as plain
from jscope.tf1._collections import GraphKeys, add
from jscope.tf1._creators import created
from jscope.tf1._errors import ArgumentError, ArgumentTypeError, advised
from jscope.tf1._shapes import TensorShape, are_sizes, as_shape
from jscope.tf1._variables import Facts, Variable, attached
from jscope.tf1.losses import regularized

_DEFAULT_KEYS = (GraphKeys.GLOBAL_VARIABLES, GraphKeys.TRAINABLE_VARIABLES)
UNNAMED = "Variable"
"""The name that TensorFlow gives to a variable that has none."""


@dataclass(slots=True)
class Wish:
    """A variable that is asked for: the arguments of `get_variable`, filled in step by step."""

    name: Any
    shape: Any
    dtype: Any
    initializer: Any
    regularizer: Any
    reuse: Any
    trainable: Any
    collections: Any
    caching_device: Any
    partitioner: Any
    validate_shape: bool
    use_resource: bool | None
    constraint: Any
    synchronization: Any
    aggregation: Any
    partitions: Any = None
    site: str = ""
    reuse_site: str = ""


def agreeing(ambient: Ambient, wish: Wish) -> Any:
    """Returns the variable that exists, after comparing what was asked with what is there."""
    found = ambient.memory.store.get(wish.name)
    if found is None:
        found = _adopted(ambient, wish)
    if not isinstance(found, Variable):
        return found
    facts = found.facts
    verb = f"reuse partitioned variable {wish.name}" if facts.partitions is not None else f"share variable {wish.name}"
    advice = f"It was created at {facts.site}." if facts.site else ""
    if wish.shape is not None and facts.shape is not None and not wish.shape.is_compatible_with(facts.shape):
        raise ShapeMismatchError(
            advised(f"Trying to {verb}, but specified shape {wish.shape} and found shape {facts.shape}.", advice)
        )
    if facts.dtype is not None and wish.dtype != facts.dtype:
        raise DTypeMismatchError(
            advised(
                f"Trying to {verb}, but specified dtype {wish.dtype.name} and found dtype {facts.dtype.name}.",
                advice,
                "A dtype that is not given is the scope's.",
            )
        )
    if wish.partitions is not None and facts.partitions != wish.partitions:
        raise ArgumentError(
            f"Trying to {verb}, but specified partitions {wish.partitions} and found partitions {facts.partitions}."
        )
    return found


def existing(ambient: Ambient, name: Any, shape: Any, dtype: Any, initializer: Any, constraint: Any) -> Any:
    """Returns the handle of a param that is asked for the first time, where neither getters nor checks have a say.

    None means that it takes a `Wish` to find out what comes of the request; nothing was changed then.
    """
    scope, memory = ambient.scope, ambient.memory
    here = memory.current
    if here.custom_getter is not None or here.partitioner is not None or here.regularizer is not None:
        return None
    shape = tuple(shape) if shape.__class__ is list else shape
    if name.__class__ is not str or shape.__class__ is not tuple or _bridge.has_getters(scope):
        return None
    path = _bridge.join(here.name, name)
    value = _bridge.param(scope, path)
    if value is None or getattr(value, "shape", None) != shape or not are_sizes(shape) or path in memory.store:
        return None
    if _initial.is_constant(here.initializer if initializer is None else initializer):
        return None
    found = _dtypes.as_dtype(here.dtype if dtype is None else dtype)
    _name_scopes.check_root_name(path)
    _name_scopes.mark(ambient, path)
    constraint = here.constraint if constraint is None else constraint
    variable = ambient.made.get(path)
    if not isinstance(variable, Variable):
        variable = attached(
            ambient, Facts(path, shape, found, True, constraint, here.caching_device, None, call_site())
        )
    memory.store[path] = ambient.made[path] = variable
    ambient.params[path] = value
    _collect(ambient, variable, None)
    return variable


def create(ambient: Ambient, wish: Wish) -> Any:
    """Creates the variable; in `apply`, finds it in the params."""
    path = _path_of(wish.name)
    start = _start(wish) if ambient.collecting else None
    _name_scopes.check_root_name(path)
    _name_scopes.mark(ambient, path)
    regularizer = _probed(wish, start)

    if start is None:
        variable = _found(ambient, wish, path)
        _collect(ambient, variable, wish.collections)
    else:
        variable = _new(ambient, wish, path, start, regularizer)
    ambient.memory.store[wish.name] = ambient.made[wish.name] = variable
    if regularizer is not None:
        regularized(ambient, variable, regularizer)
    return variable


def take_shape_of_tensor(wish: Wish) -> None:
    """An array of JAX as the initializer of a partitioned variable says the shape, if nothing else does."""
    value = plain(wish.initializer) if _initial.is_constant(wish.initializer) else None
    if isinstance(value, jax.Array) and wish.shape is None:
        wish.shape = as_shape(value.shape)


def _new(ambient: Ambient, wish: Wish, path: str, start: Any, regularizer: Any) -> Variable:
    def create_default(**options: Any) -> Variable:
        variable = _recorded(ambient, wish, path, start, regularizer, options)
        _collect(ambient, variable, options["collections"])
        return variable

    return created(ambient, create_default, _creator_options(wish, path, start))


def _recorded(
    ambient: Ambient, wish: Wish, path: str, start: Any, regularizer: Any, options: dict[str, Any]
) -> Variable:
    """Asks the core for the variable, and returns its handle."""
    if options["initial_value"] is not start.initializer:
        start = _initial.start(path, None, None, options["initial_value"])
    is_value = _initial.is_constant(start.initializer)
    trainable = True if options["trainable"] is None else bool(options["trainable"])
    keys = tuple(key for key in _keys(options["collections"], trainable) if isinstance(key, str))
    _bridge.create(
        ambient.scope,
        path,
        wish.site,
        shape=None if is_value else tuple(start.shape.as_list()),
        dtype=None if is_value else _dtypes.canonical(start.dtype),
        initializer=start.initializer,
        trainable=trainable,
        regularizer=regularizer,
        constraint=options["constraint"],
        axes=_partition.axes(wish.partitions),
        collections=keys,
    )
    return _handle(ambient, wish, path, start.shape, start.dtype, trainable, options["constraint"])


def _found(ambient: Ambient, wish: Wish, path: str) -> Variable:
    """Returns the handle of the value that stands at the path."""
    scope, shape = ambient.scope, wish.shape
    if shape is not None and not shape.is_fully_defined():
        shape = None
    value = _bridge.find(scope, path, shape)
    if _initial.is_constant(wish.initializer):
        dtype = _dtypes.as_constant(plain(wish.initializer)).dtype
    else:
        dtype = wish.dtype if shape is not None else getattr(value, "dtype", None)
    trainable = wish.trainable and not _bridge.is_state(scope, path)
    if trainable and not _bridge.has_getters(scope):
        ambient.params[path] = value
    found = getattr(value, "shape", None) if shape is None else shape
    return _handle(ambient, wish, path, found, dtype, trainable, wish.constraint)


def _handle(
    ambient: Ambient, wish: Wish, path: str, shape: Any, dtype: Any, trainable: bool, constraint: Any
) -> Variable:
    known = ambient.made.get(wish.name)
    if isinstance(known, Variable):
        # JAX runs the body a second time: it is the same variable.
        return known
    facts = Facts(path, shape, dtype, trainable, constraint, wish.caching_device, wish.partitions, wish.site)
    return attached(ambient, facts)


def _start(wish: Wish) -> Any:
    initializer = wish.initializer
    if wish.partitions is None or not _initial.is_constant(initializer):
        return _initial.start(wish.name, wish.shape, wish.dtype, initializer, partitioned=wish.partitions is not None)
    value = plain(initializer)
    value = value if isinstance(value, jax.Array) else _converted(value, wish.dtype)
    if value.ndim != wish.shape.ndims or any(a < b for a, b in zip(value.shape, wish.shape, strict=True)):
        raise ArgumentError(
            f"The initial value of partitioned variable {wish.name} has shape {value.shape}, of which no slice has "
            "shape "
            f"{wish.shape}."
        )
    return _initial.of_value(value[tuple(slice(size) for size in wish.shape)])


def _converted(value: Any, dtype: Any) -> Any:
    """Returns a constant in the dtype that was asked for; a fraction is no integer."""
    natural = np.asarray(value)
    if jnp.issubdtype(natural.dtype, jnp.inexact) and not jnp.issubdtype(dtype, jnp.inexact):
        raise ArgumentTypeError(f"Expected {dtype.name}, but got {value} of type '{type(value).__name__}'.")
    return natural.astype(dtype)


def _probed(wish: Wish, start: Any) -> Any:
    """Returns the regularizer, or None where it gives no penalty. Its errors come before there is a variable."""
    regularizer = wish.regularizer
    if not regularizer:
        return None
    if start is None:
        return regularizer
    return regularizer if regularizer(jnp.zeros(start.shape, _dtypes.canonical(start.dtype))) is not None else None


def _collect(ambient: Ambient, variable: Variable, collections: Any) -> None:
    for key in _keys(collections, variable.facts.trainable):
        add(ambient, key, variable)


def _keys(collections: Any, trainable: bool) -> Iterable[Any]:
    """Returns the keys of the collections of a new variable."""
    if collections is None:
        return _DEFAULT_KEYS if trainable else _DEFAULT_KEYS[:1]
    if not isinstance(collections, list | tuple | set):
        kind = type(collections)
        raise ArgumentError(
            "collections argument to Variable constructor must be a list, tuple, or set. "
            f"Got {collections} of type {kind}"
        )
    keys = list(collections)
    if trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
        keys.append(GraphKeys.TRAINABLE_VARIABLES)
    return dict.fromkeys(keys)


def _creator_options(wish: Wish, path: str, start: Any) -> dict[str, Any]:
    return {
        "initial_value": start.initializer if start is not None else None,
        "trainable": wish.trainable,
        "collections": wish.collections,
        "validate_shape": wish.validate_shape,
        "caching_device": wish.caching_device,
        "name": path,
        "variable_def": None,
        "dtype": wish.dtype,
        "expected_shape": None,
        "import_scope": None,
        "constraint": wish.constraint,
        "use_resource": wish.use_resource,
        "synchronization": wish.synchronization,
        "aggregation": wish.aggregation,
        "shape": wish.shape,
        "experimental_enable_variable_lifting": None,
    }


def _adopted(ambient: Ambient, wish: Wish) -> Variable:
    """Returns the handle of a variable that explicit code has created."""
    spec = _bridge.specs(ambient.scope)[wish.name]
    shape = TensorShape(spec.unstacked_shape)
    facts = Facts(spec.path, shape, spec.dtype, spec.trainable, spec.constraint, site=spec.site)
    variable = ambient.memory.store[wish.name] = ambient.made[wish.name] = attached(ambient, facts)
    return variable


def _path_of(name: Any) -> str:
    if isinstance(name, bytes):
        return name.decode()
    if name is None or name == "":
        return UNNAMED
    if not isinstance(name, str):
        raise ArgumentTypeError(
            f"The name of a variable must be a string, not {name!r} of type `{type(name).__name__}`."
        )
    return name
