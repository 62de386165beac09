"""From specs to initial values.

Only initializers run, never the model. Outside a trace, each distinct (initializer, shape, dtype,
sharding) is compiled once and called once per variable, so a cold start does not grow with depth. Under the user's
own `jit` equal ones become one `vmap`, which keeps the program small.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope import _path, _rng, _threefry
from jscope._check import check_key, checked
from jscope._defaults import is_value
from jscope._errors import InitializerError, noting
from jscope._placed import compiled, moved
from jscope._same import Same, same
from jscope._spec import DataDependent, VariableSpec
from jscope._types import Key, Shape

_NONE = np.zeros((0, 2), np.uint32)


@dataclass(frozen=True, slots=True)
class Kind:
    """What one compiled initializer serves: all variables that agree in this."""

    initializer: Same
    shape: Shape
    dtype: Any
    stack: Shape
    sharding: Any
    random: Hashable


def materialize(placed: Iterable[tuple[VariableSpec, Any]], key: Key) -> dict[str, jax.Array]:
    """Returns the initial value of every spec by path, each on its sharding (or None: wherever JAX puts it)."""
    check_key(key)
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    values, traced, random = {}, isinstance(jax.random.key_data(key), Tracer), jax.random.key_impl(key)
    groups: dict[Kind, list[VariableSpec]] = {}
    alike: dict[int, Same] = {}
    for spec, sharding in placed:
        made = spec.initializer
        if is_value(made):
            values[spec.path] = (moved if traced else jax.device_put)(_stacked_value(spec), sharding)
            continue
        known = alike.get(id(made)) or alike.setdefault(id(made), _same(spec))
        kind = Kind(known, spec.unstacked_shape, spec.dtype, _sizes(spec), sharding, random)
        groups.setdefault(kind, []).append(spec)
    rows = _key_data(key, [spec for group in groups.values() for spec in group])
    for kind, group in groups.items():
        values |= {spec.path: value for spec, value in _draw_group(kind, group, [next(rows) for _ in group])}
    return values


def initial_value(spec: VariableSpec, key: Key) -> jax.Array:
    """Returns the initial value of one spec, computed in place: for values that depend on data."""
    if is_value(spec.initializer):
        return jnp.asarray(spec.initializer)
    assert callable(spec.initializer)
    value = spec.initializer(_rng.fold(key, _rng.lanes_of_path(spec.path)), spec.shape, spec.dtype)
    return checked(spec, value)


def _same(spec: VariableSpec) -> Same:
    if isinstance(spec.initializer, str):
        raise InitializerError(
            f"The initializer of `{spec.path}` is known by name only ({spec.initializer}): these specs "
            "come from JSON.\nMake them from the model: `model.specs(*inputs)`."
        )
    if isinstance(spec.initializer, DataDependent):
        spec.initializer.refuse()
    return same(spec.initializer)


def _key_data(key: Key, specs: list[VariableSpec]) -> Iterator[Any]:
    """Yields the data of the key of each variable, with an axis for each one it is stacked on."""
    lanes = [_stacked_lanes(spec) for spec in specs]
    data, start = _fold_all(key, np.concatenate([rows.reshape(-1, 2) for rows in (_NONE, *lanes)])), 0
    for rows in lanes:
        stop = start + rows.size // 2
        yield data[start:stop].reshape(*rows.shape[:-1], -1)
        start = stop


def _fold_all(key: Key, lanes: np.ndarray) -> Any:
    """Folds both lanes of each row into the key; returns the data of the keys."""
    data = jax.random.key_data(key)
    # Under a trace, the data of a key from outside is traced, too.
    if isinstance(data, Tracer) or not _is_threefry(jax.random.key_impl(key)):
        return _fold_rows(key, lanes)
    return _threefry.fold_in(_threefry.fold_in(np.asarray(data), lanes[:, 0]), lanes[:, 1])


@jax.jit
def _fold_rows(key: Key, rows: Any) -> Any:
    def fold(row: Any) -> jax.Array:
        return jax.random.key_data(_rng.fold(key, (row[0], row[1])))

    return _mapped(fold, jax.random.key_impl(key))(rows)


def _draw_group(kind: Kind, group: list[VariableSpec], rows: list[Any]) -> Iterator[tuple[VariableSpec, jax.Array]]:
    make = _cached_program if kind.initializer.by_value else _program
    with noting(f"while making the initial value of `{group[0].path}` (created at {group[0].site})."):
        traced = isinstance(rows[0], Tracer)
        grouped = traced and _is_threefry(kind.random)
        draw = make(kind, grouped, traced)
        if grouped:
            drawn = draw(jnp.stack(rows))
            drawn = [None if drawn is None else moved(drawn[i], kind.sharding) for i in range(len(group))]
        else:
            drawn = [draw(row) for row in rows]
    return ((spec, checked(spec, value)) for spec, value in zip(group, drawn, strict=True))


def _program(kind: Kind, grouped: bool, traced: bool) -> Callable[..., Any]:
    """Returns the compiled function from the data of a key to an initial value; from those of many if `grouped`."""

    def draw(data: Any) -> Any:
        value = kind.initializer.function(jax.random.wrap_key_data(data, impl=kind.random), kind.shape, kind.dtype)
        if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex):
            return None
        # Strips weak types, which would make the first training step compile twice.
        return jax.lax.convert_element_type(jnp.asarray(value), jnp.result_type(value))

    mapped: Callable[[Any], Any] = draw
    for _ in range(len(kind.stack) + grouped):
        mapped = _mapped(mapped, kind.random)
    return compiled(mapped, kind.sharding, grouped=grouped, brief=not traced)


_cached_program = lru_cache(maxsize=4096)(_program)


def _mapped(function: Callable[[Any], Any], random: Hashable) -> Callable[[Any], Any]:
    # Threefry promises the same numbers under `vmap` as without it; rbg does not.
    return jax.vmap(function) if _is_threefry(random) else lambda rows: jax.lax.map(function, rows)


def _is_threefry(random: Hashable) -> bool:
    return str(random) == "threefry2x32"


def _sizes(spec: VariableSpec) -> Shape:
    return tuple(axis.size for axis in spec.stack)


def _stacked_lanes(spec: VariableSpec) -> np.ndarray:
    """Returns the lanes of each copy of a stacked variable, as if its index were one more part of the path."""
    if not spec.stack:
        return np.array(_rng.lanes_of_path(spec.path), np.uint32)
    copies = itertools.product(*map(range, _sizes(spec)))
    lanes = [_rng.extend(_rng.SEED, _with_indices(spec, indices)) for indices in copies]
    return np.array(lanes, np.uint32).reshape(*_sizes(spec), 2)


def _with_indices(spec: VariableSpec, indices: tuple[int, ...]) -> list[str | int]:
    parts: list[str | int] = list(_path.parts(spec.path))
    for axis, index in reversed(list(zip(spec.stack, indices, strict=True))):
        parts.insert(axis.depth, index)
    return parts


def _stacked_value(spec: VariableSpec) -> jax.Array:
    value = jnp.asarray(spec.initializer, spec.dtype)
    return jnp.array(jnp.broadcast_to(value, (*_sizes(spec), *value.shape)), copy=True)
