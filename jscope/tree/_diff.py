"""The difference of two trees is a value.

A `Diff` compares leaves by path. Two leaves differ either in kind (shape or dtype; for a leaf that has neither, the
value) or only in their numbers, and then the largest absolute difference says by how much. Numbers are compared on the
host, in a type that holds every difference: `uint8` 0 and 255 are 255 apart, not 1.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jscope.errors import InvalidArgumentError

Comparison: TypeAlias = Callable[[Any, Any], tuple[str, str] | float]
"""How two leaves differ: what each of them is, where they differ in kind; otherwise their distance, 0.0 if equal."""


@dataclass(frozen=True)
class Diff:
    """What differs between two trees `a` and `b`. It is false if nothing does; `str` makes a table of it.

    >>> report = Diff(only_in_a=("dec/w",), values=(("enc/w", 0.5),))
    >>> bool(report)
    True
    >>> print(report)
    only in a  dec/w
    values     enc/w  differs by up to 0.5
    """

    only_in_a: tuple[str, ...] = ()
    """The paths that `b` lacks."""

    only_in_b: tuple[str, ...] = ()
    """The paths that `a` lacks."""

    changed: tuple[tuple[str, str, str], ...] = ()
    """`(path, in a, in b)` where shapes or dtypes differ, such as `("w", "float32[2]", "float32[3]")`.

    Leaves without shape and dtype, and arrays of things that are not numbers, are here too, with their reprs.
    """

    values: tuple[tuple[str, float], ...] = ()
    """`(path, largest absolute difference)` where only the numbers differ; infinite where only one side is NaN."""

    def __bool__(self) -> bool:
        return bool(self.only_in_a or self.only_in_b or self.changed or self.values)

    def __str__(self) -> str:
        rows = [
            *(("only in a", path, "") for path in self.only_in_a),
            *(("only in b", path, "") for path in self.only_in_b),
            *(("changed", path, f"{old} -> {new}") for path, old, new in self.changed),
            *(("values", path, f"differs by up to {gap:g}") for path, gap in self.values),
        ]
        width = max((len(path) for _, path, _ in rows), default=0)
        return "\n".join(f"{kind:9}  {path:{width}}  {what}".rstrip() for kind, path, what in rows) or "no difference"


def compare(
    a: Mapping[str, Any], b: Mapping[str, Any], change: Comparison | None = None, *, tolerance: float = 0.0
) -> Diff:
    """Compares two flat trees, as `jscope.tree.diff` does; `change` replaces the comparison of leaves.

    >>> compare({"w": 1}, {"w": 2}, lambda x, y: 0.0)
    Diff(only_in_a=(), only_in_b=(), changed=(), values=())
    """
    if not tolerance >= 0:  # Not `tolerance < 0`, which lets NaN pass.
        raise InvalidArgumentError(f"tolerance={tolerance!r} must be a non-negative number.")
    change = change or _change
    changes = {path: change(a[path], b[path]) for path in a if path in b}
    return Diff(
        only_in_a=tuple(path for path in a if path not in b),
        only_in_b=tuple(path for path in b if path not in a),
        changed=tuple((path, *kinds) for path, kinds in changes.items() if isinstance(kinds, tuple)),
        values=tuple((path, gap) for path, gap in changes.items() if isinstance(gap, float) and gap > tolerance),
    )


def kinds(x: Any, y: Any) -> tuple[str, str] | float:
    """Compares two leaves by shape and dtype only; a `jax.ShapeDtypeStruct` by everything in its repr.

    >>> kinds(np.zeros(2), np.ones(2)), kinds(np.zeros(2), np.ones(3))
    (0.0, ('float64[2]', 'float64[3]'))
    """
    x_kind, y_kind = (repr(leaf) if isinstance(leaf, jax.ShapeDtypeStruct) else describe_leaf(leaf) for leaf in (x, y))
    return 0.0 if x_kind == y_kind else (x_kind, y_kind)


def describe_leaf(leaf: Any) -> str:
    """Returns the dtype and shape of a leaf, or its shortened repr where it has none.

    >>> describe_leaf(np.zeros((2, 3), np.int8)), describe_leaf([1, 2])
    ('int8[2,3]', '[1, 2]')
    """
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" if has_type(leaf) else reprlib.repr(leaf)


def has_type(leaf: Any) -> bool:
    """Whether a leaf has a shape and a dtype: an array, a `jax.ShapeDtypeStruct`, a spec.

    >>> has_type(np.zeros(2)), has_type(0.0)
    (True, False)
    """
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def is_array(leaf: Any) -> bool:
    """Whether a leaf is a JAX array (perhaps a traced one), a NumPy array, or a NumPy scalar.

    >>> is_array(np.zeros(2)), is_array(jax.ShapeDtypeStruct((2,), "float32"))
    (True, False)
    """
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic))


def _change(x: Any, y: Any) -> tuple[str, str] | float:
    """Returns how two leaves differ: their descriptions if they differ in kind, otherwise a distance."""
    # Two trees often share most of their arrays, and reading one may fetch it from a device.
    if x is y:
        return 0.0
    if not (has_type(x) and has_type(y)):
        return 0.0 if _equal(x, y) else (describe_leaf(x), describe_leaf(y))
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return describe_leaf(x), describe_leaf(y)
    return _array_change(x, y) if is_array(x) and is_array(y) else 0.0


def _equal(x: Any, y: Any) -> bool:
    """Whether two leaves that are not arrays are equal; containers, such as lists of arrays, leaf by leaf."""
    # `==` of two lists of arrays would raise.
    xs, x_structure = jax.tree.flatten(x)
    ys, y_structure = jax.tree.flatten(y)
    if x_structure != y_structure:
        return False
    if len(xs) == 1 and xs[0] is x:  # Not a container: JAX's own flattening found nothing inside.
        return type(x) is type(y) and bool(x == y or (x != x and y != y))
    return all(_change(*pair) == 0.0 for pair in zip(xs, ys, strict=True))


def _array_change(x: Any, y: Any) -> tuple[str, str] | float:
    """Returns how two arrays of equal shape and dtype differ."""
    # NumPy cannot read typed keys.
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x, y = jax.random.key_data(x), jax.random.key_data(y)
    x, y = np.ravel(np.asarray(x)), np.ravel(np.asarray(y))
    if jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == np.bool_:
        return _integer_distance(x, y)
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return _inexact_distance(x, y)
    return 0.0 if np.array_equal(x, y) else (reprlib.repr(x), reprlib.repr(y))


def _integer_distance(x: np.ndarray, y: np.ndarray) -> float:
    # Arithmetic modulo 2**64 is exact here, since the difference of two 64-bit integers is less than 2**64.
    wide = np.int64 if jnp.issubdtype(x.dtype, jnp.signedinteger) else np.uint64
    x, y = x.astype(wide), y.astype(wide)
    return float((np.maximum(x, y).astype(np.uint64) - np.minimum(x, y).astype(np.uint64)).max(initial=0))


def _inexact_distance(x: np.ndarray, y: np.ndarray) -> float:
    wide = np.promote_types(x.dtype, np.float64)  # complex128 for complex numbers.
    x, y = x.astype(wide), y.astype(wide)
    with np.errstate(all="ignore"):
        gap = np.abs(x - y)
    # A gap of NaN is 0 between two equal infinities or two NaNs, and infinite where only one side is NaN.
    equal = (x == y) | (np.isnan(x) & np.isnan(y))
    return float(np.where(equal, 0.0, np.where(np.isnan(gap), np.inf, gap)).max(initial=0.0))
