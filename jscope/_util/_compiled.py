"""Functions compiled for a place: their result is born on its devices, so that none of them ever holds it whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

_BRIEF = {"xla_backend_optimization_level": 1}
"""On CPU, XLA compiles random numbers in half the time that way, to a program as fast, with the same bits."""


def jitted(make: Callable[[Any], Any], sharding: Any, *, grouped: int = 0, brief: bool = False) -> Callable[[Any], Any]:
    """Returns `make` under `jit`, whose result is on `sharding` (or None: wherever JAX puts it).

    With `grouped` leading axes the result has several such values; those axes are not sharded. If `brief`, compiling
    is what takes long, not running; that is not for use under a trace.
    """
    if isinstance(sharding, NamedSharding):
        spec = PartitionSpec(*(None,) * grouped, *sharding.spec)
        sharding = sharding.update(spec=spec)
        types = dict(zip(sharding.mesh.axis_names, sharding.mesh.axis_types, strict=True))
        if AxisType.Explicit in types.values():
            # Otherwise, under an ambient mesh, every value on the way would be whole on every device.
            entries = [each if isinstance(each, tuple) else (each,) for each in spec]
            explicit = [
                tuple(axis for axis in each if types.get(axis) == AxisType.Explicit) or None for each in entries
            ]
            make = jax.sharding.auto_axes(make, out_sharding=sharding.update(spec=PartitionSpec(*explicit)))
    options = _BRIEF if brief and jax.default_backend() == "cpu" else None
    return jax.jit(make, out_shardings=sharding, compiler_options=options)


def lowered(function: Any, argument: Any) -> Any:
    """Returns the jitted function lowered for an argument; the function itself where `jit` is disabled."""
    disabled = jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]
    return function if disabled else function.lower(argument)


def compiled_together(programs: Iterable[Any]) -> Iterator[Callable[..., Any]]:
    """Yields each program, compiled if it is lowered: several at the same time, since XLA needs no Python for that.

    Settings such as `jax.default_device` belong to a thread. They are settled when a program is lowered.
    """
    with ThreadPoolExecutor() as pool:
        soon = [pool.submit(each.compile) if isinstance(each, jax.stages.Lowered) else each for each in programs]
        for each in soon:
            yield each.result() if isinstance(each, Future) else each


def moved(value: Any, sharding: Any) -> Any:
    """Returns `value` on `sharding`, also under a trace; the value itself where there is none."""
    return value if sharding is None else jitted(jnp.asarray, sharding)(value)
