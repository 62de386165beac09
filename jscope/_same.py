"""When two initializers are the same.

`normal(0.02)` inside a layer is a new function on every call. Told apart by identity, each layer's would
be compiled anew; so functions compare by what makes them: code, closure and defaults, recursively.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Hashable
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Equal for two functions that compute the same; `by_value` is false where only identity could tell."""

    parts: Hashable
    by_value: bool


@dataclass(frozen=True, slots=True, eq=False)
class ById:
    """Something that only equals itself. Holds it, so that no other object gets its id."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ById) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Same:
    """A callable that equals others of the same fingerprint."""

    function: Any
    fingerprint: Fingerprint

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)


def fingerprint(function: Any) -> Fingerprint:
    """Returns what tells `function` from others.

    >>> def normal(scale):
    ...     return lambda key, shape, dtype: scale
    >>> fingerprint(normal(0.02)) == fingerprint(normal(0.02)), fingerprint(normal(0.02)) == fingerprint(normal(0.1))
    (True, False)
    """
    opaque: list[Any] = []
    parts = _parts(function, opaque, ())
    return Fingerprint(parts, by_value=not opaque)


def _parts(value: Any, opaque: list[Any], seen: tuple[int, ...]) -> Hashable:
    """Takes a value apart into hashable pieces; what resists goes into `opaque` and stands for itself."""
    if id(value) in seen:
        return "recursion", seen.index(id(value))
    seen = (*seen, id(value))
    inner = functools.partial(_parts, opaque=opaque, seen=seen)
    match value:
        case None | bool() | int() | str() | bytes() | np.dtype():
            return type(value), value
        case float() | complex():
            return type(value), repr(value)
        case type() | types.BuiltinFunctionType() | types.ModuleType():
            return ById(value)
        case tuple() | list():
            return type(value), *map(inner, value)
        case dict():
            return dict, *((inner(name), inner(item)) for name, item in value.items())
        case functools.partial():
            return functools.partial, inner(value.func), inner(value.args), inner(value.keywords)
        case types.MethodType():
            return types.MethodType, inner(value.__func__), inner(value.__self__)
        case types.FunctionType():
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            return (
                value.__code__,
                ById(value.__globals__),
                *map(inner, (cells, value.__defaults__, value.__kwdefaults__)),
            )
        case _ if is_dataclass(value) and type(value).__hash__ not in (None, object.__hash__):
            return type(value), value
        case _ if getattr(value, "__module__", "").startswith(("jax.", "jaxlib.")) and callable(value):
            return ById(value)
    opaque.append(value)
    return ById(value)
