"""From TensorFlow's initializers to jscope's.

TensorFlow calls `initializer(shape, dtype=dtype)`, jscope `initializer(key, shape, dtype)`. The facade takes both and
tells them apart by the name of the first parameter (`key` or `rng`). What a TensorFlow-style function draws inside, it
draws with the variable's key.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope._types import Key, Shape
from jscope.errors import InitializerError
from jscope.tf1 import _dtypes, initializers
from jscope.tf1._arrays import unwrap
from jscope.tf1._errors import ArgumentError, advised
from jscope.tf1._shapes import TensorShape, as_shape
from jscope.tf1._tensors import Undrawn

NOT_VALID = (
    "The initializer passed is not valid. It should be a callable with no arguments and the shape should not be "
    "provided or an instance of `tf.keras.initializers.*' and `shape` should be fully defined."
)


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """What an initializer gets that asks for `partition_info`: always the whole variable, which stays one array."""

    full_shape: tuple[int, ...]
    var_offset: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InitialValue:
    """What a variable begins with, in the core's terms.

    Attributes:
      initializer: `(key, shape, dtype) -> array`, or an array.
      shape: The shape.
      dtype: The dtype that was asked for, or that the value has.
    """

    initializer: Any
    shape: TensorShape
    dtype: Any


def is_constant(initializer: Any) -> bool:
    """Whether an initializer is a value."""
    return initializer is not None and not callable(initializer)


def initial_value(
    name: str, shape: TensorShape | None, dtype: Any, initializer: Any, *, partitioned: bool = False
) -> InitialValue:
    """Returns what the variable `name` begins with, after all the checks that TensorFlow makes on creation."""
    if is_constant(initializer):
        return _initial_value_of_tensor(initializer)
    if initializer is None:
        initializer = _default(name, shape, dtype)
    if inspect.isclass(initializer):
        initializer = initializer()
    if shape is not None and shape.is_fully_defined():
        return _initial_value_of_callable(name, shape, dtype, initializer, partitioned)
    if not _needs_no_arguments(initializer):
        raise ArgumentError(advised(NOT_VALID, f"This is about `{name}`, with shape {shape}."))
    # Without a whole shape, the function's result says it. It runs abstractly here, and with a key in `init`.
    value = _shape_and_dtype_of(lambda: initializer())
    _check_shape(name, value.shape, shape)
    return InitialValue(functools.partial(_call_without_arguments, initializer), TensorShape(value.shape), value.dtype)


def initial_value_of_constant(value: Any, dtype: Any = None) -> InitialValue:
    """Returns what a variable begins with whose initializer is a value, which says the shape and the dtype."""
    # The array becomes one that JAX can hold, of 32 bits unless 64 are enabled. The dtype stays what it was, since that
    # is what reuse compares. An array of JAX is not touched: it may be a tracer.
    constant = _dtypes.as_constant(value, dtype)
    narrow = _dtypes.canonical(constant.dtype)
    kept = constant if narrow == constant.dtype or not isinstance(constant, np.ndarray) else constant.astype(narrow)
    return InitialValue(kept, TensorShape(np.shape(constant)), constant.dtype)


def initial_value_of_variable(name: str, dtype: Any, initial: Any) -> InitialValue:
    """Returns what `tf1.Variable(initial, dtype=dtype)` begins with."""
    if callable(initial) and not hasattr(initial, "value"):
        return initial_value(name, None, dtype, initial)
    return _initial_value_of_tensor(initial, dtype)


def dtype_of_constant(initial: Any) -> Any:
    """Returns the dtype of the value that a variable begins with."""
    # In a call without a key it has no value, but what would make it says what that would be.
    if isinstance(initial, Undrawn) and initial.recipe is not None:
        return _shape_and_dtype_of(initial.recipe).dtype
    return _dtypes.as_constant(unwrap(initial)).dtype


def _initial_value_of_tensor(initial: Any, dtype: Any = None) -> InitialValue:
    recipe = getattr(initial, "recipe", None)
    if recipe is None:
        return initial_value_of_constant(unwrap(initial), dtype)
    # It was drawn, or filled, of nothing but constants: so it is done again, with the variable's own key.
    value = jnp.asarray(unwrap(initial))
    found = value.dtype if dtype is None else dtype
    return InitialValue(functools.partial(_run_recipe, recipe), TensorShape(value.shape), found)


def _run_recipe(recipe: Callable[[], Any], key: Key | None, shape: Shape, dtype: Any) -> jax.Array:
    with _drawing(key):
        return jnp.asarray(recipe()).astype(dtype)


def _default(name: str, shape: TensorShape | None, dtype: Any) -> Any:
    if shape is None:
        raise ArgumentError(
            advised(
                f"Variable {name} did not get an initializer, so its `shape` argument must be specified.",
                "Give it a shape, or an array or number as its initializer.",
            )
        )
    if jnp.issubdtype(dtype, jnp.floating):
        return initializers.glorot_uniform()
    if jnp.issubdtype(dtype, jnp.integer) or dtype == np.dtype(bool):
        return initializers.zeros()
    raise ArgumentError(
        advised(
            f"An initializer for variable {name} of {_dtypes.name(dtype)} is required",
            "TensorFlow has a default for real numbers and bools only.",
        )
    )


def _initial_value_of_callable(
    name: str, shape: TensorShape, dtype: Any, initializer: Any, partitioned: bool
) -> InitialValue:
    full = tuple(int(size) for size in shape)
    # Passed on as they are, not wrapped: the core knows them by their value, and compiles equal ones once.
    if isinstance(initializer, initializers.Initializer):
        initializer.check(full, dtype)
        return InitialValue(initializer, shape, dtype)
    if takes_key(initializer):
        return InitialValue(initializer, shape, dtype)
    info = {}
    if "partition_info" in _parameters(initializer):
        info["partition_info"] = PartitionInfo(full, (0,) * len(full)) if partitioned else None
    call = functools.partial(_call_with_shape, initializer, tuple(info.items()))
    value = _shape_and_dtype_of(lambda: call(None, full, _dtypes.canonical(dtype)))
    _check_shape(name, value.shape, shape)
    if value.dtype != _dtypes.canonical(dtype):
        raise InitializerError(
            advised(
                f"Tensor conversion requested dtype {dtype.name} for Tensor with dtype {value.dtype}: "
                f"the initializer of `{name}` returned it.",
                "An initializer must return the dtype that it is asked for: `initializer(shape, dtype=dtype)`.",
            )
        )
    return InitialValue(call, shape, dtype)


def as_jscope_initializer(initializer: Any) -> Any:
    """Returns TensorFlow's initializer as one of jscope's."""
    initializer = initializer() if inspect.isclass(initializer) else initializer
    if isinstance(initializer, initializers.Initializer):
        return initializer
    return functools.partial(_call_with_shape, initializer, ())


def _call_with_shape(initializer: Any, info: tuple[Any, ...], key: Key | None, shape: Shape, dtype: Any) -> jax.Array:
    with _drawing(key):
        value = unwrap(initializer(list(shape), dtype=np.dtype(dtype), **dict(info)))
        return value if isinstance(value, jax.Array) else jnp.asarray(_dtypes.as_constant(value, dtype))


def _call_without_arguments(initializer: Any, key: Key | None, shape: Shape, dtype: Any) -> jax.Array:
    with _drawing(key):
        value = _dtypes.as_constant(unwrap(initializer()))
        return jnp.asarray(value, _dtypes.canonical(value.dtype))


def _shape_and_dtype_of(make: Callable[[], Any]) -> Any:
    """Returns shape and dtype of what `make` returns, without computing it. Its errors are raised as they are."""

    def run(key: Key) -> jax.Array:
        with _drawing(key):
            value = _dtypes.as_constant(unwrap(make()))
            return jnp.asarray(value, _dtypes.canonical(value.dtype))

    # Even the key is abstract: making one would touch a device while the model is only being collected.
    return jax.eval_shape(run, jax.eval_shape(lambda: jax.random.key(0)))


def takes_key(function: Any) -> bool:
    """Whether this is an initializer as jscope and JAX have them: `(key, shape, dtype)`.

    >>> takes_key(jax.nn.initializers.zeros), takes_key(lambda shape, dtype=None: 0)
    (True, False)
    """
    return next(iter(_parameters(function)), "") in ("key", "rng")


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}  # Some callables of C have no signature to look at.


def _needs_no_arguments(function: Any) -> bool:
    if isinstance(function, initializers.Initializer):
        return False
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(
        parameter.default is not parameter.empty or parameter.kind in kinds
        for parameter in _parameters(function).values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    )


def _check_shape(name: str, found: Shape, asked: TensorShape | None) -> None:
    if asked is not None and not asked.is_compatible_with(as_shape(found)):
        raise InitializerError(
            advised(
                f"In this `tf.Variable` creation, the initial value's shape ({tuple(found)}) is not compatible with "
                f"the explicitly supplied `shape` argument ({asked}).",
                f"The initializer of `{name}` must return the shape that it is asked for.",
            )
        )


@contextlib.contextmanager
def _drawing(key: Key | None) -> Iterator[None]:
    """Gives `key` to what is drawn inside; None leaves the key of the drawing around it."""
    if key is None:
        yield
        return
    token = initializers.DRAWING.set([key, 0])
    try:
        yield
    finally:
        initializers.DRAWING.reset(token)
