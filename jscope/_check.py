"""Whether what a model is given fits it: params, shardings, keys, initial values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path, _text
from jscope._errors import InitializerError, InvalidArgumentError, StructureMismatchError
from jscope._spec import VariableSpec


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
    """Returns `tree` as a dict, or raises an error that says what params look like."""
    if tree.__class__ is dict and all(name.__class__ is str for name in tree):
        return tree
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


def placed(specs: Iterable[VariableSpec], shardings: Any) -> list[tuple[VariableSpec, Any]]:
    """Returns each spec with its sharding: one for all, or what stands at its path in a nested dict.

    Raises:
      StructureMismatchError: The dict says nothing about some variables. (None there leaves the place to JAX.)
      InvalidArgumentError: Something in it is no sharding.
    """
    specs = list(specs)
    if not isinstance(shardings, Mapping):
        return [(spec, shardings) for spec in specs]
    flat = dict(_path.items(shardings))
    missing = [spec for spec in specs if spec.path not in flat]
    if missing:
        unused = [name for name in flat if name not in {spec.path for spec in specs}]
        lines = [f"  missing: `{spec.path}` {_asked(spec)}{_near(spec.path, unused)}" for spec in missing]
        raise StructureMismatchError("\n".join(["The shardings do not cover all variables:", *lines]))
    for name, place in flat.items():
        if not (place is None or isinstance(place, jax.sharding.Sharding)):
            raise InvalidArgumentError(f"The sharding of `{name}` is {place!r}, which is no `jax.sharding.Sharding`.")
    return [(spec, flat[spec.path]) for spec in specs]


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
