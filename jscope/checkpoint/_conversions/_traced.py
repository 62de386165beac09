"""The same with arrays of JAX, all at once: what can be traced, differentiated and mapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope.checkpoint._conversions import _axes
from jscope.checkpoint._conversions._made import Made, Piece
from jscope.checkpoint._conversions._source import whole


def traced(made: Made, arrays: Mapping[str, Any]) -> Any:
    """Returns what a rule makes of arrays of JAX. What is tied is compared where its values are known.

    Raises:
      ConversionError: What is tied has other values.
    """
    value = _value(made, arrays)
    for other in made.ties:
        tied = _value(other, arrays)
        # In a trace nobody can compare: there, the table is believed.
        known = not isinstance(value, Tracer) and not isinstance(tied, Tracer)
        if known and np.asarray(value).tobytes() != np.asarray(tied).tobytes():
            raise made.bound.rule.error(
                f"`{made.pieces[0].name}` and `{other.pieces[0].name}` are tied, but their values differ"
            )
    return value


def _value(made: Made, arrays: Mapping[str, Any]) -> Any:
    before = made.function if made.of_pieces else None
    dtype, pieces = made.type.dtype, []
    for piece in made.pieces:
        array = arrays[piece.name] if before is None else before(arrays[piece.name])
        pieces.append(array if made.bound.sides is None else _piece(made, piece, jnp.asarray(array)))
    value = pieces[0] if not made.bound.stacked else _stacked(made, pieces)
    value = value if made.bound.sides is None else jnp.reshape(value, made.laid)
    if made.function is not None and not made.of_pieces:
        value = made.function(value)
    # Whatever is not cast keeps its dtype, also that of a random key.
    return value if value.dtype == dtype else value.astype(dtype)


def _piece(made: Made, piece: Piece, array: jax.Array) -> jax.Array:
    """Returns one array of theirs with the axes in the order of ours."""
    bound, at = made.bound, made.at(piece)
    assert bound.sides is not None
    index: list[Any] = []
    shape: list[int] = []
    for composed in bound.sides[0]:
        by = bound.grouping(composed)
        plain = composed if by is None else composed[: composed.index(by)]
        for axis in plain:
            shape.append(bound.size_of(axis, at, made.sizes))
            index.append(made.index.get(axis, slice(None)))
        if by is not None:
            parts = bound.part_sizes(composed, at, made.sizes)
            begin = sum(parts[: made.index[by]])
            shape.append(sum(parts))
            index.append(slice(begin, begin + parts[made.index[by]]))
    left = [axis for axis in _axes.flat(bound.sides[0]) if axis not in made.index]
    right = [axis for axis in _axes.flat(bound.sides[1]) if axis not in piece.index]
    value = jnp.reshape(array, shape)[tuple(index)]
    value = jnp.reshape(value, [bound.size_of(axis, at, made.sizes) for axis in left])
    value = jnp.transpose(value, [left.index(axis) for axis in right])
    for axis, order in bound.rule.order.items():
        value = value[(*[slice(None)] * right.index(axis), np.array(order))]
    return value


def _stacked(made: Made, pieces: list[Any]) -> jax.Array:
    """Returns the pieces as one array."""
    bound = made.bound
    assert bound.sides is not None
    at, ours = made.at(made.pieces[0]), _axes.flat(bound.sides[1])
    if not any(map(bound.grouping, bound.sides[1])):
        sizes = [made.sizes[axis] for axis in bound.stacked]
        value = jnp.reshape(jnp.stack(pieces), (*sizes, *pieces[0].shape))
        found = [*bound.stacked, *(axis for axis in ours if axis not in bound.stacked)]
        return jnp.transpose(value, [found.index(axis) for axis in ours])
    covers = made.covers(whole(made.laid), at)
    # Parts of unequal sizes cannot be stacked: each is set in its place.
    out = jnp.zeros([size for cover in covers for size in cover.sizes], pieces[0].dtype)
    for piece, value in zip(made.pieces, pieces, strict=True):
        _, place = made.wanted(piece, covers)
        assert place is not None
        out = out.at[place].set(jnp.reshape(value, out[place].shape))
    return out
