"""The global step: one integer of the model, which is not trained."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jscope.tf1._ambient import current
from jscope.tf1._arguments import zeros_initializer
from jscope.tf1._collections import GraphKeys, get_collection
from jscope.tf1._dtypes import as_dtype
from jscope.tf1._errors import ArgumentError, ArgumentTypeError
from jscope.tf1._get_variable import get_variable


def create_global_step(graph: Any = None) -> Any:
    """Returns the new variable `global_step`, in the collection `GLOBAL_STEP`.

    Raises:
      ValueError: There is one.
    """
    if get_global_step() is not None:
        raise ArgumentError('"global_step" already exists.')
    keys = [GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP]
    kind = {"shape": [], "dtype": as_dtype("int64"), "initializer": zeros_initializer()}
    return get_variable(GraphKeys.GLOBAL_STEP, **kind, trainable=False, collections=keys)


def get_global_step(graph: Any = None) -> Any:
    """Returns the variable in the collection `GLOBAL_STEP`, or None."""
    current("train.get_global_step")
    found = get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) > 1:
        raise ArgumentError(f"Multiple tensors in global_step collection: {[each.name for each in found]}.")
    return found[0] if found else None


def get_or_create_global_step(graph: Any = None) -> Any:
    """Returns the variable `global_step`, which it creates if there is none.

    >>> from jscope import tf1
    >>> def step():
    ...     return tf1.train.get_or_create_global_step().assign_add(1)
    >>> model = tf1.transform_with_state(step)
    >>> params, state = model.init(jax.random.key(0))
    >>> out, state = model.apply(params, state)
    >>> int(state["global_step"])
    1
    """
    found = get_global_step()
    return create_global_step() if found is None else found


def assert_global_step(global_step_tensor: Any) -> None:
    """Raises unless this is a scalar of integers."""
    value = jnp.asarray(global_step_tensor)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise ArgumentTypeError(f'Existing "global_step" does not have integer type: {value.dtype}')
    if value.ndim:
        raise ArgumentTypeError(f'Existing "global_step" is not scalar: {value.shape}')
