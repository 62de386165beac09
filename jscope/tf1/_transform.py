"""From a TF1-style function, which takes no scope, to `init` and `apply`.

`scoped(f)` is `f` as a function of a scope of jscope's: that is all the core knows of the facade. Inside, the variable
scope begins at the path of that scope.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._scope import Scope
from jscope._transform import Transformed, TransformedWithState
from jscope._util import _text
from jscope.tf1 import _bridge, _creating, _dtypes, _initial
from jscope.tf1._ambient import Ambient, current, current_or_none
from jscope.tf1._arrays import ArrayLike, unwrap
from jscope.tf1._errors import ArgumentTypeError
from jscope.tf1._scopes import AUTO_REUSE, VariableScope, as_reuse
from jscope.tf1._tensors import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def scoped(function: Callable[P, R]) -> Callable[Concatenate[Scope, P], R]:
    """Returns a TF1-style function as a function of a scope, for explicit code, JAX's transforms and jscope's lifts.

    >>> from jscope import tf1
    >>> def dense(x):
    ...     return x * tf1.get_variable("w", [])
    >>> def model(scope, x):
    ...     return tf1.scoped(dense)(scope / "old", x) + scope.get_variable("b", ())
    >>> float(jscope.apply(model, {"old": {"w": 2.0}, "b": 1.0}, 3.0))
    7.0
    """
    return _scoped(function, _written_around)


def _scoped(
    function: Callable[P, R], written: Callable[[], re.Pattern[str] | None]
) -> Callable[Concatenate[Scope, P], R]:
    if not callable(function):
        raise ArgumentTypeError(f"Expected a function, not {function!r}.")

    # `_caches.py` looks for this name on the Python stack: the call's own frames begin here.
    @functools.wraps(function)
    def run_under_ambient(scope: Scope, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not isinstance(scope, Scope):
            raise ArgumentTypeError(f"Expected a jscope.Scope as the first argument, not {scope!r}.")
        root = VariableScope(as_reuse(_bridge.reuse_of(scope)), scope.path)
        args, kwargs = _map_arrays(_as_tensor, (args, kwargs))
        with Ambient(scope, root, _creating.make_variable, written()), _advising():
            return _map_arrays(_as_array, function(*args, **kwargs))

    return run_under_ambient


def _written_around() -> re.Pattern[str] | None:
    """Returns what the caller of the running call has said to be state, for a function that is given to a lift."""
    outer = current_or_none()
    return None if outer is None else outer.written


def transform(function: Callable[P, R]) -> Transformed[P, R]:
    """Turns a TF1-style function, which takes no scope, into the pure functions `init` and `apply`.

    >>> from jscope import tf1
    >>> def model(x):
    ...     with tf1.variable_scope("dense"):
    ...         return x @ tf1.get_variable("w", [2, 1], initializer=tf1.ones_initializer())
    >>> init, apply = tf1.transform(model)
    >>> params = init(jax.random.key(0), jnp.ones((1, 2)))
    >>> jax.jit(apply)(params, jnp.ones((1, 2))).tolist()
    [[2.0]]
    """
    return Transformed(_bridge.Program(_scoped(function, lambda: None), stateful=False))


def transform_with_state(
    function: Callable[P, R], *, state: str | re.Pattern[str] | None = None
) -> TransformedWithState[P, R]:
    """Turns a TF1-style function with variables that are not trainable into the pure functions `init` and `apply`.

    >>> from jscope import tf1
    >>> def count():
    ...     n = tf1.get_variable("n", initializer=0, trainable=False)
    ...     return n.assign_add(1)
    >>> init, apply = tf1.transform_with_state(count)
    >>> params, state = init(jax.random.key(0))
    >>> out, state = apply(params, state)
    >>> int(state["n"])
    1

    Code may assign to variables that TensorFlow trains (target networks, for example). `state` says which: a regular
    expression that is searched for in their full names. They are state here, and `jax.grad` by the params leaves them
    alone; to TensorFlow's functions they stay trainable.

    >>> def copy():
    ...     target, online = (tf1.get_variable(name, [2]) for name in ("target", "online"))
    ...     return tf1.assign(target, online)
    >>> init, apply = tf1.transform_with_state(copy, state="^target$")
    >>> params, state = init(jax.random.key(0))
    >>> out, state = apply(params, state)
    >>> list(params), bool((state["target"] == params["online"]).all())
    (['online'], True)
    """
    pattern = None if state is None else _text.pattern(state, "state: ")
    return TransformedWithState(_bridge.Program(_scoped(function, lambda: pattern), stateful=True))


def _map_arrays(function: Callable[[Any], Any], tree: Any) -> Any:
    """Returns a tree with `function` of its leaves; the very tree, if that changes none of them."""
    # A scope is a tree of variables, but code that takes one computes with JAX's arrays.
    leaves, structure = jax.tree.flatten(tree, is_leaf=lambda leaf: isinstance(leaf, ArrayLike | Scope))
    changed = list(map(function, leaves))
    return tree if all(map(operator.is_, leaves, changed)) else structure.unflatten(changed)


def _as_tensor(leaf: Any) -> Any:
    """Returns an array of numbers as a tensor, and anything else as it is."""
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind not in "OSU":
        # Not static: under `jax.jit` the same argument would not be, either.
        leaf = jnp.asarray(leaf)
    keys = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    return Tensor(leaf, "Placeholder") if isinstance(leaf, jax.Array) and not keys else leaf


def _as_array(leaf: Any) -> Any:
    """Returns the array that stands behind a tensor or a handle, which is of no use after the call."""
    return leaf.__jax_array__() if isinstance(leaf, Tensor) else unwrap(leaf)


@contextlib.contextmanager
def _advising() -> Iterator[None]:
    """Adds to JAX's errors about tensors what to do."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if "__jax_array__" in str(error) or (Tensor.__qualname__ in str(error) and "pytree" in str(error)):
            error.add_note(
                "The functions of `jax.lax` do not take the tensors and variables of `jscope.tf1`, which those of "
                "`jax.numpy` do. Pass `jnp.asarray(x)`, or use TensorFlow's function of `jscope.tf1`."
            )
        raise


