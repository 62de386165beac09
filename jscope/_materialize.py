"""Initial values are made from specs: only initializers run, never the model.

Outside a trace, each distinct (initializer, shape, dtype,
sharding) is compiled once and called once per variable, so a cold start does not grow with depth. Under the user's
own `jit`, equal ones become one `vmap`, which keeps the program small.
"""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope import _path, _rng
from jscope._check import check_key, checked_value
from jscope._defaults import is_value
from jscope._spec import DataDependent, VariableSpec
from jscope._types import Key, Shape
from jscope._util import _threefry
from jscope._util._compiled import compiled_together, jitted, lowered, moved
from jscope._util._gc import gc_paused
from jscope._util._hints import noting
from jscope._util._same import Same, same
from jscope.errors import InitializerError


@dataclass(frozen=True, slots=True)
class Kind:
    """What one compiled initializer serves: all variables that agree in this. `traced`: under the user's `jit`."""

    initializer: Same
    shape: Shape
    dtype: Any
    stack: Shape
    sharding: Any
    random: Hashable
    traced: bool

    @property
    def grouped(self) -> bool:
        """Whether all its variables are drawn at once."""
        return self.traced and _threefry.is_threefry(self.random)


@gc_paused()
def materialize(placed: Iterable[tuple[VariableSpec, Any]], key: Key) -> dict[str, jax.Array]:
    """Returns the initial value of every spec by path, each on its sharding (or None: wherever JAX puts it)."""
    check_key(key)
    # An older key does not say what made it; JAX takes its default generator, and so does this.
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    values, traced, random = {}, isinstance(jax.random.key_data(key), Tracer), jax.random.key_impl(key)
    groups: dict[Kind, list[VariableSpec]] = {}
    # Many variables share one initializer. To take it apart, and to hash the parts, takes longer than to draw a small
    # variable, so they find their group by its id. The specs keep it alive meanwhile, so the id is its own.
    alike: dict[Hashable, list[VariableSpec]] = {}
    for spec, sharding in placed:
        made = spec.initializer
        if is_value(made):
            values[spec.path] = (moved if traced else jax.device_put)(_stacked_value(spec), sharding)
            continue
        outwardly = id(made), spec.shape, spec.dtype, spec.stack, sharding
        if outwardly not in alike:
            kind = Kind(_same(spec), spec.unstacked_shape, spec.dtype, _sizes(spec), sharding, random, traced)
            alike[outwardly] = groups.setdefault(kind, [])
        alike[outwardly].append(spec)
    # In the order of the groups, in which the next line deals the rows out.
    rows = _key_data(key, [spec for group in groups.values() for spec in group])
    drawings = [(kind, group, [next(rows) for _ in group]) for kind, group in groups.items()]
    # Which row does not matter here: all of a group have one shape and dtype.
    programs = compiled_together(_program(kind, group, rows[0]) for kind, group, rows in drawings)
    for drawing, draw in zip(drawings, programs, strict=True):
        values |= _draw_group(*drawing, draw)
    return values


def initial_value(spec: VariableSpec, key: Key) -> jax.Array:
    """Returns the initial value of one spec, computed in place: for values that depend on data."""
    if is_value(spec.initializer):
        return jnp.asarray(spec.initializer)
    # Such a value is never stacked: inside a lift, it is refused when it is collected.
    assert callable(spec.initializer)
    value = spec.initializer(_rng.fold(key, _rng.lanes_of_path(spec.path)), spec.shape, spec.dtype)
    return checked_value(spec, value)


def _same(spec: VariableSpec) -> Same:
    if isinstance(spec.initializer, str):
        raise InitializerError(
            f"The initializer of `{spec.path}` is known only by name ({spec.initializer}): "
            "these specs come from JSON, or from a conversion.\n"
            "Make them from the model: `model.specs(*inputs)`."
        )
    if isinstance(spec.initializer, DataDependent):
        spec.initializer.refuse()
    return same(spec.initializer)


