"""Two functions are the same if they are made of the same parts.

`normal(0.02)` inside a layer is a new function on every call. If functions were told apart by identity, one would be
compiled for each layer; so they compare by what they are made of: code, closure, defaults, attributes, and the globals
that the code reads, recursively. A part that can change what a function computes, and cannot be taken apart, equals
only itself.
"""

from __future__ import annotations

import dis
import enum
import functools
import re
import sys
import types
import weakref
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import jax
import numpy as np

# What JAX traced for such a function it finds again, whatever changes around it: so it is itself, and nothing else.
_Jitted = type(jax.jit(lambda: None))


@dataclass(frozen=True, slots=True, eq=False)
class ById:
    """A value that equals only itself. It is kept alive, so that its id is not given to another object."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ById) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True, slots=True)
class Same:
    """A callable that equals every other that is made of the same parts.

    `by_value` is false if some part could only be compared by identity. If it is true, `parts` keep neither functions
    nor classes alive that a user made.
    """

    function: Any = field(compare=False)
    parts: Hashable
    by_value: bool = field(compare=False)


def same(function: Any) -> Same:
    """Returns `function` in a form that compares by its parts.

    >>> def normal(scale):
    ...     return lambda key, shape, dtype: scale
    >>> same(normal(0.02)) == same(normal(0.02)), same(normal(0.02)) == same(normal(0.1))
    (True, False)
    """
    return Same(function, _pieces(function, opaque := [], {}), by_value=not opaque)


def _pieces(value: Any, opaque: list[Any], seen: dict[int, tuple[int, Any]]) -> Hashable:
    """Takes a value apart into hashable pieces; one that cannot be taken apart goes into `opaque`, and is a piece."""
    kind = type(value)
    # With the type, since 1 == True.
    if kind in _PLAIN or isinstance(value, _COMPARED):
        return kind, value
    # By repr, since 0.0 == -0.0, and NaN does not equal itself.
    if kind in (float, complex) or isinstance(value, np.generic):
        return kind, repr(value)
    # A recursive function is one of its own parts, and functions share parts: to take each apart on every way to it
    # would take forever. Where it was met first is the same for all functions of that form. What was met is kept alive,
    # so that its id is its own.
    if id(value) in seen:
        return "met", seen[id(value)][0]
    seen[id(value)] = len(seen), value
    inner = functools.partial(_pieces, opaque=opaque, seen=seen)
    if (parts := _of_container(value, inner)) is not None:
        return kind, *parts
    match value:
        case type() | types.BuiltinFunctionType() | types.ModuleType() | enum.Enum() if _is_constant(value):
            return ById(value)
        case _Jitted():
            return weakref.ref(value)
        case _ if is_dataclass(kind) or (isinstance(value, tuple) and hasattr(kind, "_fields")):
            return _of_instance(value, inner)
        # What a library defines, such as `jnp.zeros`; but not what it made of something else, such as `normal(0.02)`.
        case _ if _is_constant(value) and _is_defined(value):
            return ById(value)
        case types.FunctionType() if (reads := _reads_of(value)) is not None:
            return _of_function(value, reads, inner)
    opaque.append(value)
    return ById(value)


def _of_container(value: Any, inner: Callable[[Any], Hashable]) -> Iterable[Hashable] | None:
    """Takes apart what consists of other values and nothing else; None for what does not."""
    if type(value) in (tuple, list, set, frozenset):
        return map(inner, value)
    if type(value) is dict:
        return ((inner(name), inner(item)) for name, item in value.items())
    names = _MADE_OF.get(type(value))
    return None if names is None else (inner(getattr(value, name)) for name in names)


_PLAIN = frozenset({types.NoneType, bool, int, str, bytes, range, types.EllipsisType})
_COMPARED = (np.dtype, jax.sharding.Sharding, jax.sharding.Mesh, jax.sharding.PartitionSpec)
_MADE_OF = {
    types.SimpleNamespace: ("__dict__",),
    functools.partial: ("func", "args", "keywords", "__dict__"),
    types.MethodType: ("__func__", "__self__"),
    **dict.fromkeys((staticmethod, classmethod), ("__func__",)),
    property: ("fget", "fset"),
}
"""What there is in values that consist of others."""


def _of_function(
    function: types.FunctionType, reads: tuple[tuple[str, ...], ...], inner: Callable[[Any], Hashable]
) -> Hashable:
    """Takes a function apart: its code, and the values that the code reads from around it."""
    cells = [inner(_contents(cell)) for cell in function.__closure__ or ()]
    # Globals count by their present values: a function that reads `SCALE` is another one once `SCALE` has changed.
    known = function.__globals__
    named = [(names, inner(_read(known, names))) for names in reads if names[0] in known]
    around = map(inner, (function.__defaults__, function.__kwdefaults__, function.__dict__))
    return function.__name__, function.__code__, *cells, *around, *named


def _read(known: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Returns what `names[0].names[1]...` reads first that is not a module: of a module, only what is read counts."""
    value, *rest = known[names[0]], *names[1:]
    while rest and isinstance(value, types.ModuleType) and rest[0] in vars(value):
        value = vars(value)[rest.pop(0)]
    return value


