"""Assertions and prints. What is known while JAX traces is checked; the rest is left to `jax.experimental.checkify`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope.errors import JscopeError
from jscope.tf1 import _dtypes
from jscope.tf1._ambient import is_idle
from jscope.tf1._arrays import ArrayLike
from jscope.tf1._errors import ArgumentError, ArgumentTypeError
from jscope.tf1._ops._call import plain, takes_tensors
from jscope.tf1._tensors import is_static, operands, tensor


class OpError(JscopeError):
    """`tf.errors.OpError`: what TensorFlow raises when a session runs. Here only an assertion does."""


class InvalidArgumentError(OpError, ArgumentError):
    """`tf.errors.InvalidArgumentError`: a value is not what an assertion says."""


_OTHERS = (
    *("AbortedError", "AlreadyExistsError", "CancelledError", "DataLossError", "DeadlineExceededError"),
    *("FailedPreconditionError", "InternalError", "NotFoundError", "OutOfRangeError", "PermissionDeniedError"),
    *("ResourceExhaustedError", "UnauthenticatedError", "UnavailableError", "UnimplementedError", "UnknownError"),
)
# Nobody raises them here, but old loops of training have an `except` for them.
ERRORS = (OpError, InvalidArgumentError, *(type(name, (OpError,), {}) for name in _OTHERS))
"""The classes of `tf.errors`."""


def comparison(function: Callable[[Any, Any], Any], relation: str) -> Callable[..., Any]:
    """Returns the kernel of an assertion about two tensors."""

    def kernel(x: Any, y: Any, data: Any, message: Any) -> None:
        pair = operands(x, y)
        # What only the running program knows passes: compiled code has no way to raise.
        if not any(isinstance(value, Tracer) for value in pair) and not np.all(function(*map(np.asarray, pair))):
            raise InvalidArgumentError(f"{message or ''} Condition x {relation} y did not hold: {x!r}, {y!r}.".strip())

    return takes_tensors(kernel)


def sign(function: Callable[[Any], Any], relation: str) -> Callable[..., Any]:
    """Returns the kernel of an assertion about one tensor."""
    check = comparison(lambda x, _: function(x), relation)
    return takes_tensors(lambda x, data, message: check(x, 0, data, message))


@takes_tensors
def assert_true(condition: Any, data: Any) -> None:
    """Raises where the condition is known to be false."""
    value = plain(condition)
    if not isinstance(value, Tracer) and not np.all(value):
        raise InvalidArgumentError(f"Assertion failed: {data}.")


def rank(holds: Callable[[int, Any], bool], relation: str) -> Callable[..., Any]:
    """Returns the kernel of an assertion about the number of axes."""

    def kernel(x: Any, wanted: Any, data: Any, message: Any) -> None:
        found = np.ndim(plain(x))
        if not holds(found, plain(wanted)):
            raise ArgumentError(
                f"{message or ''} Tensor {x!r} must have rank {relation} {wanted}. Received rank {found}, "
                f"shape {np.shape(plain(x))}".strip()
            )

    return takes_tensors(kernel)


@takes_tensors
def assert_integer(x: Any, message: Any) -> None:
    """Raises unless the dtype is one of integers."""
    if not jnp.issubdtype(jnp.asarray(plain(x)).dtype, jnp.integer):
        raise ArgumentTypeError(f"{message or ''} Expected {x!r} to be of integer type.".strip())


@takes_tensors
def assert_type(x: Any, wanted: Any, message: Any) -> None:
    """Raises unless the dtype is this one."""
    if jnp.asarray(plain(x)).dtype != _dtypes.canonical(_dtypes.as_dtype(wanted)):
        raise ArgumentTypeError(f"{message or ''} {x!r} must be of type {wanted!r}.".strip())


@takes_tensors
def assert_near(x: Any, y: Any, rtol: Any, atol: Any, data: Any, message: Any) -> None:
    """Raises where the values are known not to be near each other."""
    near = lambda a, b: np.isclose(a, b, 1e-6 if rtol is None else rtol, 1e-6 if atol is None else atol)  # noqa: E731
    comparison(near, "is near")(x, y, data, message)


@takes_tensors
def print_through(value: Any, data: Any, message: Any) -> Any:
    """`tf.Print`: the value; where it is computed, the data is printed."""
    arrays = [jnp.asarray(plain(each)) for each in data]
    # TensorFlow's message is text as it stands, that of `jax.debug.print` is a format.
    if not is_idle():
        jax.debug.print((message or "").replace("{", "{{").replace("}", "}}") + "{}" * len(arrays), *arrays)
    return plain(value)


def print_(*inputs: Any, **_: Any) -> None:
    """TensorFlow's `tf.print`."""
    parts = [str(each).replace("{", "{{") if isinstance(each, str) else "{}" for each in inputs]
    if not is_idle():
        jax.debug.print(" ".join(parts), *[plain(each) for each in inputs if not isinstance(each, str)])


def is_tensor(x: Any) -> bool:
    """Whether `x` is a tensor or a variable."""
    return isinstance(x, ArrayLike)


def nothing(*_: Any, **__: Any) -> None:
    """What chooses, when a program begins, between TensorFlow 1 and 2: here there is only the one."""


def executing_eagerly() -> bool:
    """TensorFlow's `tf.executing_eagerly`: a function that `tf1.transform` runs is written as if it made a graph."""
    return False


def get_static_value(x: Any, partial: bool = False) -> Any:
    """TensorFlow's `tf.get_static_value`: the value if it is known while JAX traces, otherwise None."""
    value = plain(tensor(x))
    # Outside of all traces every value is known, though it is an array of JAX's.
    return np.asarray(value) if is_static(value) or not isinstance(value, Tracer) else None


def as_dtype(type_value: Any) -> _dtypes.DType:
    """TensorFlow's `tf.as_dtype`."""
    return _dtypes.wrapped(_dtypes.as_dtype(type_value))


class version:  # noqa: N801 - TensorFlow's name.
    """`tf.version`: that of TensorFlow whose names are here."""

    VERSION = "1.15.0"
    GIT_VERSION = f"v{VERSION}"


def anywhere(*_: Any, **__: Any) -> contextlib.AbstractContextManager[None]:
    """Has no effect: where arrays live is said by `jax.device_put` and `jscope.sharding`."""
    return contextlib.nullcontext()


def set_random_seed(seed: Any) -> None:
    """Has no effect: random numbers depend on the keys given to `init` and `model.with_rng`."""


def py_func(func: Any, inp: Any, Tout: Any, stateful: bool = True, name: Any = None) -> Any:  # noqa: N803
    """An error: a Python function has no shapes that JAX could know."""
    raise ArgumentTypeError(
        "`tf.py_func` does not say the shape of what it returns, which JAX must know.\n"
        "Use `jax.pure_callback(func, jax.ShapeDtypeStruct(shape, dtype), *inputs)`."
    )
