"""What users give is checked here, and what is wrong raises with a message that names the variable.

That is shapes, dtypes, keys, params, shardings, and what initializers return. Behind these checks, code asserts.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._spec import VariableSpec
from jscope._types import DType, Shape, ShapeLike
from jscope._util import _text
from jscope.errors import InitializerError, InvalidArgumentError, ShapeMismatchError, StructureMismatchError


def checked_shape(path: str, shape: ShapeLike) -> Shape:
    """Returns a shape as a tuple of ints, or raises an error that names the variable.

    >>> checked_shape("w", 3), checked_shape("w", [2, 3])
    ((3,), (2, 3))
    """
    # Shapes nearly always come like this; a bool among the ints does not pass as one.
    if type(shape) is tuple and all(dim.__class__ is int and dim >= 0 for dim in shape):
        return shape
    try:
        # All of these would pass below: an empty string as `()`, True as 1, a dict as its keys.
        if isinstance(shape, str | bool | Mapping):
            raise TypeError
        # NumPy's and JAX's arrays have `__index__`, too, whatever their rank.
        dims = (shape,) if hasattr(shape, "__index__") and np.ndim(shape) == 0 else shape
        result = tuple(operator.index(dim) for dim in dims)  # pyright: ignore[reportGeneralTypeIssues]
    except (TypeError, jax.errors.JAXTypeError):
        raise InvalidArgumentError(
            f"The shape of `{path}` must be ints that are known when tracing, not {shape!r}.\n"
            "Use static values such as `x.shape[-1]`; a traced value cannot be a dimension."
            f"{_text.not_an_initializer('shape', shape)}"
        ) from None
    if any(dim < 0 for dim in result):
        raise ShapeMismatchError(f"The shape of `{path}` has a negative dimension: {result}. Dimensions are >= 0.")
    return result


def checked_dtype(path: str, dtype: DType) -> np.dtype[Any]:
    """Returns a dtype as JAX will use it (without 64 bits unless they are enabled)."""
    try:
        known = np.dtype(jax.dtypes.canonicalize_dtype(dtype))
        # Objects, strings, dates and records are dtypes to NumPy, and JAX finds fault with them only when it makes an
        # array. By the kind, bfloat16 is such a record, too.
        if known.kind in "OSUMm" or known.type is np.void:
            raise TypeError
        return known
    except TypeError:
        raise InvalidArgumentError(
            f"The dtype of `{path}` is {dtype!r}, which JAX does not know. Use `jnp.float32`, `jnp.bfloat16`, ..."
            f"{_text.not_an_initializer('dtype', dtype)}"
        ) from None


def differences(expected: Mapping[str, VariableSpec], found: Mapping[str, Any]) -> list[str]:
    """Returns a line for everything missing, unexpected, mis-shaped and mis-typed; none if all fits."""
    lines, told = _stacked_on_one_side(expected, found)
    missing = [name for name in expected if name not in found and name not in told]
    unexpected = [name for name in found if name not in expected and name not in told]
    lines += [f"  missing:    `{name}` {_asked(expected[name])}{_near(name, unexpected)}" for name in missing]
    lines += [f"  unexpected: `{name}` {_found(found[name])}{_near(name, missing)}" for name in unexpected]
    for name in (name for name in expected if name in found):
        spec, value = expected[name], found[name]
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        # One line for each variable: where the shape is wrong, the dtype does not matter yet.
        if shape is None or tuple(shape) != spec.shape:
            lines.append(f"  shape:      `{name}` is {_found(value)}, expected {_asked(spec)}")
        elif dtype != spec.dtype:
            lines.append(f"  dtype:      `{name}` is {_found(value)}, expected {_asked(spec)}")
    return lines


def _stacked_on_one_side(expected: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[list[str], set[str]]:
    """Returns a line for each scope whose layers only one side keeps in one array, and the names that this explains."""
    lines: list[str] = []
    told: set[str] = set()
    for ones, many, verb, where in (
        (expected, found, "stack", "in the model, but not here"),
        (found, expected, "unstack", "here, but not in the model"),
    ):
        below: dict[str, list[str]] = {}
        for (at, one), copies in _numbered(name for name in many if name not in ones).items():
            # As many copies as the array has layers: less would only be a likeness of names.
            if one not in many and getattr(ones.get(one), "shape", ())[:1] == (len(copies),):
                below.setdefault(at, []).append(one)
                told |= {one, *copies}
        for at, names in below.items():
            count, path = f" and {len(names) - 1} more" * (len(names) > 1), f', at="{at}"' if at else ""
            are = "are" if count else "is"
            lines.append(f"  layers:     `{names[0]}`{count} {are} stacked {where}: `jscope.tree.{verb}(params{path})`")
    return lines, told


def _numbered(names: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Returns names by what stands before a number in them, and by what is left of them without it."""
    numbered: dict[tuple[str, str], list[str]] = {}
    for name in names:
        parts = _path.parts(name)
        for i in (i for i, part in enumerate(parts) if part.isdecimal()):
            at, rest = _path.join(*parts[:i]), _path.join(*parts[i + 1 :])
            numbered.setdefault((at, _path.join(at, rest)), []).append(name)
    return numbered


