"""Handles of variables: what `get_variable` returns.

A handle stands for the variable, not for a value: it reads the core's scope each time, so that it sees what was
assigned. It is the same object whenever the same variable is asked for, and `==` is identity, as in TensorFlow 1. It
is a pytree whose only leaf is its value; what comes out of a JAX transform is a handle of that one value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._util._stack import call_site
from jscope.errors import NativeTransformError, StateError
from jscope.tf1 import _bridge
from jscope.tf1._ambient import Ambient, current, current_or_none, ended_error
from jscope.tf1._arrays import unwrap
from jscope.tf1._caches import current_trace
from jscope.tf1._shapes import TensorShape, as_shape
from jscope.tf1._sites import Site
from jscope.tf1._tensors import Op, TensorLike, as_array, tensor


class Facts(NamedTuple):
    """What is known of a variable from the call that created it, put together where somebody asks its handle.

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
    site: str | Site = ""


class Variable(TensorLike):
    """A variable, as `get_variable` returns it.

    Called with an initial value, it makes a variable that `get_variable` does not find, named under the name scope:
    `Variable`, `Variable_1`, ... where no name is given.

    >>> from jscope import tf1
    >>> def model(x):
    ...     with tf1.variable_scope("foo"):
    ...         w = tf1.get_variable("w", [2, 3])
    ...     print(w.name, w.op.name, w.get_shape().as_list(), w.dtype.name, w.trainable)
    ...     return x @ w
    >>> params = tf1.transform(model).init(jax.random.key(0), jnp.ones((1, 2)))
    foo/w:0 foo/w [2, 3] float32 True
    >>> def count():
    ...     with tf1.name_scope("bar"):
    ...         return tf1.Variable(0, trainable=False).assign_add(1)
    >>> params, state = tf1.transform_with_state(count).init(jax.random.key(0))
    >>> jscope.tree.names(state)
    ['bar/Variable']
    """

    # What is known of it, and not one `Facts`: objects are what an eager call spends its time on.
    __slots__ = (
        "__weakref__",
        "_ambient",
        "_caching_device",
        "_constraint",
        "_detached",
        "_dtype",
        "_partitions",
        "_parts",
        "_path",
        "_shape",
        "_site",
        "_trainable",
    )
    _parts: Any

    def __new__(
        cls,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Callable[..., Any] | None = None,
        use_resource: bool | None = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
    ) -> Variable:
        """Makes a variable with this initial value: an array, a number, a tensor, or a function without arguments."""
        ambient = current("Variable")
        options = {"trainable": trainable, "collections": collections, "name": name, "dtype": dtype}
        options |= {"caching_device": caching_device, "constraint": constraint, "use_resource": use_resource}
        options |= {"synchronization": synchronization, "aggregation": aggregation, "shape": shape}
        return ambient.make_variable(ambient, initial_value, call_site(), **options)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass  # `__new__` has done it.

    @property
    def facts(self) -> Facts:
        """What is known from the call that created it."""
        known = self._path, self._shape, self._dtype, self._trainable, self._constraint, self._caching_device
        return Facts(*known, self._partitions, self._site)

    @property
    def name(self) -> str:
        """The full name with a colon and a zero, as TensorFlow names the variable's first output."""
        return f"{self._path}:0"

    @property
    def op(self) -> Op:
        """An object that has the full name as `.name`."""
        return Op(self._path)

    @property
    def shape(self) -> TensorShape:
        """The shape."""
        found = self._shape if self._detached is None else getattr(self._detached, "shape", None)
        shape = as_shape(found)
        return as_shape(jnp.shape(self.value())) if shape is None else shape  # pyright: ignore[reportReturnType]

    @property
    def trainable(self) -> bool:
        """Whether it is a param (true) or state."""
        return self._trainable

    @property
    def constraint(self) -> Callable[..., Any] | None:
        """The projection onto its allowed values, if any."""
        return self._constraint

    def value(self) -> Any:
        """Returns the value: while collecting, a placeholder; after an `assign` in this call, what was assigned."""
        if self._detached is not None:
            return self._detached
        ambient, path = self._ambient() if self._ambient is not None else None, self._path
        if ambient is None:
            ambient = self._running("read")
        # Of all that `note_use` does, nearly always nothing but this is needed.
        if current_trace(()) is not ambient.watch.noted_untraced:
            ambient.note_use("Variable `{}` was read", path)
        # Params do not change during a call, and this is the most frequent of all operations.
        found = ambient.params.get(path)
        if found is not None:
            return found
        return _bridge.read(ambient.core_scope, path, trainable=ambient.is_param(path, trainable=self._trainable))

    read_value = initialized_value = value

    def assign(
        self, value: Any, use_locking: bool | None = None, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Writes the variable, which must be state, and returns the new value.

        As in TensorFlow no gradient goes back from there, nor from what is read later, to what `value` was made of.

        Raises:
          StateError: It is a param, or the call has no state (calls of `tf1.transform_with_state` have).
          NativeTransformError: Inside a JAX transform, from where the value could not get out.
        """
        # First of all whether it may be written at all: what follows reads the variable, and would blame the reading.
        ambient = self._running("assigned")
        new, dtype = jax.tree.map(_without_gradient, unwrap(value)), np.dtype(self.dtype)
        if ambient.in_idle_branch:
            return tensor(new, name or "Assign")
        write = _bridge.writer(ambient.core_scope, self._path)
        if isinstance(new, np.ndarray | np.generic | list | tuple):
            new = jnp.asarray(new, dtype)
        try:
            write(new)
        except StateError as error:
            if self._trainable:
                error.add_note(
                    "jscope: `tf1.transform_with_state(f, state=regex)` makes state of the variables whose full names "
                    f"match, such as `^{re.escape(self._path)}$`."
                )
            raise
        made = as_array(new)
        return tensor(made if made.dtype == dtype else made.astype(dtype), name or "Assign")

    def assign_add(
        self, delta: Any, use_locking: bool | None = None, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Adds to the variable; otherwise as `assign`."""
        return self.assign(self.__jax_array__() + self._delta(delta), name=name or "AssignAdd")

    def assign_sub(
        self, delta: Any, use_locking: bool | None = None, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Subtracts from the variable; otherwise as `assign`."""
        return self.assign(self.__jax_array__() - self._delta(delta), name=name or "AssignSub")

    def _delta(self, delta: Any) -> Any:
        return jnp.asarray(unwrap(delta), np.dtype(self.dtype))

    def __repr__(self) -> str:
        dtype = getattr(self._dtype, "name", self._dtype)
        return f"<tf1.{type(self).__name__} '{self.name}' shape={self._shape} dtype={dtype}>"

    def _running(self, action: str) -> Ambient:
        ambient = self._ambient() if self._ambient is not None else None
        if ambient is None and self._detached is not None:
            raise StateError(
                f"`{self._path}` was {action} through a handle that went through a JAX transform, so it holds "
                "only a value.\n"
                "Assign outside the transform, to what `get_variable` returned."
            )
        if ambient is None or ambient.ended:
            raise ended_error(f"Variable `{self._path}` was {action}")
        if ambient.in_branch and action == "assigned":
            raise NativeTransformError(
                f"`{self._path}` was assigned in a branch of `tf.cond`, both of which run here.\n"
                "Assign outside: `v.assign(tf.cond(pred, lambda: new, lambda: v.value()))`."
            )
        return ambient


def _without_gradient(value: Any) -> Any:
    return jax.lax.stop_gradient(value) if isinstance(value, jax.Array) else value


class PartitionedVariable(Variable):
    """A variable that a partitioner cuts: one array, which can be looked at in parts.

    >>> from jscope import tf1
    >>> def model():
    ...     table = tf1.get_variable("table", [5, 2], partitioner=tf1.fixed_size_partitioner(2))
    ...     return len(table), [(part.name, part.shape) for part in table], table.as_tensor().shape
    >>> tf1.transform(model).apply({"table": jnp.ones((5, 2))})
    (2, [('table/part_0:0', (3, 2)), ('table/part_1:0', (2, 2))], (5, 2))
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """The full name, without a number behind: that is for the parts."""
        return self._path

    @property
    def partitions(self) -> list[int]:
        """Into how many parts each axis is cut."""
        return list(self._partitions)

    def as_tensor(self) -> Any:
        """Returns the whole as a tensor."""
        return tensor(self.__jax_array__(), "ConcatPartitions")

    def parts(self) -> list[VariablePart]:
        """Returns the parts, in order; the same objects each time."""
        if self._parts is None:
            self._parts = tuple(VariablePart(self, number) for number in range(len(self)))
        return list(self._parts)

    def __len__(self) -> int:
        return math.prod(self._partitions)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parts())


class VariablePart(TensorLike):
    """One part of a variable that a partitioner cuts: rows of it, under the name `n/part_0`."""

    __slots__ = ("number", "whole")

    def __init__(self, whole: PartitionedVariable, number: int) -> None:
        self.whole = whole
        self.number = number

    @property
    def name(self) -> str:
        """The full name of the variable and the number of the part, as a checkpoint of TensorFlow's has it."""
        return f"{self.op.name}:0"

    @property
    def op(self) -> Op:
        """An object that has that name as `.name`."""
        return Op(_path.child(self.whole.facts.path, f"part_{self.number}"))

    @property
    def trainable(self) -> bool:
        """Whether the variable is trained."""
        return self.whole.trainable

    @property
    def shape(self) -> TensorShape:
        """The shape."""
        sizes = [each.stop - each.start for each in self._slices()]
        return as_shape(tuple(sizes))  # pyright: ignore[reportReturnType]

    @property
    def dtype(self) -> Any:
        """The dtype of the variable."""
        return self.whole.dtype

    def value(self) -> Any:
        """Returns the part of the variable's value."""
        return self.whole.__jax_array__()[self._slices()]

    read_value = value

    def _slices(self) -> tuple[slice, ...]:
        # The first parts have one row more where the rows are no multiple of the parts.
        found = []
        for size, parts in zip(self.whole.shape, self.whole.facts.partitions, strict=True):
            number = self.number if parts > 1 else 0
            rows, more = divmod(int(size), parts)
            start = number * rows + min(number, more)
            found.append(slice(start, start + rows + (number < more)))
        return tuple(found)

    def __repr__(self) -> str:
        return f"<tf1.VariablePart '{self.name}' shape={self.shape}>"


# `Variable(...)` asks the running call to create a variable, which ends here.
def make_handle(
    ambient: Any,
    path: str,
    shape: Any,
    dtype: Any,
    trainable: bool,
    constraint: Callable[..., Any] | None = None,
    caching_device: Any = None,
    partitions: Any = None,
    site: str | Site = "",
    value: Any = None,
) -> Variable:
    """Returns a new handle of a variable of a call, to which `ambient` is a weak reference, or of a `value` alone."""
    self = object.__new__(Variable if partitions is None else PartitionedVariable)
    self._ambient, self._path, self._shape, self._dtype, self._trainable = ambient, path, shape, dtype, trainable
    self._constraint, self._caching_device, self._partitions, self._site = constraint, caching_device, partitions, site
    self._detached, self._parts = value, None
    return self


# The static part lives on in JAX's caches, where handles with equal ones share a trace. So it leaves out the constraint
# and the call site, and whatever would keep the call alive. `_unflatten` asks the running call for the rest.
def _flatten(variable: Variable) -> tuple[tuple[Any], tuple[Any, ...]]:
    return (variable.value(),), (variable._path, str(variable._dtype), variable._trainable)


def _unflatten(aux: tuple[Any, ...], children: tuple[Any]) -> Any:
    path, dtype, trainable = aux
    # A mask (`jax.tree.map(lambda _: None, v)`) has nothing here, which is no value of a variable.
    if children[0] is None:
        return None
    ambient = current_or_none()
    known = ambient.handles.get(path) if ambient is not None else None
    facts = known.facts if isinstance(known, Variable) else Facts(path, None, dtype, trainable)
    return make_handle(None, *facts, children[0])


for _kind in (Variable, PartitionedVariable):
    jax.tree_util.register_pytree_node(_kind, _flatten, _unflatten)
jax.tree_util.register_pytree_node(VariablePart, lambda part: ((part.value(),), None), lambda _, leaves: leaves[0])


def name_of(item: Any) -> str | None:
    """Returns the name by which collections filter, if an item has one."""
    name = getattr(item, "name", None)
    return name if isinstance(name, str) else None


def without_output_number(name: str) -> str:
    """Returns the full name of a variable that may have been given with `":0"`."""
    return name.removesuffix(":0")
