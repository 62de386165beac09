"""What is built: a few frozen descriptions, which every adapter turns into a model of its library.

The names of variables are the same everywhere, once a list's `layer[3]` is read as `layer_3`: so weights made by one
library load into all others.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.models import _math

PLAIN = _math.Attend()


class UnsupportedError(Exception):
    """A library has no such thing, or it is not written here."""


@dataclass(frozen=True)
class Transformer:
    """Pre-norm blocks of 16 variables: `ln_1`, `q`, `k`, `v`, `o`, `ln_2`, `up`, `down`.

    Attributes:
      layers: How many blocks, `layer_0` ... Where they are scanned they are stacked under `layers`.
      form: "unrolled"; "scanned", and rematerialized; "jitted": each block called through the `jit` of the library;
        "native": the same through `jax.jit`, on what the library passes around. "shared": as "jitted", but for blocks
        that are known to be equal, as "scanned" ones are; in the others, a function holds a model and its random input.
    """

    layers: int = 12
    width: int = 64
    attend: _math.Attend = PLAIN
    form: str = "unrolled"

    @property
    def x(self):
        return numbers(2, 16, self.width)

    @property
    def label(self):
        return f"transformer-{self.layers}"


@dataclass(frozen=True)
class Decoder:
    """A language model: `table`, `positions`, a scanned transformer `blocks`, `ln`."""

    layers: int = 2
    width: int = 16
    attend: _math.Attend = PLAIN
    vocabulary: int = 50
    length: int = 12
    batch: int = 2

    @property
    def x(self):
        shape = (self.batch, self.length)
        return jnp.asarray(np.random.default_rng(0).integers(self.vocabulary, size=shape), jnp.int32)

    @property
    def label(self):
        return f"decoder-{self.layers}"

    @property
    def blocks(self):
        return Transformer(self.layers, self.width, self.attend, "scanned")


@dataclass(frozen=True)
class Wide:
    """`unit_0` ... of two small variables each, those of a norm.

    Attributes:
      variables: How many variables.
      width: How many numbers each has.
      compute: What is done with them: `compute(x, scale, offset)`.
    """

    variables: int = 10_000
    width: int = 4
    compute: Callable[..., jax.Array] = _math.affine

    @property
    def x(self):
        return numbers(self.width)

    @property
    def label(self):
        return f"wide-{self.variables}"

    @property
    def units(self):
        return range(self.variables // 2)


@dataclass(frozen=True)
class Built:
    """A model in some library.

    Attributes:
      init: `init(key, x) -> variables`, a pytree.
      apply: `apply(variables, x) -> out`.
      load: `load(params) -> variables`, from nested dicts by the names above.
      bind: `bind(variables) -> (x -> out)`, what a user calls outside of `jit`.
      sharded: `sharded(key, x, rule) -> variables`, placed by `rule(shape) -> jax.sharding.Sharding`.
      specs: `specs(x)`, where the library can tell what its variables are without making them.
    """

    init: Callable[..., Any]
    apply: Callable[..., Any]
    load: Callable[..., Any] = lambda params: params
    bind: Callable[..., Any] | None = None
    sharded: Callable[..., Any] | None = None
    specs: Callable[..., Any] | None = None

    def bound(self, variables):
        """Returns the model with its variables in place."""
        return (lambda x: self.apply(variables, x)) if self.bind is None else self.bind(variables)

    def init_sharded(self, key, x, rule):
        """Returns initial values, each where `rule` puts it."""
        if self.sharded is not None:
            return self.sharded(key, x, rule)
        places = jax.tree.map(lambda leaf: rule(leaf.shape), jax.eval_shape(self.init, key, x))
        return jax.jit(self.init, out_shardings=places)(key, x)


def load_into(shapes, params):
    """Returns the pytree `shapes` with each leaf replaced by the array of its name in `params`."""

    def find(path, _):
        names = []
        for part in path:
            name = getattr(part, "key", getattr(part, "idx", getattr(part, "name", None)))
            names += [f"{names.pop()}_{name}" if isinstance(name, int) else name]
        return functools.reduce(operator.getitem, names, params)

    return jax.tree_util.tree_map_with_path(find, shapes)


def numbers(*shape):
    """Returns the same float32 numbers on every machine."""
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)
