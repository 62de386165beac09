"""Tables of vectors: from ids to vectors, and back to logits with the same table."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._layer import UNIFORM, check_rank, check_size, in_one_dtype, named, one_operation, refuse, times, weight


@named
def embedding(
    scope: Scope,
    ids: jax.Array,
    input_dim: int,
    output_dim: int,
    *,
    embeddings_initializer: Initializer | Off | None = None,
    axes: Axes | None = ("vocab", "embed"),
) -> jax.Array:
    """Looks up one row of a table for each id: `(...) -> (..., d)` for d `output_dim`.

    >>> ids_bt = jnp.array([[2, 0, 1]])
    >>> params = jscope.init(jscope.nn.embedding, jax.random.key(0), ids_bt, 5, 4)
    >>> params["embeddings"].shape, jscope.apply(jscope.nn.embedding, params, ids_bt, 5, 4).shape
    ((5, 4), (1, 3, 4))

    An id that is not below `input_dim` gives NaNs, as in `jnp.take`: an error that shows. The output has the dtype in
    which the table is read. `axes=None` leaves the names of the axes to the scope's partitioner.

    Variables: `embeddings` (input_dim, d), uniform from -0.05 to 0.05. (Keras's `Embedding`.)
    """
    check_rank(scope, "embedding", ids, "of any number", least=0)
    # Ids are signed nearly always; to ask JAX about the others takes longer than the rest of this line.
    if ids.dtype.kind != "i" and not jnp.issubdtype(ids.dtype, jnp.integer):
        advice = "Give ints, such as `ids.astype(jnp.int32)`. For one-hot vectors, use `nn.dense` without a bias."
        refuse(scope, "embedding", f"the ids are {ids.dtype.name}", advice)
    rows = check_size(scope, "embedding", "input_dim", input_dim)
    shape = (rows, check_size(scope, "embedding", "output_dim", output_dim))
    table = weight(scope, "embeddings", shape, embeddings_initializer, UNIFORM, axes)
    return _rows(table, ids)


@one_operation
def _rows(table: jax.Array, ids: jax.Array) -> jax.Array:
    # Not `table[ids]`, which clamps: a wrong id would read the last row, and nothing would show.
    return jnp.take(table, ids, axis=0)


@named
def unembed(scope: Scope, x: jax.Array, input_dim: int, *, precision: jax.lax.PrecisionLike = None) -> jax.Array:
    """Multiplies by the transposed table of an `embedding` in the same scope: `(..., d) -> (..., input_dim)`.

    >>> def f(scope, ids_bt):
    ...     x_btd = jscope.nn.embedding(scope / "tokens", ids_bt, 5, 4)
    ...     return jscope.nn.unembed(scope / "tokens", x_btd, 5)
    >>> params = jscope.init(f, jax.random.key(0), jnp.array([[2, 0, 1]]))
    >>> jscope.tree.names(params), jscope.apply(f, params, jnp.array([[2, 0, 1]])).shape
    (['tokens/embeddings'], (1, 3, 5))

    The table must exist already. (Keras's `ReversibleEmbedding`; Press and Wolf, 2017, https://arxiv.org/abs/1608.05859)
    """
    check_rank(scope, "unembed", x, "(..., features)", least=1)
    shape = (check_size(scope, "unembed", "input_dim", input_dim), x.shape[-1])
    # In `apply`, what is not there is an error in any case.
    table = (scope.with_defaults(reuse=True) if scope.collecting else scope).get_variable("embeddings", shape)
    x, table = in_one_dtype(x, table)
    return _scored(x, table, precision)


@functools.partial(one_operation, static_argnums=2)
def _scored(x: jax.Array, table: jax.Array, precision: jax.lax.PrecisionLike) -> jax.Array:
    # No copy is made: XLA reads the operand of a product the other way round.
    return times(x, table.T, precision)