def checked_tree(role: str, tree: Any) -> dict[str, Any]:
    """Returns a copy of `tree` in dicts, or raises an error that says what params look like."""
    if isinstance(tree, Mapping):
        return _path.copy(tree)
    raise InvalidArgumentError(
        f"{role} must be a nested dict of arrays by name, as `init` returns it, not {described(tree)}.{_hint(tree)}"
    )


def check_key(key: Any) -> None:
    """Raises unless `key` is one random key."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
        return
    # The older kind of key, `jax.random.PRNGKey`; how long it is depends on the generator.
    if dtype == jnp.uint32 and shape is not None and len(shape) == 1:
        return
    found = f"an array of shape {shape} and dtype {dtype}" if dtype is not None else f"{key!r}"
    raise InvalidArgumentError(f"Expected one random key such as `jax.random.key(0)`, not {found}.")


def checked_value(spec: VariableSpec, value: Any) -> jax.Array:
    """Returns the initial value if it is what the spec asks for, or raises an error that says what it is."""
    if not isinstance(value, jax.Array):
        raise InitializerError(
            f"The initializer of `{spec.path}` (created at {spec.site}) did not return an array.\n"
            "An initializer is `(key, shape, dtype) -> array`. What makes one has to be called first: "
            "`initializer=he_normal()`, not `initializer=he_normal`."
        )
    if value.shape != spec.shape or value.dtype != spec.dtype:
        raise InitializerError(
            f"The initializer of `{spec.path}` (created at {spec.site}) returned {value.dtype}{list(value.shape)}, "
            f"asked for {np.dtype(spec.dtype).name}{list(spec.shape)}.\n"
            "An initializer must return the shape and dtype it is given: `(key, shape, dtype) -> array`."
        )
    return value


def with_shardings(specs: Mapping[str, VariableSpec], shardings: Any) -> list[tuple[VariableSpec, Any]]:
    """Returns each spec with its sharding: one for all, or what stands at its name in a nested dict.

    Raises:
      StructureMismatchError: The dict says nothing about some variables. (None there leaves the place to JAX.)
      InvalidArgumentError: Something in it is not a sharding.
    """
    flat = dict(_path.items(shardings)) if isinstance(shardings, Mapping) else dict.fromkeys(specs, shardings)
    missing = [name for name in specs if name not in flat]
    if missing:
        unused = [name for name in flat if name not in specs]
        lines = [f"  missing: `{name}` {_asked(specs[name])}{_near(name, unused)}" for name in missing]
        raise StructureMismatchError("\n".join(["The shardings do not cover all variables:", *lines]))
    for name in specs:
        if not (flat[name] is None or isinstance(flat[name], jax.sharding.Sharding)):
            raise InvalidArgumentError(f"The sharding of `{name}` is {flat[name]!r}, not a `jax.sharding.Sharding`.")
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


def described(value: Any) -> str:
    """Returns what messages call a value that is not what it should be."""
    return f"an array of shape {value.shape}" if hasattr(value, "shape") else f"a `{type(value).__name__}`"


def _hint(tree: Any) -> str:
    if isinstance(tree, tuple) and len(tree) == 2:
        return "\nA model with state has two: `params, state = model.init(...)`, `model.apply(params, state, ...)`."
    return ""
