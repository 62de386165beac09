"""How much there is in a tree, and what it is like."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jscope import _path
from jscope._types import Tree
from jscope._util._compiled import one_operation
from jscope.errors import InvalidArgumentError
from jscope.tree import _diff
from jscope.tree._names import flatten


def size(tree: Tree) -> int:
    """Counts the elements of all leaves; a typed random key is one element.

    >>> size({"w": np.zeros((2, 3)), "b": jax.ShapeDtypeStruct((3,), "float32")})
    9

    Raises:
      InvalidArgumentError: A leaf has no shape and dtype.
    """
    return sum(math.prod(leaf.shape) for leaf in _sized(tree))


def bytes(tree: Tree) -> int:
    """Counts the bytes of all leaves: elements times item size, without what a device adds for its layout.

    >>> bytes({"w": np.zeros((2, 3), np.float32), "b": jax.ShapeDtypeStruct((3,), "bfloat16")})
    30

    Raises:
      InvalidArgumentError: A leaf has no shape and dtype.
    """
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in _sized(tree))


def stats(tree: Tree, *, depth: int | None = None) -> dict[str, jax.Array]:
    """Returns a few numbers that tell how the leaves of each scope are, as a flat dict for any logger.

    >>> found = stats({"enc": {"w": jnp.array([3.0, -4.0])}, "b": jnp.array([jnp.nan])})
    >>> {name: float(value) for name, value in found.items() if name.startswith("enc")}
    {'enc/norm': 5.0, 'enc/mean': -0.5, 'enc/min': -4.0, 'enc/max': 3.0, 'enc/nonfinite': 0.0}
    >>> int(found["nonfinite"])
    1

    For each scope, and for the whole tree, of all leaves below: the norm (the root of the sum of squares), mean, least
    and greatest value, and how many values are not finite, which the others leave out. All are float32 scalars, but for
    the count, which is int32; of complex numbers, absolutes count. It may be called under `jax.jit`, on params,
    gradients, updates or state.

    Args:
      tree: A tree of arrays. What is not a number (a random key, a string) is left out, and so are empty arrays.
      depth: How many parts of scopes to tell apart: 0 for the whole tree only. None tells all.

    Raises:
      InvalidArgumentError: `depth` is negative.
    """
    if depth is not None and depth < 0:
        raise InvalidArgumentError(f"stats: depth={depth!r} must be a non-negative int, or None for all scopes.")
    numeric = {path: leaf for path, leaf in flatten(tree).items() if _is_numeric(leaf)}
    below: dict[str, list[int]] = {}
    for position, path in enumerate(numeric):
        for scope in ("", *_path.prefixes(path)):
            if depth is None or len(_path.parts(scope)) <= depth:
                below.setdefault(scope, []).append(position)
    found = _of_scopes(list(numeric.values()), tuple(map(tuple, below.values())))
    return {
        _path.join(scope, name): v
        for scope, each in zip(below, found, strict=True)
        for name, v in zip(_NUMBERS, each, strict=True)
    }


def _sized(tree: Tree) -> Iterator[Any]:
    """Yields the leaves, after checking that each has a shape and a dtype."""
    for path, leaf in flatten(tree).items():
        if not _diff.has_type(leaf):
            raise InvalidArgumentError(
                f"`{path}` has no size: it is {_diff.describe_leaf(leaf)}. `filter` it out first."
            )
        yield leaf


def _is_numeric(leaf: Any) -> bool:
    numbers = (jnp.number, jnp.bool_)
    return _diff.is_array(leaf) and leaf.size > 0 and any(jnp.issubdtype(leaf.dtype, kind) for kind in numbers)


_NUMBERS = ("norm", "mean", "min", "max", "nonfinite")


# One program: called eagerly, each operation would be compiled for each shape, and run by itself.
@functools.partial(one_operation, static_argnums=1)
def _of_scopes(leaves: list[Any], scopes: tuple[tuple[int, ...], ...]) -> list[tuple[jax.Array, ...]]:
    """Returns the `_NUMBERS` of each scope, which is given by the positions of the leaves below it."""
    moments = [_moments(jnp.asarray(leaf)) for leaf in leaves]
    return [_stats([moments[i] for i in scope]) for scope in scopes]


def _moments(leaf: jax.Array) -> tuple[jax.Array, ...]:
    """Returns what `_stats` puts together: sums of squares and values, extremes, numbers of finite and other values."""
    values = (jnp.abs(leaf) if jnp.iscomplexobj(leaf) else leaf).astype(jnp.float32)
    finite = jnp.isfinite(values)
    zero, most = jnp.zeros((), jnp.float32), jnp.full((), jnp.inf, jnp.float32)
    kept = jnp.where(finite, values, zero)
    count = jnp.sum(finite, dtype=jnp.int32)
    least, greatest = jnp.min(jnp.where(finite, values, most)), jnp.max(jnp.where(finite, values, -most))
    return jnp.sum(kept * kept), jnp.sum(kept), least, greatest, count, jnp.int32(values.size) - count


def _stats(moments: list[tuple[jax.Array, ...]]) -> tuple[jax.Array, ...]:
    squares, sums, least, greatest, finite, others = map(jnp.stack, zip(*moments, strict=True))
    count = jnp.maximum(jnp.sum(finite), 1).astype(jnp.float32)
    norm, mean = jnp.sqrt(jnp.sum(squares)), jnp.sum(sums) / count
    return norm, mean, jnp.min(least), jnp.max(greatest), jnp.sum(others, dtype=jnp.int32)
