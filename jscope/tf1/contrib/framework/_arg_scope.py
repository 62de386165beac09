"""`arg_scope`: defaults for the arguments of functions, from a `with` block.

    with arg_scope([conv2d, fully_connected], activation_fn=None):
        x = conv2d(x, 64, 3)

An argument of the call comes first, then the innermost block, then the function's own default.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

from jscope.tf1._errors import ArgumentError, ArgumentTypeError, advised

Function = TypeVar("Function", bound=Callable[..., Any])

# Not in the memory of a call: blocks are open around `init` and `apply` as well as inside. A `ContextVar`, since two
# threads may build two models.
_current: ContextVar[dict[Any, dict[str, Any]] | None] = ContextVar("jscope_tf1_arg_scope", default=None)


def add_arg_scope(func: Function) -> Function:
    """Returns a function that takes defaults from `arg_scope`.

    >>> from jscope import tf1
    >>> @tf1.contrib.framework.add_arg_scope
    ... def power(x, exponent=1):
    ...     return x**exponent
    >>> with tf1.contrib.framework.arg_scope([power], exponent=3):
    ...     power(2), power(2, exponent=2)
    (8, 4)
    """
    # What was decorated before keeps its key, so that a decorated function that is decorated again is the same one to a
    # block.
    key = arg_scope_func_key(func)

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = current_arg_scope().get(key)
        return func(*args, **({**given, **kwargs} if given else kwargs))

    vars(run)["_key_op"] = key
    return run  # pyright: ignore[reportReturnType]


@contextlib.contextmanager
def arg_scope(list_ops_or_scope: Any, **kwargs: Any) -> Iterator[dict[Any, dict[str, Any]]]:
    """Gives defaults to functions inside of a `with` block, whose value can be entered again.

    >>> from jscope import tf1
    >>> slim = tf1.contrib.slim
    >>> def model(x):
    ...     with slim.arg_scope([slim.fully_connected], activation_fn=None, biases_initializer=None):
    ...         return slim.fully_connected(x, 2)
    >>> jscope.tree.names(tf1.transform(model).init(jax.random.key(0), jnp.ones((2, 3))))
    ['fully_connected/weights']

    Args:
      list_ops_or_scope: The functions, which `add_arg_scope` has decorated; or what another block gave.
      **kwargs: The defaults.
    """
    if isinstance(list_ops_or_scope, dict):
        if kwargs:
            raise ArgumentError("When attempting to re-use a scope by suppling adictionary, kwargs must be empty.")
        # In place of the defaults that hold, not on top of them, as in TensorFlow.
        scope = dict(list_ops_or_scope)
    elif isinstance(list_ops_or_scope, list | tuple):
        scope = dict(current_arg_scope())
        for func in list_ops_or_scope:
            if not has_arg_scope(func):
                raise ArgumentError(advised(f"{_name(func)} is not decorated with @add_arg_scope", "Decorate it."))
            key = arg_scope_func_key(func)
            # A new dict: that of the block around it must stay as it is, since a user may have kept it to enter it
            # again.
            scope[key] = {**scope.get(key, {}), **kwargs}
    else:
        raise ArgumentTypeError("list_ops_or_scope must either be a list/tuple or reused scope (i.e. dict)")
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)


def current_arg_scope() -> dict[Any, dict[str, Any]]:
    """Returns the defaults that hold now, by function."""
    return _current.get() or {}


def has_arg_scope(func: Callable[..., Any]) -> bool:
    """Whether `add_arg_scope` has decorated the function."""
    return hasattr(func, "_key_op")


def arg_scope_func_key(func: Callable[..., Any]) -> Any:
    """Returns by what `arg_scope` knows a function."""
    return getattr(func, "_key_op", str(func))


def arg_scoped_arguments(func: Callable[..., Any]) -> tuple[str, ...]:
    """Returns the names of the arguments that have defaults."""
    parameters = inspect.signature(func).parameters.values()
    return tuple(each.name for each in parameters if each.default is not each.empty)


def _name(func: Any) -> Any:
    return getattr(func, "__module__", None), getattr(func, "__name__", repr(func))
