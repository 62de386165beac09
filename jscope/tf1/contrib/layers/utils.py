"""`utils` of `tf.contrib.layers`: outputs collected under names, and small helpers that old code calls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jscope import _path
from jscope.tf1._ambient import current
from jscope.tf1._collections import add_to_collections, get_collection, get_collection_ref
from jscope.tf1._errors import ArgumentError
from jscope.tf1._ops._flow import cond
from jscope.tf1._tensors import TensorLike
from jscope.tf1._variables import without_output_number
from jscope.tf1.layers._dense import static_bool

_ALIASES = "jscope: names of collected outputs"


class NamedOutputs(NamedTuple):
    """Outputs and a name for them."""

    name: str
    outputs: Any


def collect_named_outputs(collections: Any, alias: str, outputs: Any) -> Any:
    """Returns `outputs`, after putting them into collections under the name `alias`."""
    if collections:
        append_tensor_alias(outputs, alias)
        add_to_collections(collections, outputs)
    return outputs


def append_tensor_alias(tensor: Any, alias: str) -> Any:
    """Gives a tensor one more name, and returns it."""
    # In the memory of the call, because it holds the tensor, which must not outlive the call.
    names = current("append_tensor_alias").memory.collections.setdefault(_ALIASES, [])
    names.append((tensor, alias.rstrip(_path.SEPARATOR)))
    return tensor


def get_tensor_aliases(tensor: Any) -> list[str]:
    """Returns the names under which a tensor was collected, or else its own."""
    pairs = current("get_tensor_aliases").memory.collections.get(_ALIASES, [])
    return [alias for each, alias in pairs if each is tensor] or [without_output_number(tensor.name)]


def gather_tensors_aliases(tensors: Any) -> list[str]:
    """Returns the names of several tensors."""
    return [alias for tensor in tensors for alias in get_tensor_aliases(tensor)]


def convert_collection_to_dict(collection: Any, clear_collection: bool = False) -> OrderedDict[str, Any]:
    """Returns the tensors of a collection by the names under which they were collected.

    >>> from jscope import tf1
    >>> slim = tf1.contrib.slim
    >>> def model(x):
    ...     with tf1.variable_scope("net") as scope:
    ...         slim.fully_connected(x, 2, scope="fc", outputs_collections="ends")
    ...     return slim.utils.convert_collection_to_dict("ends")
    >>> print(
    ...     list(
    ...         tf1.transform(model).apply(
    ...             {"net": {"fc": {"weights": jnp.ones((3, 2)), "biases": jnp.ones(2)}}}, jnp.ones((4, 3))
    ...         )
    ...     )
    ... )
    ['net/fc']
    """
    found = OrderedDict(
        (alias, tensor) for tensor in get_collection(collection) for alias in get_tensor_aliases(tensor)
    )
    if clear_collection:
        get_collection_ref(collection).clear()
    return found


def constant_value(value_or_tensor_or_var: Any, dtype: Any = None) -> Any:
    """Returns a value that is known while JAX traces, or None."""
    value = value_or_tensor_or_var
    if value is None:
        raise ArgumentError("value_or_tensor_or_var cannot be None")
    value = value.operand() if isinstance(value, TensorLike) else value
    return (
        None if isinstance(value, jax.Array) else value.item() if isinstance(value, np.ndarray | np.generic) else value
    )


def smart_cond(pred: Any, fn1: Callable[[], Any], fn2: Callable[[], Any], name: str | None = None) -> Any:
    """Returns `fn1()` or `fn2()`; both are traced where only the running program knows which."""
    decided = static_bool(pred)
    # Known flags choose in Python, so that the other branch creates no variables.
    if decided is None:
        return cond(pred, fn1, fn2)
    return fn1() if decided else fn2()


static_cond = smart_cond


def get_variable_collections(variables_collections: Any, name: str) -> Any:
    """Returns the collections of one variable of a layer: a dict has them by name."""
    # A dict has collections for some of the variables, and none for the others; anything else is meant for all.
    return variables_collections.get(name) if isinstance(variables_collections, dict) else variables_collections


def two_element_tuple(int_or_tuple: Any) -> tuple[int, int]:
    """Returns one int twice, or two ints."""
    if isinstance(int_or_tuple, list | tuple):
        if len(int_or_tuple) != 2:
            raise ArgumentError(f"Must be a list with 2 elements: {int_or_tuple}")
        return int(int_or_tuple[0]), int(int_or_tuple[1])
    if isinstance(int_or_tuple, int | np.integer):
        return int(int_or_tuple), int(int_or_tuple)
    raise ArgumentError("Must be an int, a list with 2 elements or a TensorShape of length 2")


def n_positive_integers(n: int, value: Any) -> tuple[int, ...]:
    """Returns one int n times, or n ints, all of them positive."""
    # Also a `TensorShape`, which has a length.
    values = tuple(map(int, value)) if hasattr(value, "__len__") else (int(value),) * n
    if len(values) != n or min(values) < 1:
        raise ArgumentError(f"Expected sequence of {n} positive integers, but received {value!r}")
    return values


def channel_dimension(shape: Any, data_format: str, min_rank: int = 1) -> int:
    """Returns the number of channels of a shape."""
    return _dimension(shape, 1 if data_format == "channels_first" else -1, min_rank)


def last_dimension(shape: Any, min_rank: int = 1) -> int:
    """Returns the last number of a shape."""
    return _dimension(shape, -1, min_rank)


def _dimension(shape: Any, axis: int, min_rank: int) -> int:
    if len(shape) < min_rank:
        raise ArgumentError(f"rank of shape must be at least {min_rank} not: {len(shape)}")
    return int(shape[axis])
