"""A cache holds the keys and values of the tokens that were seen, so that the next one need not compute them again.

It is an argument and a result of `attention`, like any other array: nothing is kept in state. Its size never changes,
so a decoding step is compiled once. Without a window, token `i` stands in slot `i`. With a window, the cache is a
*ring*: token `i` stands in slot `i % size`, where it replaces one that no query can see any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jscope._types import DType
from jscope.errors import ShapeMismatchError
from jscope.nn._positions import integers


class Seen(NamedTuple):
    """What a chunk of queries may look at."""

    key_bshk: jax.Array
    value_bshk: jax.Array
    queries_t: jax.Array
    """The position of each query."""
    keys_s: jax.Array
    """The position of each key; negative where there is none."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, slots=True)
class KVCache:
    """The keys and values of the tokens seen so far: an argument and a result of `attention`.

    >>> cache = jscope.nn.KVCache.zeros(batch=2, size=8, heads=1, key_dim=4)
    >>> attend = lambda scope, x, cache: jscope.nn.attention(scope, x, 1, cache=cache, key_dim=4)
    >>> model, x_btd = jscope.transform(attend), jnp.ones((2, 3, 4))
    >>> params = model.init(jax.random.key(0), x_btd, cache)
    >>> out_btd, cache = model.apply(params, x_btd, cache)
    >>> int(cache.length)
    3

    Attributes:
      key: `(batch, size, heads, key_dim)`, after rotation.
      value: `(batch, size, heads, value_dim)`.
      length: How many tokens were seen, an int32 scalar. All examples of a batch have seen equally many.
    """

    key: jax.Array
    value: jax.Array
    # A leaf, and not static: otherwise each step of decoding would be compiled anew.
    length: jax.Array

    @classmethod
    def zeros(
        cls,
        batch: int,
        size: int,
        heads: int,
        key_dim: int,
        *,
        value_dim: int | None = None,
        dtype: DType = jnp.float32,
    ) -> KVCache:
        """Returns a cache that has seen nothing.

        Args:
          batch: The number of examples.
          size: How many tokens it holds: all that will be seen, or, with `sliding_window`, at least so many.
          heads: The number of heads of keys and values.
          key_dim: The size of a key.
          value_dim: The size of a value; `key_dim` if None.
          dtype: In which keys and values are kept; `attention` computes in that of its input.
        """
        shape = (batch, size, heads)
        key, value = (jnp.zeros((*shape, dim), dtype) for dim in (key_dim, value_dim or key_dim))
        return cls(key, value, jnp.zeros((), jnp.int32))

    @property
    def size(self) -> int:
        """How many tokens it holds."""
        return self.key.shape[1]

    def see(self, key_bthk: jax.Array, value_bthk: jax.Array, window: int | None, where: str) -> tuple[Seen, KVCache]:
        """Returns what the queries of the next `t` tokens may look at, and the cache with these tokens added.

        Args:
          key_bthk: The keys of the next tokens.
          value_bthk: Their values.
          window: How many tokens a query sees, itself included, where not all.
          where: How messages call the scope.

        Raises:
          ShapeMismatchError: They do not fit. That the cache is full is found out where `length` is known.
        """
        self._check(key_bthk, value_bthk, window, where)
        t = key_bthk.shape[1]
        old_or_new = jnp.arange(t, dtype=jnp.int32)
        if window is None:
            # Where the length is traced, a full cache clamps: the newest tokens take the last slots.
            start = jnp.minimum(self.length, self.size - t)
            after = self._put(key_bthk, value_bthk, start)
            return after._seen(start + old_or_new, jnp.arange(self.size, dtype=jnp.int32)), after
        queries_t = self.length + old_or_new
        after = self._turn(key_bthk, value_bthk)
        if window - 1 + t <= self.size:
            return after._seen(queries_t, after._ring()), after
        # The last of these tokens push out some that the first of them still see.
        pairs = (self.key, key_bthk), (self.value, value_bthk)
        key, value = (jnp.concatenate([old.astype(new.dtype), new], axis=1) for old, new in pairs)
        return Seen(key, value, queries_t, jnp.concatenate([self._ring(), queries_t])), after

    def _seen(self, queries_t: jax.Array, keys_s: jax.Array) -> Seen:
        return Seen(self.key, self.value, queries_t, keys_s)

    def _put(self, key_bthk: jax.Array, value_bthk: jax.Array, start: jax.Array) -> KVCache:
        pairs = (self.key, key_bthk), (self.value, value_bthk)
        key, value = (
            jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), start, axis=1) for old, new in pairs
        )
        return KVCache(key, value, self.length + key_bthk.shape[1])

    def _turn(self, key_bthk: jax.Array, value_bthk: jax.Array) -> KVCache:
        t, kept = key_bthk.shape[1], min(key_bthk.shape[1], self.size)
        # Of more tokens than there are slots only the last stay: where two are written to one slot, `unique_indices`
        # would be a lie, and nothing says which of them wins.
        slots = (self.length + jnp.arange(t - kept, t, dtype=jnp.int32)) % self.size
        pairs = (self.key, key_bthk), (self.value, value_bthk)
        key, value = (
            old.at[:, slots].set(new[:, t - kept :].astype(old.dtype), unique_indices=True) for old, new in pairs
        )
        return KVCache(key, value, self.length + t)

    def _ring(self) -> jax.Array:
        """Returns the position of the token in each slot of a ring; negative where there is none."""
        slots, last = jnp.arange(self.size, dtype=jnp.int32), self.length - 1
        # The last position that falls on the slot. `%` is never negative, so a slot that no token has reached gets a
        # negative one.
        return last - (last - slots) % self.size

    def _check(self, key_bthk: jax.Array, value_bthk: jax.Array, window: int | None, where: str) -> None:
        for what, old, new in (("keys", self.key, key_bthk), ("values", self.value, value_bthk)):
            if (old.shape[0], *old.shape[2:]) != (new.shape[0], *new.shape[2:]):
                raise ShapeMismatchError(
                    f"In {where}, the cache has {what} of shape {old.shape}, but those of the next tokens have "
                    f"{new.shape}: only the second axis may differ.\n"
                    "Make the cache by `nn.KVCache.zeros(batch, size, heads, key_dim)` with the sizes of this layer."
                )
        # Without `jit`, this waits for the device in each step: the price of an error where there would be wrong
        # numbers.
        need = key_bthk.shape[1] + known(self.length) if window is None else window
        if need > self.size:
            seen = f"{need} tokens" if window is None else f"a window of {window} tokens"
            raise ShapeMismatchError(
                f"In {where}, the cache has {self.size} slots, which is too few for {seen}.\n"
                "Make a larger one, or limit what a query sees by `sliding_window=`: then old tokens make room."
            )


def known(length: Any) -> int:
    """Returns a length, or 0 where it is traced: then an overflow cannot be found out."""
    return 0 if isinstance(length, Tracer) else int(length)


def positions_of(x: jax.Array, given: jax.Array | None, cache: KVCache | None) -> jax.Array:
    """Returns the positions of tokens: `(t,)` or `(b, t)`."""
    if given is not None:
        return integers("attention", given)
    first = jnp.arange(x.shape[1], dtype=jnp.int32)
    return first if cache is None else cache.length + first
