"""`tf.TensorArray`: what a loop writes, step by step, and reads again as one array.

TensorFlow's is a list that grows at any place. Here it is one array, of which each write returns a new one: so it may
be what a loop of JAX's carries. Only what is known while JAX traces can make it longer.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope.tf1 import _dtypes
from jscope.tf1._arrays import ArrayLike
from jscope.tf1._errors import ArgumentError, ArgumentTypeError, advised
from jscope.tf1._ops._call import plain
from jscope.tf1._ops._shaping import sizes_of
from jscope.tf1._shapes import TensorShape, as_shape
from jscope.tf1._tensors import as_array, tensor


class TensorArray:
    """A list of arrays of one shape. `write` and its like return another one, which has what was written.

    >>> squares = TensorArray("float32", 3)
    >>> for i in range(3):
    ...     squares = squares.write(i, [i * i])
    >>> np.asarray(squares.stack()).tolist(), int(squares.size())
    ([[0.0], [1.0], [4.0]], 3)
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Any = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        self.dtype = _dtypes.as_dtype(dtype)
        """The dtype of the elements."""
        self.dynamic_size = bool(dynamic_size)
        """Whether a write may make it longer."""
        length = 0 if size is None else sizes_of(plain(size))[0]
        shape = as_shape(element_shape)
        known = shape is not None and shape.is_fully_defined()
        # Until the first write, nobody knows more than how long it is.
        self._length = length
        self._value = (
            jnp.zeros((length, *shape), _dtypes.canonical(self.dtype)) if known and shape is not None else None
        )

    @property
    def element_shape(self) -> TensorShape | None:
        """The shape of an element, or None before the first write."""
        return None if self._value is None else TensorShape(np.shape(self._value)[1:])

    @property
    def flow(self) -> Any:
        """What TensorFlow orders the writes by: a constant, as they have their order here."""
        return tensor(np.float32(0.0), "flow")

    def size(self, name: str | None = None) -> Any:
        """Returns how many elements there are."""
        return tensor(np.int32(self._length), name)

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """Returns the list with `value` at `index`."""
        value = self._element(value)
        return self._set(plain(index), value, value.shape)

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """Returns the list with the rows of `value` at `indices`."""
        value = self._element(value)
        return self._set(as_array(plain(indices)), value, value.shape[1:])

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """Returns a list of the rows of `value`."""
        value = self._element(value)
        if not self.dynamic_size and self._length != value.shape[0]:
            raise ArgumentError(
                f"A TensorArray of size {self._length} cannot hold the {value.shape[0]} rows of `value`."
            )
        return self._with(value, value.shape[0])

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """Returns a list of the parts of `value`, which must be equally long."""
        value, sizes = self._element(value), sizes_of(plain(lengths))
        if len(set(sizes)) > 1:
            raise ArgumentError(f"The parts of a TensorArray must have one shape here, but `lengths` is {sizes}.")
        return self.unstack(value.reshape((len(sizes), -1, *value.shape[1:])))

    def read(self, index: Any, name: str | None = None) -> Any:
        """Returns the element at `index`."""
        return tensor(self._written("read")[self._inside(plain(index))], name or "TensorArrayRead")

    def gather(self, indices: Any, name: str | None = None) -> Any:
        """Returns the elements at `indices`, stacked."""
        at = self._inside(as_array(plain(indices)))
        return tensor(self._written("gather")[at], name or "TensorArrayGather")

    def stack(self, name: str | None = None) -> Any:
        """Returns all elements, stacked."""
        return tensor(self._written("stack"), name or "TensorArrayStack")

    def concat(self, name: str | None = None) -> Any:
        """Returns all elements, one behind the other."""
        value = self._written("concat")
        return tensor(value.reshape((-1, *value.shape[2:])), name or "TensorArrayConcat")

    def identity(self) -> TensorArray:
        """Returns the list."""
        return self

    def close(self, name: str | None = None) -> None:
        """Does nothing."""

    def _element(self, value: Any) -> Any:
        dtype, found = _dtypes.canonical(self.dtype), as_array(plain(value))
        # Numbers of Python's are what the array is. To cast a tensor, TensorFlow wants to be told.
        if isinstance(value, ArrayLike | jax.Array) and found.dtype != dtype:
            raise ArgumentTypeError(
                f"A TensorArray of dtype {self.dtype.name} cannot take a tensor of dtype {found.dtype}: `tf.cast` it."
            )
        return found.astype(dtype)

    def _inside(self, at: Any) -> Any:
        # JAX would count from the end, or read the last.
        if not isinstance(at, Tracer) and np.size(at) and not 0 <= np.min(at) <= np.max(at) < self._length:
            raise ArgumentError(f"Tried to read from index {at} but array size is: {self._length}")
        return at

    def _set(self, at: Any, value: Any, shape: tuple[int, ...]) -> TensorArray:
        base = self._of_elements(shape)
        if not isinstance(at, Tracer):
            if np.min(at, initial=0) < 0:
                raise ArgumentError(f"Tried to write to index {at}, which is negative.")
            base = base._grown(int(np.max(at, initial=-1)) + 1)
        elif self.dynamic_size:
            # JAX would write nothing, and say nothing, beyond the end.
            raise ArgumentError(
                advised(
                    "A TensorArray with `dynamic_size=True` was written where it is not known at which index.",
                    "Give it the `size` that it will have, and `dynamic_size=False`.",
                )
            )
        return base._with(as_array(plain(base._value)).at[at].set(value), base._length)

    def _of_elements(self, shape: tuple[int, ...]) -> TensorArray:
        if self._value is None:
            return self._with(jnp.zeros((self._length, *shape), _dtypes.canonical(self.dtype)), self._length)
        if np.shape(self._value)[1:] != shape:
            raise ArgumentError(
                advised(
                    f"A TensorArray whose elements have shape {self.element_shape} cannot take one of shape {shape}.",
                    "Here they are one array, also with `infer_shape=False`: pad them to one shape.",
                )
            )
        return self

    def _grown(self, length: int) -> TensorArray:
        if length <= self._length:
            return self
        if not self.dynamic_size:
            raise ArgumentError(
                f"Tried to write to index {length - 1} but array is not resizeable and size is: {self._length}"
            )
        old = as_array(plain(self._value))
        return self._with(jnp.concatenate([old, jnp.zeros((length - len(old), *old.shape[1:]), old.dtype)]), length)

    def _written(self, action: str) -> Any:
        if self._value is None:
            raise ArgumentError(
                advised(f"`{action}` of a TensorArray to which nothing was written.", "Write, or give `element_shape`.")
            )
        return as_array(plain(self._value))

    def _with(self, value: Any, length: int) -> TensorArray:
        made = object.__new__(TensorArray)
        made.dtype, made.dynamic_size, made._value, made._length = self.dtype, self.dynamic_size, value, length
        return made

    def __repr__(self) -> str:
        return f"<tf1.TensorArray size={self._length} element_shape={self.element_shape} dtype={self.dtype.name}>"


def _unflatten(facts: tuple[Any, bool, int], children: tuple[Any]) -> TensorArray:
    made = object.__new__(TensorArray)
    made.dtype, made.dynamic_size, made._length = facts
    (made._value,) = children
    return made


def is_unwritten(value: Any) -> bool:
    """Whether a value is a `tf.TensorArray` of which not even the shape of its elements is known."""
    return isinstance(value, TensorArray) and value._value is None


def made_like(old: TensorArray, new: TensorArray) -> TensorArray:
    """Returns an unwritten array with room for elements such as another one has."""
    return old if new._value is None else old._of_elements(new._value.shape[1:])


jax.tree_util.register_pytree_node(
    TensorArray, lambda a: ((a._value,), (a.dtype, a.dynamic_size, a._length)), _unflatten
)
