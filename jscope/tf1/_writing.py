"""Writing: `tf.assign` and what TensorFlow needs to say when.

There is no graph and no session: what is assigned is written when the program comes to it, and whatever reads the
variable afterwards sees it. So the order of the program is the order of the writes, and `control_dependencies` and
`group`, which say in TensorFlow what runs and in which order, have nothing left to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1._ambient import current
from jscope.tf1._arrays import unwrap
from jscope.tf1._errors import ArgumentTypeError, advised
from jscope.tf1._tensors import below_name_scope
from jscope.tf1._variables import Variable


class Operation:
    """What TensorFlow returns where nothing is computed. It is a pytree without leaves, so models may return it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def op(self) -> Operation:
        """The operation itself."""
        return self

    def __repr__(self) -> str:
        return f"<tf1.Operation '{self.name}'>"


jax.tree_util.register_pytree_node(Operation, lambda op: ((), op.name), lambda name, _: Operation(name))


def assign(
    ref: Any, value: Any, validate_shape: bool | None = None, use_locking: bool | None = None, name: str | None = None
) -> Any:
    """Writes a variable, and returns the new value.

    >>> from jscope import tf1
    >>> def model():
    ...     n = tf1.get_variable("n", initializer=1, trainable=False)
    ...     return tf1.assign(n, n + 1)
    >>> model = tf1.transform_with_state(model)
    >>> params, state = model.init(jax.random.key(0))
    >>> print(model.apply(params, state)[1])
    {'n': Array(2, dtype=int32...)}

    Raises:
      StateError: The variable is a param; see `state=` of `tf1.transform_with_state`.
      NativeTransformError: Inside a JAX transform, from where the value could not get out.
    """
    return _variable("assign", ref).assign(value, name=name)


def assign_add(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Any:
    """Adds to a variable; otherwise as `assign`."""
    return _variable("assign_add", ref).assign_add(value, name=name)


def assign_sub(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Any:
    """Subtracts from a variable; otherwise as `assign`."""
    return _variable("assign_sub", ref).assign_sub(value, name=name)


def scatter_update(ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None) -> Any:
    """Writes rows of a variable; otherwise as `assign`."""
    return _scattered("scatter_update", ref, indices, updates, lambda rows: rows.set, name)


def scatter_add(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Any:
    """Adds to rows of a variable, as often as they are named; otherwise as `assign`."""
    return _scattered("scatter_add", ref, indices, updates, lambda rows: rows.add, name)


def scatter_sub(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Any:
    """Subtracts from rows of a variable, as often as they are named; otherwise as `assign`."""
    return _scattered("scatter_sub", ref, indices, updates, lambda rows: rows.subtract, name)


def group(*inputs: Any, name: str | None = None, **_: Any) -> Operation:
    """Returns an operation that stands for all of `inputs`, which have run already.

    >>> from jscope import tf1
    >>> def model():
    ...     n = tf1.get_variable("n", initializer=1, trainable=False)
    ...     return tf1.group(n.assign_add(1), n.assign_add(1), name="update")
    >>> model = tf1.transform_with_state(model)
    >>> op, state = model.apply(*model.init(jax.random.key(0)))
    >>> op, int(state["n"])
    (<tf1.Operation 'update'>, 3)
    """
    return Operation(below_name_scope(name or "group_deps"))


def no_op(name: str | None = None) -> Operation:
    """Returns an operation that does nothing."""
    return Operation(below_name_scope(name or "NoOp"))


def control_dependencies(control_inputs: Any) -> contextlib.AbstractContextManager[None]:
    """Returns a `with` block that does nothing: what stands before it has run.

    >>> from jscope import tf1
    >>> def model():
    ...     n = tf1.get_variable("n", initializer=1, trainable=False)
    ...     with tf1.control_dependencies([n.assign(5)]):
    ...         return tf1.identity(n)
    >>> model = tf1.transform_with_state(model)
    >>> int(model.apply(*model.init(jax.random.key(0)))[0])
    5
    """
    return contextlib.nullcontext()


def _variable(asker: str, ref: Any) -> Variable:
    current(asker)
    if not isinstance(ref, Variable):
        raise ArgumentTypeError(
            advised(
                f"`tf1.{asker}` writes a variable, not {ref!r}.",
                "Give it what `get_variable` or `tf1.Variable` returned: a value that was computed of it is no longer "
                "a variable.",
            )
        )
    return ref


def _scattered(
    asker: str, ref: Any, indices: Any, updates: Any, how: Callable[[Any], Callable[[Any], Any]], name: str | None
) -> Any:
    variable = _variable(asker, ref)
    rows = jnp.asarray(unwrap(indices))
    new = jnp.asarray(unwrap(updates), np.dtype(variable.dtype))
    return variable.assign(how(variable.__jax_array__().at[rows])(new), name=name or asker)