def _key_data(key: Key, specs: list[VariableSpec]) -> Iterator[Any]:
    """Yields the data of the key of each variable, with an axis for each one it is stacked on."""
    paths = [_copies(spec) for spec in specs]
    data, start = _threefry.fold_all(key, _rng.lanes_of_all(list(itertools.chain(*paths)))), 0
    for spec, copies in zip(specs, paths, strict=True):
        stop = start + len(copies)
        yield data[start:stop].reshape(*_sizes(spec), data.shape[-1]) if spec.stack else data[start]
        start = stop


def _program(kind: Kind, group: list[VariableSpec], row: Any) -> Any:
    """Returns what draws the group, lowered if it is to be compiled now."""
    # What compares by identity stays out of the cache, which would keep alive whatever it captured.
    program = (_cached_drawing if kind.initializer.by_value else _drawing)(kind)
    # Under a trace it becomes a part of the user's own program; and what was compiled before, JAX finds faster itself.
    if kind.traced or program in _compiled_before:
        return program
    _compiled_before.add(program)
    with making(group[0]):
        return lowered(program, row)


def _draw_group(
    kind: Kind, group: list[VariableSpec], rows: list[Any], draw: Callable[[Any], Any]
) -> dict[str, jax.Array]:
    with making(group[0]):
        if kind.grouped:
            # Under a trace, XLA chooses the sharding of a slice, unless it is told.
            drawn = draw(jnp.stack(rows))
            drawn = [None if drawn is None else moved(drawn[i], kind.sharding) for i in range(len(group))]
        else:
            drawn = [draw(row) for row in rows]
    return {spec.path: checked_value(spec, value) for spec, value in zip(group, drawn, strict=True)}


def _drawing(kind: Kind) -> Callable[..., Any]:
    """Returns the jitted function from the data of a key to an initial value; from those of many if `kind.grouped`."""

    def draw(data: Any) -> Any:
        value = kind.initializer.function(jax.random.wrap_key_data(data, impl=kind.random), kind.shape, kind.dtype)
        if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex):
            return None  # `jit` returns it as it is, and `checked_value` says whose initializer this was.
        # Strips weak types, which would make the first training step compile twice.
        return jax.lax.convert_element_type(jnp.asarray(value), jnp.result_type(value))

    mapped: Callable[[Any], Any] = draw
    for _ in range(len(kind.stack) + kind.grouped):
        mapped = _threefry.mapped(mapped, kind.random)
    return jitted(mapped, kind.sharding, grouped=kind.grouped, brief=not kind.traced)


_cached_drawing = lru_cache(maxsize=4096)(_drawing)
_compiled_before: weakref.WeakSet[Any] = weakref.WeakSet()


@contextlib.contextmanager
def making(spec: VariableSpec) -> Iterator[None]:
    """Notes on errors of an initializer which variable it was for, and how initializers are called."""
    with noting(f"while making the initial value of `{spec.path}` (created at {spec.site})."):
        try:
            yield
        except TypeError as error:
            name = getattr(spec.initializer, "__name__", repr(spec.initializer))
            error.add_note(
                f"jscope: an initializer is called as `(key, shape, dtype)`. If `{name}` takes other arguments, pass "
                f"what it returns: `initializer={name}(...)`."
            )
            raise


def _sizes(spec: VariableSpec) -> Shape:
    return tuple(axis.size for axis in spec.stack)


def _copies(spec: VariableSpec) -> Sequence[Sequence[str | int]]:
    """Returns the parts of the path of each copy of a stacked variable, as if its index were one more part of it."""
    if not spec.stack:
        return [_path.parts(spec.path)]
    return [_with_indices(spec, indices) for indices in itertools.product(*map(range, _sizes(spec)))]


def _with_indices(spec: VariableSpec, indices: tuple[int, ...]) -> list[str | int]:
    parts: list[str | int] = list(_path.parts(spec.path))
    # From the inside out, so that no index shifts the place of the next one: depths count names only.
    for axis, index in reversed(list(zip(spec.stack, indices, strict=True))):
        parts.insert(axis.depth, index)
    return parts


def _stacked_value(spec: VariableSpec) -> jax.Array:
    value = jnp.asarray(spec.initializer, spec.dtype)
    # A copy, since a train step may donate it, and the caller's array must outlive that.
    return jnp.array(jnp.broadcast_to(value, (*_sizes(spec), *value.shape)), copy=True)
