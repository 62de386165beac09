"""From specs to initial values.

Only initializers run, never the model. Outside a trace, each distinct (initializer, shape, dtype,
sharding) is compiled once and called once per variable, so a cold start does not grow with depth. Under the user's
own `jit` equal ones become one `vmap`, which keeps the program small.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope import _path, _rng
from jscope._defaults import is_value
from jscope._errors import InitializerError, InvalidArgumentError, noting
from jscope._same import Same, same
from jscope._spec import DataDependent, VariableSpec
from jscope._types import Key, Shape


@dataclass(frozen=True, slots=True)
class Kind:
    """What one compiled initializer serves: all variables that agree in this."""

    initializer: Same
    shape: Shape
    dtype: Any
    stack: Shape
    sharding: Any = None


def materialize(placed: Iterable[tuple[VariableSpec, Any]], key: Key) -> list[jax.Array]:
    """Returns the initial value of every spec, each on its sharding (or None: wherever JAX puts it)."""
    check_key(key)
    specs = list(placed)
    values: list[Any] = [None] * len(specs)
    groups: dict[Kind, list[int]] = {}
    for position, (spec, sharding) in enumerate(specs):
        if is_value(spec.initializer):
            values[position] = jax.device_put(_stacked_value(spec), sharding)
        else:
            groups.setdefault(_kind(spec, sharding), []).append(position)
    for kind, positions in groups.items():
        drawn = _draw_group(kind, [specs[position][0] for position in positions], key)
        for position, value in zip(positions, drawn, strict=True):
            values[position] = value
    return values


def initial_value(spec: VariableSpec, key: Key) -> jax.Array:
    """Returns the initial value of one spec, computed in place: for values that depend on data."""
    if is_value(spec.initializer):
        return jnp.asarray(spec.initializer)
    assert callable(spec.initializer)
    value = spec.initializer(_rng.fold(key, _rng.lanes_of_path(spec.path)), spec.shape, spec.dtype)
    return _checked(spec, value)


def check_key(key: Any) -> None:
    """Raises unless `key` is one random key."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
        return
    if dtype == jnp.uint32 and shape is not None and len(shape) == 1:
        return
    found = f"an array of shape {shape} and dtype {dtype}" if dtype is not None else f"{key!r}"
    raise InvalidArgumentError(f"Expected one random key such as `jax.random.key(0)`, not {found}.")


def _kind(spec: VariableSpec, sharding: Any) -> Kind:
    if isinstance(spec.initializer, str):
        raise InitializerError(
            f"The initializer of `{spec.path}` is known by name only ({spec.initializer}): these specs "
            "come from JSON.\nMake them from the model: `model.specs(*inputs)`."
        )
    if isinstance(spec.initializer, DataDependent):
        spec.initializer.refuse()
    stack = tuple(axis.size for axis in spec.stack)
    return Kind(same(spec.initializer), spec.unstacked_shape, spec.dtype, stack, sharding)


def _draw_group(kind: Kind, group: list[VariableSpec], key: Key) -> list[jax.Array]:
    lanes = [_stacked_lanes(spec) for spec in group]
    make = _cached_program if kind.initializer.by_value else _program
    with noting(f"while making the initial value of `{group[0].path}` (created at {group[0].site})."):
        if isinstance(key, Tracer) and _vmap_is_exact(key):
            a, b = (np.stack(lane) for lane in zip(*lanes, strict=True))
            drawn = make(kind, len(kind.stack) + 1)(key, a, b)
            drawn = [None if drawn is None else drawn[i] for i in range(len(group))]
        else:
            draw = make(kind, len(kind.stack))
            drawn = [draw(key, a, b) for a, b in lanes]
    return [_checked(spec, value) for spec, value in zip(group, drawn, strict=True)]


def _program(kind: Kind, batch_axes: int) -> Callable[..., Any]:
    """Returns the compiled function from a key and a path's lanes to an initial value."""

    def draw(key: Key, a: Any, b: Any) -> Any:
        value = kind.initializer.function(_rng.fold(key, (a, b)), kind.shape, kind.dtype)
        if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex):
            return None
        # Strips weak types, which would make the first training step compile twice.
        return jax.lax.convert_element_type(jnp.asarray(value), jnp.result_type(value))

    def drawn(key: Key, a: Any, b: Any) -> Any:
        mapped = draw
        for _ in range(batch_axes):
            mapped = _mapped(mapped, key)
        return mapped(key, a, b)

    return jax.jit(drawn, out_shardings=kind.sharding) if kind.sharding is not None else jax.jit(drawn)


_cached_program = lru_cache(maxsize=4096)(_program)


def _mapped(draw: Callable[..., Any], key: Key) -> Callable[..., Any]:
    if _vmap_is_exact(key):
        return jax.vmap(draw, (None, 0, 0))
    return lambda key, a, b: jax.lax.map(lambda lanes: draw(key, *lanes), (a, b))


def _vmap_is_exact(key: Key) -> bool:
    """Whether random numbers under `vmap` equal those without: the promise of threefry, not of rbg."""
    typed = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    return str(jax.random.key_impl(typed)) == "threefry2x32"


def _stacked_lanes(spec: VariableSpec) -> tuple[Any, Any]:
    """Returns the lanes of each copy of a stacked variable, as if its index were one more part of the path."""
    sizes = tuple(axis.size for axis in spec.stack)
    lanes = [_rng.extend(_rng.SEED, _with_indices(spec, indices)) for indices in itertools.product(*map(range, sizes))]
    a, b = np.array(lanes, np.uint32).reshape(-1, 2).T
    return a.reshape(sizes), b.reshape(sizes)


def _with_indices(spec: VariableSpec, indices: tuple[int, ...]) -> list[str | int]:
    parts: list[str | int] = list(_path.parts(spec.path))
    for axis, index in reversed(list(zip(spec.stack, indices, strict=True))):
        parts.insert(axis.depth, index)
    return parts


def _stacked_value(spec: VariableSpec) -> jax.Array:
    sizes = tuple(axis.size for axis in spec.stack)
    value = jnp.asarray(spec.initializer, spec.dtype)
    return jnp.array(jnp.broadcast_to(value, (*sizes, *value.shape)), copy=True)


def _checked(spec: VariableSpec, value: Any) -> jax.Array:
    if not isinstance(value, jax.Array):
        raise InitializerError(
            f"The initializer of `{spec.path}` (created at {spec.site}) returned no array.\n"
            "An initializer is `(key, shape, dtype) -> array`."
        )
    if value.shape != spec.shape or value.dtype != spec.dtype:
        raise InitializerError(
            f"The initializer of `{spec.path}` (created at {spec.site}) returned {value.dtype}{list(value.shape)}, "
            f"asked for {np.dtype(spec.dtype).name}{list(spec.shape)}.\nAn initializer must return the shape and "
            "dtype it is given: `(key, shape, dtype) -> array`."
        )
    return value
