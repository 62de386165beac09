"""Getters that hold values by path give each copy of a stacked variable its own.

Such a getter (`jscope.getters.substitute`) has `by_path()`, its values, and `replaced(values)`, itself with others.
What stands for a variable that a lift stacks is a stack as well, and goes through the loop as the variable does.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp

from jscope import _path
from jscope._scope import Scope
from jscope._util._text import scope_at
from jscope.errors import ShapeMismatchError

Slices = tuple[dict[str, Any], ...]
"""For each getter of a scope, outermost first, values by path."""


def stacked_values(scope: Scope, size: int, shared: str | None) -> Slices:
    """Returns the values that stand for variables which a lift over `scope` stacks."""
    chosen, getters = [], scope._context.getters
    for getter in cast("tuple[Any, ...]", getters):
        values = getter.by_path() if hasattr(getter, "by_path") else {}
        own = {path: value for path, value in values.items() if _is_stacked(scope, path, shared)}
        for path, value in own.items():
            if jnp.shape(value)[:1] != (size,):
                raise ShapeMismatchError(
                    f"`{path}` is stacked: there are {size} copies below {scope_at(scope.path)}. So must be what "
                    f"stands for it in a custom getter, but that has shape {jnp.shape(value)}.\n"
                    "Give it a leading axis, as the params have, or put the getter on the scope inside."
                )
        chosen.append(own)
    return tuple(chosen)


def with_slices(scope: Scope, slices: Slices) -> Scope:
    """Returns the scope with getters that have these values."""
    if not any(slices):
        return scope
    pairs = zip(scope._context.getters, slices, strict=True)
    getters = tuple(getter.replaced(own) if own else getter for getter, own in pairs)  # pyright: ignore[reportAttributeAccessIssue]  # `own` has values.
    return scope._with(replace(scope._context, getters=getters))


def placeholder_slices(slices: Slices) -> Slices:
    """Returns one copy of each value, for a body that is collected."""
    return jax.tree.map(lambda value: jnp.zeros(jnp.shape(value)[1:], jnp.result_type(value)), slices)


def _is_stacked(scope: Scope, path: str, shared: str | None) -> bool:
    return bool(_path.relative(path, scope._path)) and (shared is None or not re.search(shared, path))
