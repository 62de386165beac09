"""Two functions are the same if they are made of the same parts.

`normal(0.02)` inside a layer is a new function on every call. If functions were told apart by identity, one would be
compiled for each layer; so they compare by what they are made of: code, closure and defaults, recursively.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class ById:
    """A value that equals only itself. It is kept alive, so that its id is not given to another object."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ById) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Same:
    """A callable that equals every other that is made of the same parts.

    `by_value` is false if some part could only be compared by identity.
    """

    function: Any
    parts: Hashable
    by_value: bool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


def same(function: Any) -> Same:
    """Returns `function` in a form that compares by its parts.

    >>> def normal(scale):
    ...     return lambda key, shape, dtype: scale
    >>> same(normal(0.02)) == same(normal(0.02)), same(normal(0.02)) == same(normal(0.1))
    (True, False)
    """
    opaque: list[Any] = []
    return Same(function, _pieces(function, opaque, ()), by_value=not opaque)


def _pieces(value: Any, opaque: list[Any], seen: tuple[int, ...]) -> Hashable:
    """Takes a value apart into hashable pieces; one that cannot be taken apart goes into `opaque`, and is a piece."""
    # A recursive function is one of its own parts. Where it was met first is the same for all functions of that form.
    if id(value) in seen:
        return "recursion", seen.index(id(value))
    inner = functools.partial(_pieces, opaque=opaque, seen=(*seen, id(value)))
    match value:
        # With the type, since 1 == True.
        case None | bool() | int() | str() | bytes() | np.dtype():
            return type(value), value
        # By repr, since 0.0 == -0.0, and NaN does not equal itself.
        case float() | complex():
            return type(value), repr(value)
        case type() | types.BuiltinFunctionType() | types.ModuleType() if _is_constant(value):
            return ById(value)
        case tuple() | list():
            return type(value), *map(inner, value)
        case dict():
            return dict, *((inner(name), inner(item)) for name, item in value.items())
        case functools.partial():
            return functools.partial, *map(inner, (value.func, value.args, value.keywords))
        case types.MethodType():
            return types.MethodType, inner(value.__func__), inner(value.__self__)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return type(value), *(inner(getattr(value, item.name)) for item in fields(value) if item.compare)
        # A function of a library, such as `jnp.zeros`; but one that JAX made, such as `normal(0.02)`, has a closure.
        case _ if _is_constant(value) and callable(value) and not getattr(value, "__closure__", None):
            return ById(value)
        case types.FunctionType():
            return _of_function(value, inner)
    opaque.append(value)
    return ById(value)


def _of_function(function: types.FunctionType, inner: Callable[[Any], Hashable]) -> Hashable:
    """Takes a function apart: its code, and the values that the code reads from around it."""
    cells = [inner(_contents(cell)) for cell in function.__closure__ or ()]
    # Globals count by their present values: a function that reads `SCALE` is another one once `SCALE` has changed.
    named = {
        name: function.__globals__[name] for name in _global_names(function.__code__) if name in function.__globals__
    }
    return function.__code__, *cells, *map(inner, (function.__defaults__, function.__kwdefaults__, named))


def _global_names(code: types.CodeType) -> Iterator[str]:
    """Yields the names that a code object, or one inside it, may look up in the globals."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _global_names(const)


def _is_constant(value: Any) -> bool:
    """Whether a value belongs to a library whose attributes nobody changes, so that its identity is its value."""
    home = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    return str(home).partition(".")[0] in {"jax", "jaxlib", "numpy", "builtins", "jscope", "math", "ml_dtypes"}


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # It has not been assigned yet, so it cannot be known to be the same as anything.
        return object()
