"""Whether what a model is given fits it: params, shardings, keys, initial values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._spec import VariableSpec
from jscope._util import _text
from jscope.errors import InitializerError, InvalidArgumentError, StructureMismatchError


def differences(expected: Mapping[str, VariableSpec], found: Mapping[str, Any]) -> list[str]:
    """Returns a line for everything missing, unexpected, mis-shaped and mis-typed; none if all fits."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    lines = [f"  missing:    `{name}` {_asked(expected[name])}{_near(name, unexpected)}" for name in missing]
    lines += [f"  unexpected: `{name}` {_found(found[name])}{_near(name, missing)}" for name in unexpected]
    for name in (name for name in expected if name in found):
        spec, value = expected[name], found[name]
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if shape is None or tuple(shape) != spec.shape:
            lines.append(f"  shape:      `{name}` is {_found(value)}, expected {_asked(spec)}")
        elif dtype != spec.dtype:
            lines.append(f"  dtype:      `{name}` is {_found(value)}, expected {_asked(spec)}")
    return lines


def as_tree(role: str, tree: Any) -> dict[str, Any]:
    """Returns a copy of `tree` in dicts, or raises an error that says what params look like."""
    if isinstance(tree, Mapping):
        return _path.copy(tree)
    raise InvalidArgumentError(
        f"{role} must be a nested dict of arrays by name, as `init` returns it, not {_described(tree)}.{_hint(tree)}"
    )


def check_key(key: Any) -> None:
    """Raises unless `key` is one random key."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
        return
    if dtype == jnp.uint32 and shape is not None and len(shape) == 1:
        return
    found = f"an array of shape {shape} and dtype {dtype}" if dtype is not None else f"{key!r}"
    raise InvalidArgumentError(f"Expected one random key such as `jax.random.key(0)`, not {found}.")


def checked(spec: VariableSpec, value: Any) -> jax.Array:
    """Returns the initial value if it is what the spec asks for, or raises an error that says what it is."""
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


def placed(specs: Mapping[str, VariableSpec], shardings: Any) -> list[tuple[VariableSpec, Any]]:
    """Returns each spec with its sharding: one for all, or what stands at its name in a nested dict.

    Raises:
      StructureMismatchError: The dict says nothing about some variables. (None there leaves the place to JAX.)
      InvalidArgumentError: Something in it is no sharding.
    """
    flat = dict(_path.items(shardings)) if isinstance(shardings, Mapping) else dict.fromkeys(specs, shardings)
    missing = [name for name in specs if name not in flat]
    if missing:
        unused = [name for name in flat if name not in specs]
        lines = [f"  missing: `{name}` {_asked(specs[name])}{_near(name, unused)}" for name in missing]
        raise StructureMismatchError("\n".join(["The shardings do not cover all variables:", *lines]))
    for name in specs:
        if not (flat[name] is None or isinstance(flat[name], jax.sharding.Sharding)):
            raise InvalidArgumentError(
                f"The sharding of `{name}` is {flat[name]!r}, which is no `jax.sharding.Sharding`."
            )
    return [(spec, flat[name]) for name, spec in specs.items()]


def _asked(spec: VariableSpec) -> str:
    return f"{np.dtype(spec.dtype).name}{list(spec.shape)}"


def _found(value: Any) -> str:
    if isinstance(value, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct):
        return f"{value.dtype}{list(value.shape)}"
    return f"a `{type(value).__name__}`"


def _near(name: str, others: list[str]) -> str:
    near = _text.nearest(name, others, count=1)
    return f" (near: `{near[0]}`)" if near else ""


def _described(value: Any) -> str:
    return f"an array of shape {value.shape}" if hasattr(value, "shape") else f"a `{type(value).__name__}`"


def _hint(tree: Any) -> str:
    if isinstance(tree, tuple) and len(tree) == 2:
        return "\nA model with state has two: `params, state = model.init(...)`, `model.apply(params, state, ...)`."
    return ""
