"""`tf.train.init_from_checkpoint`, for params that are values.

In TensorFlow it changes a graph, whose variables then begin with what the checkpoint has. Here it takes params and
returns others, with the values from the checkpoint. The mapping rules and their errors are TensorFlow's; an error
changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope import _path
from jscope.errors import ShapeMismatchError
from jscope.tf1._averages import ExponentialMovingAverage as ExponentialMovingAverage
from jscope.tf1._errors import ArgumentError, ArgumentTypeError, MissingReuseError
from jscope.tf1._lazy import finder
from jscope.tf1._shapes import TensorShape, as_shape
from jscope.tf1._steps import assert_global_step as assert_global_step
from jscope.tf1._steps import create_global_step as create_global_step
from jscope.tf1._steps import get_global_step as get_global_step
from jscope.tf1._steps import get_or_create_global_step as get_or_create_global_step
from jscope.tf1._variables import Variable, without_output_number

__getattr__, __dir__ = finder("train")

PART = "part_"
"""What TensorFlow calls the shards of a partitioned variable, with their number, below its name."""


@runtime_checkable
class Reader(Protocol):
    """A checkpoint to read from, such as `tf.train.load_checkpoint` or `jscope.checkpoint` give one."""

    def get_variable_to_shape_map(self) -> Mapping[str, Sequence[int]]:
        """Returns the shape of each tensor, by name."""
        ...

    def get_tensor(self, name: str, /) -> Any:
        """Returns one tensor."""
        ...


@dataclass(frozen=True, slots=True)
class Tensors:
    """A dict of arrays as a reader."""

    tensors: Mapping[str, Any]

    def get_variable_to_shape_map(self) -> Mapping[str, Sequence[int]]:
        """Returns the shape of each array."""
        return {name: list(np.shape(value)) for name, value in self.tensors.items()}

    def get_tensor(self, name: str, /) -> Any:
        """Returns one array."""
        return self.tensors[name]

    def __str__(self) -> str:
        return "dict"


def init_from_checkpoint(
    params: Mapping[str, Any],
    reader: Reader | Mapping[str, Any],
    assignment_map: Mapping[str, Any] | Iterable[tuple[str, Any]],
) -> dict[str, Any]:
    """Returns `params` with the values that `assignment_map` takes from a checkpoint. The old params are unchanged.

    >>> from jscope import tf1
    >>> params = {"net": {"w": jnp.zeros(2), "b": jnp.zeros(1)}}
    >>> old = {"a/w": np.ones(2, "float32"), "a/b": np.ones(1, "float32")}
    >>> new = tf1.train.init_from_checkpoint(params, old, {"a/": "net/"})
    >>> new["net"]["w"].tolist(), params["net"]["w"].tolist()
    ([1.0, 1.0], [0.0, 0.0])

    Args:
      params: A nested dict of arrays by name, as `init` returns it: params, or state.
      reader: A reader of the checkpoint, or a dict of its arrays.
      assignment_map: From names in the checkpoint to names of variables, or from scopes to scopes, which end in `/`;
        `/` by itself is the root. A dict, or pairs. Pairs are taken in the order of the names in the checkpoint, and
        later ones win.

    Raises:
      ValueError: A tensor is missing, or has another shape, or a name is neither a variable nor a scope.
      TypeError: `reader` is a path: `jscope.checkpoint.init_from_checkpoint` takes one.
    """
    if isinstance(reader, str | os.PathLike):
        raise ArgumentTypeError(
            f"{os.fspath(reader)!r} is a path, but what is needed is a reader or a dict of arrays.\n"
            "Call `jscope.checkpoint.init_from_checkpoint`, which opens files of any format, or pass "
            "`jscope.checkpoint.load_checkpoint(path)`."
        )
    if not isinstance(assignment_map, Iterable) or isinstance(assignment_map, str):
        raise ArgumentTypeError(
            f"assignment_map={assignment_map!r} is neither a dict nor pairs: {{'scope/': 'other/'}}."
        )
    # Asked for as a reader first: an open safetensors file is a mapping by name, too.
    source = reader if isinstance(reader, Reader) else Tensors(reader)
    flat = dict(_path.items(params))
    assignment = _Assignment(source, dict(source.get_variable_to_shape_map()), flat)
    pairs: Any = assignment_map.items() if isinstance(assignment_map, Mapping) else assignment_map
    # Nothing is read before every pair was checked. By name, and not in the order given, so that `a/x` comes after `a/`
    # and overrides it for its one variable.
    chosen: dict[str, str] = {}
    ordered: list[tuple[str, Any]] = sorted(pairs, key=lambda pair: pair[0])
    for tensor, target in ordered:
        for name, wanted in assignment.assigned(tensor, target):
            assignment.check_shape(name, wanted)
            chosen[name] = wanted
    return _path.nested((flat | {name: assignment.read(name, tensor) for name, tensor in chosen.items()}).items())


@dataclass(frozen=True, slots=True)
class _Assignment:
    """One checkpoint and the variables that may be read from it."""

    reader: Reader
    shapes: Mapping[str, Sequence[int]]
    flat: Mapping[str, Any]

    def assigned(self, tensor: str, target: Any) -> list[tuple[str, str]]:
        """Returns which variables one entry of the map assigns, each with the name of its tensor."""
        name = self._variable(target)
        if name is None:
            return self._scope(tensor, target)
        if not self._has(tensor):
            raise MissingReuseError(f"Tensor {tensor} is not found in {self._source} checkpoint {dict(self.shapes)}")
        return [(name, tensor)]

    def _variable(self, target: Any) -> str | None:
        """Returns the name of the variable that is meant, or None for a scope."""
        # A partitioned variable may be given as the list of its shards; here they are one variable.
        if isinstance(target, list | tuple) and target and all(isinstance(part, Variable) for part in target):
            target = target[0]
        name = without_output_number(target.name) if isinstance(target, Variable) else target
        if not isinstance(name, str):
            raise ArgumentError(f"{target!r} is neither a variable nor the name of one, nor of a scope.")
        if isinstance(target, Variable) and name not in self.flat:
            raise MissingReuseError(f"Variable {name} is not in the params.")
        return name if name in self.flat else None

    def _scope(self, tensor: str, target: str) -> list[tuple[str, str]]:
        scope = _path.parent(target)
        # A misspelt name of a variable gets here as well: what is not a variable is taken for a scope.
        if not tensor.endswith(_path.SEPARATOR):
            raise ArgumentError(
                f"Assignment map with scope only name {scope} should map to scope only {tensor}. "
                "Should be 'scope/': 'other_scope/'."
            )
        below = sorted(name for name in self.flat if not scope or name.startswith(scope + _path.SEPARATOR))
        return [(name, self._tensor_of(name, scope, tensor, target)) for name in below]

    def _tensor_of(self, name: str, scope: str, tensor: str, target: str) -> str:
        """Returns the tensor for a variable below a scope. What is odd here is odd in TensorFlow."""
        # Names are cut as strings: an empty scope that is not written `/` costs the variable its first letter, and a
        # scope without a slash at its end looks for a name with two.
        full = name[len(scope) :]
        if target != _path.SEPARATOR:
            full = full[1:]
        if tensor != _path.SEPARATOR:
            full = tensor + full
        full = full.removesuffix(_path.SEPARATOR)
        if not self._has(full):
            raise MissingReuseError(
                f"Tensor {full} ({name[len(scope) + 1 :]} in {tensor}) is not found in {self._source} checkpoint"
            )
        return full

    def check_shape(self, name: str, tensor: str) -> None:
        """Raises where variable and tensor have different shapes."""
        found = TensorShape(self._shape(tensor))
        asked = as_shape(np.shape(self.flat[name]))
        if asked is not None and not asked.is_compatible_with(found):
            raise ShapeMismatchError(
                f"Shape of variable {name}:0 ({asked}) doesn't match with shape of tensor {tensor} ({found.as_list()}) "
                "from checkpoint reader."
            )

    def read(self, name: str, tensor: str) -> Any:
        """Returns the tensor in the dtype of the variable, put together if it is in shards."""
        if tensor in self.shapes:
            value = self.reader.get_tensor(tensor)
        else:
            parts = [np.asarray(self.reader.get_tensor(part)) for part in self._parts(tensor)]
            value = np.concatenate(parts, self._split_axis(tensor)) if len(parts) > 1 else parts[0]
        return _as_old(self.flat[name], tensor, value)

    def _has(self, tensor: str) -> bool:
        return tensor in self.shapes or bool(self._parts(tensor))

    def _parts(self, tensor: str) -> list[str]:
        """Returns the names of the shards of a tensor, in order."""
        found = []
        while (part := f"{tensor}{_path.SEPARATOR}{PART}{len(found)}") in self.shapes:
            found.append(part)
        return found

    def _split_axis(self, tensor: str) -> int:
        """Returns the axis along which the shards were cut: the one in which they differ, or the first."""
        # The checkpoint does not say. Shards that are all alike are taken to be cut along the first, as most are.
        shapes = [tuple(self.shapes[part]) for part in self._parts(tensor)]
        return next((axis for axis, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1), 0)

    def _shape(self, tensor: str) -> Sequence[int]:
        if tensor in self.shapes:
            return self.shapes[tensor]
        shapes = [list(self.shapes[part]) for part in self._parts(tensor)]
        cut = self._split_axis(tensor)
        return [sum(s[axis] for s in shapes) if axis == cut else size for axis, size in enumerate(shapes[0])]

    @property
    def _source(self) -> str:
        return str(getattr(self.reader, "path", None) or self.reader)


def _as_old(old: Any, tensor: str, value: Any) -> Any:
    """Returns a value in the dtype of the variable, and on the devices where the variable is."""
    if getattr(value, "dtype", None) == np.dtype(object):
        raise ArgumentError(f"Tensor {tensor} holds strings, which a variable cannot hold.")
    dtype = getattr(old, "dtype", None)
    values = np.asarray(value, dtype)
    if values.dtype.kind in "iu" and (values != value).any():
        raise ArgumentError(
            f"Tensor {tensor} holds values that {values.dtype}, the dtype of the variable, cannot hold."
        )
    # An array that nobody placed goes wherever JAX puts it, and can still move; one that was placed stays in its place.
    if isinstance(old, jax.Array) and not isinstance(old, Tracer) and getattr(old, "committed", False):
        return jax.device_put(values, old.sharding)
    return jnp.asarray(values)
