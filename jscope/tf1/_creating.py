"""Creating a variable, from a request that found none.

By now the name of the request is full and nothing is left to be inherited. In `init` it becomes a spec of the core's;
in `apply` it finds the value that the spec led to. Most of what `apply` is asked for does not even need a request:
`find_at_once` sees that none of the checks could fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope.errors import DuplicateVariableError
from jscope.tf1 import _bridge, _dtypes, _initial, _name_scopes, _partition
from jscope.tf1._ambient import Ambient
from jscope.tf1._arguments import resolve_synchronization
from jscope.tf1._arrays import unwrap
from jscope.tf1._collections import GraphKeys, add
from jscope.tf1._creators import run_creators
from jscope.tf1._errors import ArgumentError, ArgumentTypeError, advised
from jscope.tf1._request import VariableRequest
from jscope.tf1._shapes import TensorShape, are_sizes, as_shape
from jscope.tf1._sites import Site, site_above
from jscope.tf1._tensors import Undrawn
from jscope.tf1._variables import PartitionedVariable, Variable, make_handle
from jscope.tf1.losses import add_penalty

_DEFAULT_KEYS = (GraphKeys.GLOBAL_VARIABLES, GraphKeys.TRAINABLE_VARIABLES)
UNNAMED = "Variable"
"""The name that TensorFlow gives to a variable that has none."""


def find_at_once(ambient: Ambient, name: Any, shape: Any, dtype: Any, initializer: Any, constraint: Any) -> Any:
    """Returns the handle of a param that is asked for the first time, if neither getters nor checks have a say.

    None means that a `VariableRequest` must take the long way to find out; nothing was changed then. Both ways find the
    same, and remember the same, which `tests/tf1/test_find_at_once.py` proves.
    """
    memory, here = ambient.memory, ambient.memory.variable_scope
    inherited = here.inherited
    if not (inherited.custom_getter is inherited.partitioner is inherited.regularizer is None):
        return None
    shape = tuple(shape) if shape.__class__ is list else shape
    # A `TensorShape`, which is what the shape of a tensor is and what is cut from it, has been looked at before.
    checked = shape.__class__ is TensorShape
    if name.__class__ is not str or not name or not (checked or (shape.__class__ is tuple and are_sizes(shape))):
        return None
    prefix, path = here.name, _bridge.join(here.name, name)
    params = ambient.params_below.get(prefix)
    if params is None:
        params = ambient.params_below[prefix] = _bridge.params_below(ambient.core_scope, prefix)
    value = params.get(name) if _path.SEPARATOR not in name else None
    if value is None:
        value = _bridge.param(ambient.core_scope, path)
    # Whatever would be an error, or a reuse, takes the long way, where the checks come in TensorFlow's order. Compared
    # as tuples, which a `TensorShape` is, but it would do it in Python.
    sizes = getattr(value, "shape", None)
    taken = path in memory.store or (memory.templates and (Variable, path) in memory.templates)
    if taken or tuple.__eq__(shape, sizes) is not True:
        return None
    initializer = inherited.initializer if initializer is None else initializer
    if initializer is not None and _initial.is_constant(initializer):
        return None
    found = _dtypes.as_dtype(inherited.dtype if dtype is None else dtype)
    _name_scopes.take_variable_name(ambient, path)
    variable = ambient.handles.get(path)
    if not isinstance(variable, Variable):
        constraint = here.constraint if constraint is None else constraint
        # With the sizes that the array has anyway, since the handle may be the only one to keep those that were given;
        # and with the site two frames up, who has called `get_variable`.
        device, site = inherited.caching_device, site_above(3)
        variable = make_handle(ambient.itself, path, sizes, found, True, constraint, device, None, site)
    return _remembered(ambient, path, value, variable)


def _remembered(ambient: Ambient, path: str, value: Any, variable: Variable) -> Variable:
    """Returns the handle of a param, after it was put where those of other requests and the collections are."""
    ambient.params[path] = value
    ambient.memory.store[path] = ambient.handles[path] = variable
    collections = ambient.memory.collections
    for key in _DEFAULT_KEYS:
        if key in collections:
            collections[key].append(variable)
        else:
            add(ambient, key, variable)
    return variable


def create(ambient: Ambient, request: VariableRequest) -> Any:
    """Creates the variable; in `apply`, finds it in the params."""
    path = _path_of(request.name)
    if (Variable, path) in ambient.memory.templates:
        raise _taken(path, request.site)
    # The initializer is checked before the name is taken: where it fails, nothing was changed.
    initial = _initial_value(request) if ambient.collecting or _may_have_failed(ambient, request, path) else None
    _name_scopes.take_variable_name(ambient, path)
    regularizer = _effective_regularizer(request, initial)
    if not ambient.collecting:
        variable = _find_in_params(ambient, request, path)
        _add_to_collections(ambient, variable, request.collections)
    else:
        variable = _create_through_creators(ambient, request, path, initial, regularizer)
    # By the name that was asked for, even where a creator returned another variable: TensorFlow's store does the same.
    ambient.memory.store[request.name] = ambient.handles[request.name] = variable
    if regularizer is not None:
        add_penalty(ambient, variable, regularizer)
    return variable


def make_variable(
    ambient: Ambient,
    initial: Any,
    site: str,
    *,
    trainable: bool | None,
    collections: Any,
    name: str | None,
    dtype: Any,
    shape: Any = None,
    path: str | None = None,
    **options: Any,
) -> Variable:
    """Creates a variable that `get_variable` does not find: under its `path`, or under a name of the name scope."""
    if initial is None:
        raise ArgumentError("initial_value must be specified.")
    ambient.note_use("`tf1.Variable` was called")
    if path is None:
        path = _name_scopes.unique_name(ambient, name or UNNAMED)
    _name_scopes.root_key(path)
    request = _request_by_hand(path, initial, site, trainable, collections, dtype, **options)
    ambient.memory.templates[Variable, path] = True
    if ambient.collecting:
        start = _initial.initial_value_of_variable(path, request.dtype, initial)
        variable = _create_through_creators(ambient, request, path, start, None)
    else:
        request.initializer = None if callable(initial) or isinstance(initial, Undrawn) else initial
        variable = _find_in_params(ambient, request, path)
        _add_to_collections(ambient, variable, collections)
    ambient.handles[path] = variable
    return variable


def _request_by_hand(
    path: str,
    initial: Any,
    site: str,
    trainable: Any,
    collections: Any,
    dtype: Any,
    *,
    synchronization: Any,
    aggregation: Any,
    **options: Any,
) -> VariableRequest:
    rules = resolve_synchronization(synchronization, aggregation, trainable, path)
    return VariableRequest(
        name=path,
        shape=None,
        dtype=None if dtype is None else _dtypes.as_dtype(dtype),
        initializer=initial,
        regularizer=None,
        trainable=rules[2],
        collections=collections,
        partitioner=None,
        validate_shape=True,
        synchronization=rules[0],
        aggregation=rules[1],
        site=site,
        **options,
    )


def _taken(path: str, site: str | Site) -> DuplicateVariableError:
    return DuplicateVariableError(
        advised(
            f"Variable {path} already exists: `tf1.Variable` made it, and `get_variable` asks for one of this name at "
            f"{site}.",
            "TensorFlow would give the second the name of another op in checkpoints, but not in its store. Give one "
            "of them another name.",
        )
    )


def _may_have_failed(ambient: Ambient, request: VariableRequest, path: str) -> bool:
    """Whether `init` may have refused the request: then it is refused here too, before its name is taken."""
    if request.shape is not None and not request.shape.is_fully_defined():
        return True
    return not (_bridge.has_getters(ambient.core_scope) or _bridge.has_variable(ambient.core_scope, path))


def take_shape_of_tensor(request: VariableRequest) -> None:
    """Takes the shape of a partitioned variable from its initial value, if that is an array of JAX and none is given.

    TensorFlow does so only for tensors, not for arrays of NumPy or lists.
    """
    value = unwrap(request.initializer) if _initial.is_constant(request.initializer) else None
    if isinstance(value, jax.Array) and request.shape is None:
        request.shape = as_shape(value.shape)


def _create_through_creators(
    ambient: Ambient, request: VariableRequest, path: str, initial: Any, regularizer: Any
) -> Variable:
    def create_default(**options: Any) -> Variable:
        variable = _record(ambient, request, path, initial, regularizer, options)
        _add_to_collections(ambient, variable, options["collections"])
        return variable

    return run_creators(ambient, create_default, _creator_options(request, path, initial))


def _record(
    ambient: Ambient, request: VariableRequest, path: str, initial: Any, regularizer: Any, options: dict[str, Any]
) -> Variable:
    """Gives the core the spec of the variable, and returns its handle."""
    # A creator may have put another value in the place of the initializer, which then says shape and dtype.
    if options["initial_value"] is not initial.initializer:
        initial = _initial.initial_value(path, None, None, options["initial_value"])
    is_value = _initial.is_constant(initial.initializer)
    trainable = True if options["trainable"] is None else bool(options["trainable"])
    # Specs can be written to files, so they keep only keys that are strings; the call's own collections take any.
    keys = tuple(key for key in _collection_keys(options["collections"], trainable) if isinstance(key, str))
    _bridge.create(
        ambient.core_scope,
        path,
        str(request.site),
        shape=None if is_value else tuple(initial.shape.as_list()),
        dtype=None if is_value else _dtypes.canonical(initial.dtype),
        initializer=initial.initializer,
        trainable=ambient.is_param(path, trainable=trainable),
        regularizer=regularizer,
        constraint=options["constraint"],
        axes=_partition.logical_axes(request.partitions),
        collections=keys,
    )
    return _handle_of(ambient, request, path, initial.shape, initial.dtype, trainable, options["constraint"])


def _find_in_params(ambient: Ambient, request: VariableRequest, path: str) -> Variable:
    """Returns the handle of the value that stands at the path."""
    core_scope, shape = ambient.core_scope, request.shape
    if shape is not None and not shape.is_fully_defined():
        shape = None
    # A creator may have made it state in `init`; creators do not run here, so the trees say what it became.
    is_state = _bridge.is_state(core_scope, path)
    is_param = ambient.is_param(path, trainable=request.trainable)
    trainable = request.trainable and not (is_state and is_param)
    value = _bridge.find(core_scope, path, shape, trainable=is_param and not is_state)
    # The dtype that `init` recorded, by which reuse compares: params may have been cast since.
    if _initial.is_constant(request.initializer):
        dtype = _initial.dtype_of_constant(request.initializer)
    else:
        dtype = request.dtype if shape is not None else getattr(value, "dtype", None)
    # State may be assigned, and a getter may return another value each time: these are read anew.
    if is_param and not is_state and not _bridge.has_getters(core_scope):
        ambient.params[path] = value
    found = getattr(value, "shape", None) if shape is None else shape
    return _handle_of(ambient, request, path, found, dtype, trainable, request.constraint)


def _handle_of(
    ambient: Ambient, request: VariableRequest, path: str, shape: Any, dtype: Any, trainable: bool, constraint: Any
) -> Variable:
    known = ambient.handles.get(request.name)
    # Where JAX runs a body a second time, the handle of the first run may be in use outside: it is the same variable.
    if isinstance(known, Variable):
        return known
    rest = constraint, request.caching_device, request.partitions, request.site
    return make_handle(ambient.itself, path, shape, dtype, trainable, *rest)


def _initial_value(request: VariableRequest) -> Any:
    initializer, cut = request.initializer, request.partitions is not None
    if not cut or not _initial.is_constant(initializer):
        return _initial.initial_value(request.name, request.shape, request.dtype, initializer, partitioned=cut)
    # Only with a partitioner may a constant come with a shape. TensorFlow slices a constant that is larger than that.
    value = unwrap(initializer)
    value = value if isinstance(value, jax.Array) else _converted(value, request.dtype)
    if value.ndim != request.shape.ndims or any(a < b for a, b in zip(value.shape, request.shape, strict=True)):
        raise ArgumentError(
            f"The initial value of partitioned variable {request.name} has shape {value.shape}, of which no slice has "
            f"shape {request.shape}."
        )
    return _initial.initial_value_of_constant(value[tuple(slice(size) for size in request.shape)])


def _converted(value: Any, dtype: Any) -> Any:
    """Returns a constant in the dtype that was asked for; a fraction is not an integer."""
    natural = np.asarray(value)
    if jnp.issubdtype(natural.dtype, jnp.inexact) and not jnp.issubdtype(dtype, jnp.inexact):
        raise ArgumentTypeError(f"Expected {dtype.name}, but got {value} of type '{type(value).__name__}'.")
    return natural.astype(dtype)


def _effective_regularizer(request: VariableRequest, initial: Any) -> Any:
    """Returns the regularizer, or None where it gives no penalty."""
    regularizer = request.regularizer
    # By truth, as in TensorFlow, where False switches an inherited regularizer off.
    if not regularizer:
        return None
    if initial is None:
        return regularizer
    # It is tried on zeros before there is a variable: a regularizer that raises leaves nothing behind.
    penalty = regularizer(jnp.zeros(initial.shape, _dtypes.canonical(initial.dtype)))
    return None if penalty is None else regularizer


def _add_to_collections(ambient: Ambient, variable: Variable, collections: Any) -> None:
    # Of a variable that is cut, the collections hold the parts, as in TensorFlow.
    items = variable.parts() if isinstance(variable, PartitionedVariable) else [variable]
    for key in _collection_keys(collections, variable.trainable):
        for item in items:
            add(ambient, key, item)


def _collection_keys(collections: Any, trainable: bool) -> Iterable[Any]:
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
    # A list replaces `GLOBAL_VARIABLES`, but never `TRAINABLE_VARIABLES`, which optimizers rely on.
    if trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
        keys.append(GraphKeys.TRAINABLE_VARIABLES)
    return dict.fromkeys(keys)


def _creator_options(request: VariableRequest, path: str, initial: Any) -> dict[str, Any]:
    """Returns every keyword that TensorFlow gives to a creator, including those without a meaning here."""
    return {
        "initial_value": initial.initializer,
        "trainable": request.trainable,
        "collections": request.collections,
        "validate_shape": request.validate_shape,
        "caching_device": request.caching_device,
        "name": path,
        "variable_def": None,
        "dtype": request.dtype,
        "expected_shape": None,
        "import_scope": None,
        "constraint": request.constraint,
        "use_resource": request.use_resource,
        "synchronization": request.synchronization,
        "aggregation": request.aggregation,
        "shape": request.shape,
        "experimental_enable_variable_lifting": None,
    }


def _path_of(name: Any) -> str:
    if isinstance(name, bytes):
        return name.decode()
    # Only at the root: below a scope, joining has made a string of it, or raised.
    if name is None or name == "":
        return UNNAMED
    if not isinstance(name, str):
        raise ArgumentTypeError(
            f"The name of a variable must be a string, not {name!r} of type `{type(name).__name__}`."
        )
    return name
