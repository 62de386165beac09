"""Handles of variables: what `get_variable` returns.

A handle stands for the variable, not for a value: it reads the core's scope each time, so that it sees what was
assigned. It is the same object whenever the same variable is asked for, and `==` is identity, as in TensorFlow 1. It
is a pytree whose only leaf is its value; what comes out of a JAX transform is a handle of that one value.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jscope.errors import NativeTransformError, ScopeEndedError, StateError
from jscope.tf1 import _bridge
from jscope.tf1._ambient import Ambient, current_or_none
from jscope.tf1._arrays import unwrap
from jscope.tf1._errors import ArgumentTypeError
from jscope.tf1._shapes import TensorShape, as_shape
from jscope.tf1._tensors import Op, TensorLike


class Facts(NamedTuple):
    """What is known of a variable from the call that created it.

    Attributes:
      path: The full name.
      shape: The shape, a `TensorShape` or a tuple.
      dtype: The dtype that was asked for; reuse compares with it.
      trainable: Whether it is a param (true) or state.
      constraint: The projection onto its allowed values, if any.
      caching_device: What was given as `caching_device`; without effect.
      partitions: What the partitioner returned, if there was one.
      site: Where it was created, as `file:line`.
    """

    path: str
    shape: Any
    dtype: Any
    trainable: bool
    constraint: Callable[..., Any] | None = None
    caching_device: Any = None
    partitions: Any = None
    site: str = ""


class Variable(TensorLike):
    """A variable, as `get_variable` returns it; only `get_variable` makes one.

    >>> from jscope import tf1
    >>> def model(x):
    ...     with tf1.variable_scope("foo"):
    ...         w = tf1.get_variable("w", [2, 3])
    ...     print(w.name, w.op.name, w.get_shape().as_list(), w.dtype.name, w.trainable)
    ...     return x @ w
    >>> params = tf1.transform(model).init(jax.random.key(0), jnp.ones((1, 2)))
    foo/w:0 foo/w [2, 3] float32 True
    """

    __slots__ = ("__weakref__", "_ambient", "_detached", "_facts")

    def __init__(self, *_: Any, **__: Any) -> None:
        raise ArgumentTypeError(
            "`tf1.Variable(...)` cannot create a variable: without a scope it would not have a name that a checkpoint "
            "could keep.\n"
            "Use `tf1.get_variable(name, initializer=value)`, with `trainable=False` for what is not a param."
        )

    @property
    def facts(self) -> Facts:
        """What is known from the call that created it."""
        return self._facts

    @property
    def name(self) -> str:
        """The full name with a colon and a zero, as TensorFlow names the variable's first output."""
        return f"{self._facts.path}:0"

    @property
    def op(self) -> Op:
        """An object that has the full name as `.name`."""
        return Op(self._facts.path)

    @property
    def shape(self) -> TensorShape:
        """The shape."""
        found = self._facts.shape if self._detached is None else getattr(self._detached, "shape", None)
        shape = as_shape(found)
        return as_shape(jnp.shape(self.value())) if shape is None else shape  # pyright: ignore[reportReturnType]

    @property
    def trainable(self) -> bool:
        """Whether it is a param (true) or state."""
        return self._facts.trainable

    @property
    def constraint(self) -> Callable[..., Any] | None:
        """The projection onto its allowed values, if any."""
        return self._facts.constraint

    def value(self) -> Any:
        """Returns the value: while collecting, a placeholder; after an `assign` in this call, what was assigned."""
        if self._detached is not None:
            return self._detached
        ambient = self._running("read")
        facts = self._facts
        ambient.note_use("Variable `{}` was read", facts.path)
        # Params do not change during a call, and this is the most frequent of all operations.
        found = ambient.params.get(facts.path)
        return _bridge.read(ambient.core_scope, facts.path, trainable=facts.trainable) if found is None else found

    read_value = value

    def assign(
        self, value: Any, use_locking: bool | None = None, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Writes the variable, which must be state, and returns the new value.

        Raises:
          StateError: It is a param, or the call has no state (calls of `tf1.transform_with_state` have).
          NativeTransformError: Inside a JAX transform, from where the value could not get out.
        """
        # First of all whether it may be written at all: what follows reads the variable, and would blame the reading.
        ambient, new = self._running("assigned"), unwrap(value)
        write = _bridge.writer(ambient.core_scope, self._facts.path)
        if isinstance(new, np.ndarray | np.generic | list | tuple):
            new = jnp.asarray(new, self.dtype)
        write(new)
        return new

    def assign_add(
        self, delta: Any, use_locking: bool | None = None, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Adds to the variable; otherwise as `assign`."""
        return self.assign(self.value() + jnp.asarray(unwrap(delta), self.dtype))

    def assign_sub(
        self, delta: Any, use_locking: bool | None = None, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Subtracts from the variable; otherwise as `assign`."""
        return self.assign(self.value() - jnp.asarray(unwrap(delta), self.dtype))

    def __repr__(self) -> str:
        facts = self._facts
        return f"<tf1.Variable '{facts.path}:0' shape={facts.shape} dtype={getattr(facts.dtype, 'name', facts.dtype)}>"

    def _running(self, action: str) -> Ambient:
        ambient = self._ambient() if self._ambient is not None else None
        if ambient is None and self._detached is not None:
            raise StateError(
                f"`{self._facts.path}` was {action} through a handle that went through a JAX transform, so it holds "
                "only a value.\n"
                "Assign outside the transform, to what `get_variable` returned."
            )
        if ambient is None:
            raise ScopeEndedError(
                f"Variable `{self._facts.path}` was {action} after the `init` or `apply` call it belongs to.\n"
                "Return its value from the function instead."
            )
        if ambient.in_branch and action == "assigned":
            raise NativeTransformError(
                f"`{self._facts.path}` was assigned in a branch of `tf.cond`, both of which run here.\n"
                "Assign outside: `v.assign(tf.cond(pred, lambda: new, lambda: v.value()))`."
            )
        return ambient


def new_handle(ambient: Ambient, facts: Facts) -> Variable:
    """Returns a new handle of a variable of the running call."""
    return _make_handle(facts, weakref.ref(ambient), None)


# `__init__` is what a user's `tf1.Variable(...)` reaches, and refuses, so handles are made without it.
def _make_handle(facts: Facts, ambient: Any, value: Any) -> Variable:
    self = object.__new__(Variable)
    self._facts, self._ambient, self._detached = facts, ambient, value
    return self


# The static part lives on in JAX's caches, where handles with equal ones share a trace. So it leaves out the constraint
# and the call site, and whatever would keep the call alive. `_unflatten` asks the running call for the rest.
def _flatten(variable: Variable) -> tuple[tuple[Any], tuple[Any, ...]]:
    facts = variable._facts
    return (variable.value(),), (facts.path, str(facts.dtype), facts.trainable)


def _unflatten(aux: tuple[Any, ...], children: tuple[Any]) -> Variable:
    path, dtype, trainable = aux
    ambient = current_or_none()
    known = ambient.handles.get(path) if ambient is not None else None
    facts = known.facts if isinstance(known, Variable) else Facts(path, None, dtype, trainable)
    return _make_handle(facts, None, children[0])


jax.tree_util.register_pytree_node(Variable, _flatten, _unflatten)


def name_of(item: Any) -> str | None:
    """Returns the name by which collections filter, if an item has one."""
    name = getattr(item, "name", None)
    return name if isinstance(name, str) else None


def without_output_number(name: str) -> str:
    """Returns the full name of a variable that may have been given with `":0"`."""
    return name.removesuffix(":0")