def _of_instance(value: Any, inner: Callable[[Any], Hashable]) -> Hashable:
    """Takes an instance of a dataclass or a named tuple apart: its attributes, and those of its classes."""
    names = (item.name for item in fields(value)) if is_dataclass(value) else value._fields
    held = {name: getattr(value, name, None) for name in names} | getattr(value, "__dict__", {})
    state = [
        tuple((name, inner(item)) for name, item in vars(base).items() if not _says_nothing(name, item))
        for base in type(value).__mro__
        if not _is_constant(base)
    ]
    # Weakly, since parts may be kept for long; a class that has gone equals none.
    return weakref.ref(type(value)), *state, inner(held)


def _says_nothing(name: str, item: Any) -> bool:
    """Whether an attribute of a class is one that Python or `dataclass` made from the others."""
    if name.startswith("__"):
        code = getattr(getattr(item, "__wrapped__", item), "__code__", None)
        return not callable(item) or (code is not None and code.co_filename == "<string>")
    of_named_tuples = isinstance(item, types.FunctionType | classmethod) and item.__module__ == "collections"
    return name == "_abc_impl" or of_named_tuples or type(item).__name__ in ("member_descriptor", "_tuplegetter")


def _reads_of(function: types.FunctionType) -> tuple[tuple[str, ...], ...] | None:
    # The globals of a library are constants, also for its functions that bear the name of a user's by `wraps`.
    return () if _is_of_library(str(function.__globals__.get("__name__"))) else _reads(function.__code__)


@functools.lru_cache(maxsize=4096)
def _reads(code: types.CodeType) -> tuple[tuple[str, ...], ...] | None:
    """Returns the globals that a code object, or one inside it, may look up, each with the attributes read of it.

    None if the code can get at more than these.
    """
    names, chain = dict[tuple[str, ...], None](), tuple[str, ...]()
    for step in dis.get_instructions(code):
        # `layers.dense(x)` reads the attribute in the next instruction; then the module itself goes nowhere.
        if chain and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chain = (*chain, step.argval)
            continue
        if chain:
            names[chain] = None
        chain = (step.argval,) if step.opname in _LOOK_UPS else ()
        if chain[:1] in _UNSEEN or (step.opname == "IMPORT_NAME" and not _LIBRARY.match(step.argval)):
            return None
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            inside = _reads(const)
            if inside is None:
                return None
            names |= dict.fromkeys(inside)
    return tuple(names)


_LOOK_UPS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_UNSEEN = {(name,) for name in ("__import__", "eval", "exec", "globals", "input", "locals", "open", "vars")}
"""By these a function gets at what its parts do not show."""

_LIBRARY = re.compile(
    "(jax|jaxlib|jscope|numpy|ml_dtypes|math|builtins|_?operator|itertools|_?functools|collections|dataclasses|typing|abc)"
    r"(\.|$)"
)
_AMBIENT = re.compile(r"jscope\.tf1(?!\.initializers)|numpy\.random")
"""What depends on more than its arguments: on the scopes entered last, or on a state of NumPy's own."""


def _is_constant(value: Any) -> bool:
    """Whether a value belongs to a library whose attributes nobody changes, so that its identity is its value."""
    module = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    return _is_of_library(str(module))


def _is_defined(value: Any) -> bool:
    """Whether a value is what its module has by its name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    return name is not None and getattr(sys.modules.get(str(module)), name, None) is value


@functools.lru_cache(maxsize=4096)
def _is_of_library(module: str) -> bool:
    return bool(_LIBRARY.match(module)) and not _AMBIENT.match(module)


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # It has not been assigned yet, so it cannot be known to be the same as anything.
        return object()
