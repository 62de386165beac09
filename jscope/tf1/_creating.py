"""Creating a variable, and returning one that exists.

A `Wish` is what is left of a `get_variable` call after scopes and getters: a full name and no more defaults. In `init`
it becomes a spec of the core's; in `apply` the same code finds the value that the spec led to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope._defaults import NONE
from jscope._errors import DTypeMismatchError, ShapeMismatchError
from jscope.tf1 import _core, _dtypes, _initial, _names, _partition
from jscope.tf1._ambient import Ambient
from jscope.tf1._arrays import plain as plain
from jscope.tf1._collections import GraphKeys, add
from jscope.tf1._creators import created
from jscope.tf1._errors import ArgumentError, ArgumentTypeError, advised
from jscope.tf1._shapes import TensorShape, as_shape
from jscope.tf1._variables import Facts, Variable, attached
from jscope.tf1.losses import regularized

_DEFAULT_KEYS = (GraphKeys.GLOBAL_VARIABLES, GraphKeys.TRAINABLE_VARIABLES)
UNNAMED = "Variable"
"""The name that TensorFlow gives to a variable that has none."""


@dataclass(slots=True)
class Wish:
    """A variable that is asked for, all defaults filled in."""

    name: Any
    shape: Any
    dtype: Any
    initializer: Any
    regularizer: Any
    reuse: Any
    trainable: bool
    collections: Any = None
    caching_device: Any = None
    constraint: Any = None
    synchronization: Any = None
    aggregation: Any = None
    validate_shape: bool = True
    use_resource: Any = None
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


def create(ambient: Ambient, wish: Wish) -> Any:
    """Creates the variable; in `apply`, finds it in the params."""
    path = _path_of(wish.name)
    start = _start(wish) if ambient.collecting else None
    _names.check_root_name(path)
    _names.mark(ambient, path)
    regularizer = _probed(wish, start)

    def create_default(**options: Any) -> Variable:
        variable = _recorded(ambient, wish, path, start, regularizer, options)
        for key in _keys(options["collections"], variable.trainable):
            add(ambient, key, variable)
        return variable

    if ambient.creators and ambient.collecting:
        variable = created(ambient, create_default, _creator_options(wish, path, start))
    else:
        variable = create_default(**_plain_options(wish, start))
    ambient.memory.store[wish.name] = ambient.made[wish.name] = variable
    if regularizer is not None:
        regularized(ambient, variable, regularizer)
    return variable


def take_shape_of_tensor(wish: Wish) -> None:
    """An array of JAX as the initializer of a partitioned variable says the shape, if nothing else does."""
    value = plain(wish.initializer) if _initial.is_constant(wish.initializer) else None
    if isinstance(value, jax.Array) and wish.shape is None:
        wish.shape = as_shape(value.shape)


def _recorded(
    ambient: Ambient, wish: Wish, path: str, start: Any, regularizer: Any, options: dict[str, Any]
) -> Variable:
    """Asks the core for the variable, and returns its handle."""
    if start is None:
        return _found(ambient, wish, path)
    if options["initial_value"] is not start.initializer:
        start = _initial.start(path, None, None, options["initial_value"])
    is_value = _initial.is_constant(start.initializer)
    trainable = True if options["trainable"] is None else bool(options["trainable"])
    keys = tuple(key for key in _keys(options["collections"], trainable) if isinstance(key, str))
    _core.get(
        ambient.scope,
        path,
        wish.site,
        shape=None if is_value else tuple(start.shape.as_list()),
        dtype=None if is_value else _dtypes.canonical(start.dtype),
        initializer=start.initializer,
        trainable=trainable,
        regularizer=NONE if regularizer is None else regularizer,
        constraint=NONE if options["constraint"] is None else options["constraint"],
        partitioner=NONE,
        axes=_partition.axes(wish.partitions),
        collections=keys,
    )
    return _handle(ambient, wish, path, start.shape, start.dtype, trainable, options["constraint"])


def _found(ambient: Ambient, wish: Wish, path: str) -> Variable:
    shape = wish.shape if wish.shape is not None and wish.shape.is_fully_defined() else None
    value = _core.get(ambient.scope, path, shape=None if shape is None else tuple(shape.as_list()))
    found = getattr(value, "shape", None) if shape is None else shape
    if _initial.is_constant(wish.initializer):
        dtype = _dtypes.as_constant(plain(wish.initializer)).dtype
    else:
        dtype = wish.dtype if shape is not None else getattr(value, "dtype", None)
    trainable = wish.trainable and not _core.is_state(ambient.scope, path)
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


def _keys(collections: Any, trainable: bool) -> list[Any]:
    """Returns the keys of the collections of a new variable."""
    if collections is None:
        return [*_DEFAULT_KEYS] if trainable else [GraphKeys.GLOBAL_VARIABLES]
    if not isinstance(collections, list | tuple | set):
        kind = type(collections)
        raise ArgumentError(
            "collections argument to Variable constructor must be a list, tuple, or set. "
            f"Got {collections} of type {kind}"
        )
    keys = list(collections)
    if trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
        keys.append(GraphKeys.TRAINABLE_VARIABLES)
    return list(dict.fromkeys(keys))


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


def _plain_options(wish: Wish, start: Any) -> dict[str, Any]:
    """Returns what `_recorded` reads of the options, where no creator changes them."""
    return {
        "initial_value": start.initializer if start is not None else None,
        "trainable": wish.trainable,
        "collections": wish.collections,
        "constraint": wish.constraint,
    }


def _adopted(ambient: Ambient, wish: Wish) -> Variable:
    """Returns the handle of a variable that explicit code has created."""
    spec = _core.specs(ambient.scope)[wish.name]
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