def current_scope() -> Scope:
    """Returns jscope's scope at the current variable scope, for explicit code and for JAX's transforms.

    It carries reuse, dtype, initializer and regularizer of the current variable scope as defaults.

    >>> from jscope import tf1
    >>> def dense(scope, x):
    ...     return x * scope.get_variable("w", ())
    >>> def model(x):
    ...     with tf1.variable_scope("foo"):
    ...         return dense(tf1.current_scope(), x)
    >>> jscope.tree.names(tf1.transform(model).init(jax.random.key(0), 1.0))
    ['foo/w']
    """
    ambient = current("current_scope")
    ambient.note_use("The current scope was asked for")
    here: VariableScope = ambient.memory.variable_scope
    # What is left of the name begins with a slash, or with several, by which the core's scopes cannot be entered.
    root = ambient.core_scope
    below = _path.relative(here.name, root.path)
    below = here.name if below is None else below.lstrip(_path.SEPARATOR)
    scope = root / below if below else root
    return scope.with_defaults(**_core_defaults(here))


def _core_defaults(here: VariableScope) -> dict[str, Any]:
    reuse = _bridge.AUTO_REUSE if here.reuse in (AUTO_REUSE, None) else here.reuse
    dtype = _dtypes.canonical(_dtypes.as_dtype(here.dtype))
    # Explicit code calls `initializer(key, shape, dtype)`, so TensorFlow's kind must be wrapped. The getters are left
    # out, because they expect to be called as TensorFlow calls them.
    initializer, regularizer = here.initializer, here.regularizer or None
    if callable(initializer) and not _initial.takes_key(initializer):
        initializer = _initial.as_jscope_initializer(initializer)
    return {"reuse": reuse, "dtype": dtype, "initializer": initializer, "regularizer": regularizer}
