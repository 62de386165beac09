"""Collections: lists by key, which belong to one call.

What TensorFlow keeps in a graph is kept here only while the function runs. So collections are read inside the function,
and what is wanted outside is returned.
"""

from __future__ import annotations

import re
from typing import Any

import jax
from jax.core import Tracer

from jscope.errors import NativeTransformError
from jscope.tf1._ambient import Ambient, current
from jscope.tf1._variables import Variable, name_of


class GraphKeys:
    """The names of the standard collections."""

    GLOBAL_VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    METRIC_VARIABLES = "metric_variables"
    MODEL_VARIABLES = "model_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    SUMMARIES = "summaries"
    UPDATE_OPS = "update_ops"
    ACTIVATIONS = "activations"
    WEIGHTS = "weights"
    BIASES = "biases"
    GLOBAL_STEP = "global_step"
    INIT_OP = "init_op"
    TRAIN_OP = "train_op"
    ASSET_FILEPATHS = "asset_filepaths"
    QUEUE_RUNNERS = "queue_runners"
    SAVEABLE_OBJECTS = "saveable_objects"
    SAVERS = "savers"
    TABLE_INITIALIZERS = "table_initializer"
    VARIABLES = GLOBAL_VARIABLES


def add(ambient: Ambient, key: Any, item: Any) -> None:
    """Puts an item at the end of a collection."""
    ambient.memory.collections.setdefault(key, []).append(item)


def add_to_collection(name: Any, value: Any) -> None:
    """Puts `value` at the end of the collection `name` of the running call.

    Raises:
      NativeTransformError: `value` was computed inside a JAX transform, from where it cannot get out.
    """
    ambient = current("add_to_collection")
    ambient.note_use("The collection {!r} was used", name)
    # A value of a branch that does not count is none of the model's. TensorFlow would refuse to compute it.
    if ambient.in_idle_branch and not isinstance(value, Variable):
        return
    # A handle has a tracer for a leaf here, but wherever it is used it reads the variable anew.
    values = [] if isinstance(value, Variable) else jax.tree.leaves(value)
    if not ambient.watch.outside and any(isinstance(leaf, Tracer) for leaf in values):
        raise NativeTransformError(
            f"A value was put into the collection {name!r} inside a JAX transform, from where it cannot get out.\n"
            "Return the value from the transformed function, and put it into the collection outside."
        )
    add(ambient, name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """Puts `value` into several collections; a string names one."""
    # A collection that is named twice is one: TensorFlow makes a set of the names.
    for name in [names] if isinstance(names, str) else dict.fromkeys(names):
        add_to_collection(name, value)


def get_collection_ref(key: Any) -> list[Any]:
    """Returns the list itself: what is appended to it is in the collection."""
    ambient = current("get_collection_ref")
    ambient.note_use("The collection {!r} was used", key)
    return ambient.memory.collections.setdefault(key, [])


def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """Returns a copy of the collection `key`; with `scope`, only the items whose names begin so (as a regex matches).

    >>> from jscope import tf1
    >>> def model():
    ...     for name in ("foo", "foo_1", "bar"):
    ...         with tf1.variable_scope(name):
    ...             tf1.get_variable("w", [1])
    ...     return [v.name for v in tf1.get_collection(tf1.GraphKeys.GLOBAL_VARIABLES, scope="foo/")]
    >>> print(tf1.transform(model).apply({"foo": {"w": 1.0}, "foo_1": {"w": 2.0}, "bar": {"w": 3.0}}))
    ['foo/w:0']
    """
    ambient = current("get_collection")
    ambient.note_use("The collection {!r} was read", key)
    items = list(ambient.memory.collections.get(key, ()))
    # In `init`, a regularizer that returned None has added nothing; in `apply` it was not called yet.
    if key == GraphKeys.REGULARIZATION_LOSSES and not ambient.collecting:
        items = [item for item in items if getattr(item, "counts", True)]
    if not scope:
        return items
    return [item for item in items if (name := name_of(item)) is not None and re.match(scope, name)]


def global_variables(scope: str | None = None) -> list[Any]:
    """Returns the variables that are not local, in the order in which they were created."""
    return get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Any]:
    """Returns the trainable variables, in the order in which they were created."""
    return get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def local_variables(scope: str | None = None) -> list[Any]:
    """Returns what `get_local_variable` created, in that order."""
    return get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Any]:
    """Returns the variables in the collection `MODEL_VARIABLES`."""
    return get_collection(GraphKeys.MODEL_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Any]:
    """Returns the variables that have moving averages: see `tf1.train.ExponentialMovingAverage`."""
    return get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)
