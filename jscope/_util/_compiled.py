"""How functions are compiled: once for all places, several at a time, or for the sharding of what they return.

For a sharding, so that no device ever holds the result whole.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

_inline: Any = getattr(jax, "Inline", None)

# Inside of `jax.grad`, JAX derives each operation anew wherever it stands, which takes several times as long as all the
# rest; what a `jit` that is kept does, it derives once for each shape. Inlined, it leaves no trace in a program; what
# older versions call True is one of several ways to JAX 0.12.
one_operation = functools.partial(jax.jit, inline=True if _inline is None else _inline.JAX_EARLY)

_BRIEF = {"xla_backend_optimization_level": 1}
"""With these options, XLA on CPU compiles random numbers in half the time, to a program as fast with equal results."""


def jitted(make: Callable[[Any], Any], sharding: Any, *, grouped: int = 0, brief: bool = False) -> Callable[[Any], Any]:
    """Returns `make` under `jit`, with its result on `sharding`; None leaves the choice to JAX.

    With `grouped` leading axes, the result consists of several such values, and those axes are not sharded. `brief`
    is for programs that run once, which should compile fast; it must be false under a trace.
    """
    if isinstance(sharding, NamedSharding):
        spec = PartitionSpec(*(None,) * grouped, *sharding.spec)
        sharding = sharding.update(spec=spec)
        types = dict(zip(sharding.mesh.axis_names, sharding.mesh.axis_types, strict=True))
        if AxisType.Explicit in types.values():
            # Without `auto_axes`, under an ambient mesh, every value on the way would be whole on every device.
            # Its `out_sharding` may name Explicit axes only.
            entries = [each if isinstance(each, tuple) else (each,) for each in spec]
            explicit = [
                tuple(axis for axis in each if types.get(axis) == AxisType.Explicit) or None for each in entries
            ]
            make = jax.sharding.auto_axes(make, out_sharding=sharding.update(spec=PartitionSpec(*explicit)))
    options = _BRIEF if brief and jax.default_backend() == "cpu" else None
    return jax.jit(make, out_shardings=sharding, compiler_options=options)


def lowered(function: Any, argument: Any) -> Any:
    """Returns the jitted function lowered for an argument; the function itself where `jit` is disabled."""
    # What `jax.disable_jit` is for would be lost by lowering: running line by line, with values to print.
    disabled = jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]
    return function if disabled else function.lower(argument)


def compiled_together(programs: Iterable[Any]) -> Iterator[Callable[..., Any]]:
    """Yields each program; those that are lowered are compiled, several at the same time.

    XLA does not hold Python's lock while it compiles. Settings such as `jax.default_device` belong to a thread; they
    have taken effect when a program is lowered, so the threads here need not know them.
    """
    # Its threads begin with what is submitted: if nothing is, there are none. Each takes some megabytes that the
    # process never gives back, so there are at most as many as cores; four more, the default, compile no faster.
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        soon = [pool.submit(each.compile) if isinstance(each, jax.stages.Lowered) else each for each in programs]
        for each in soon:
            yield each.result() if isinstance(each, Future) else each


def moved(value: Any, sharding: Any) -> Any:
    """Returns `value` on `sharding`, also under a trace; without a sharding, the value itself."""
    return value if sharding is None else jitted(jnp.asarray, sharding)(value)
