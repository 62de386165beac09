"""What is built: a few frozen descriptions, which every adapter turns into a model of its library.

The names of variables are the same everywhere, once a list's `layer[3]` is read as `layer_3`: so weights made by one
library load into all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.models import _math

PLAIN = _math.Attend()


class UnsupportedError(Exception):
    """A library has no such thing; the message says why."""


def supported(makers, model):
    """Returns what makes a model of this kind, among those by kind, or raises `UnsupportedError`."""
    if type(model) not in makers:
        raise UnsupportedError(f"No {type(model).__name__} is written for this library here.")
    return makers[type(model)]


@dataclass(frozen=True)
class Mlp:
    """`layer_0` ... of `w` and `b`."""

    layers: int = 4
    width: int = 64

    @property
    def x(self):
        return numbers(8, self.width)


@dataclass(frozen=True)
class Transformer:
    """Pre-norm blocks of 16 variables: `ln_1`, `q`, `k`, `v`, `o`, `ln_2`, `up`, `down`.

    Attributes:
      layers: How many blocks, `layer_0` ... Where they are scanned they are stacked under `layers`.
      form: "unrolled"; "scanned"; "jitted": each block called through the `jit` of the library; "native": the same
        through `jax.jit`, on what the library passes around.
    """

    layers: int = 12
    width: int = 64
    attend: _math.Attend = PLAIN
    form: str = "unrolled"

    @property
    def x(self):
        return numbers(2, 16, self.width)


@dataclass(frozen=True)
class Decoder:
    """A language model: `table`, `positions`, scanned and rematerialized blocks stacked under `layers`, `ln`."""

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


@dataclass(frozen=True)
class ResNet:
    """ResNet-50: `stem`, bottlenecks `block_0` ... of three convolutions and a projection where needed, `out`."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 16
    size: int = 32
    classes: int = 10

    @property
    def x(self):
        return numbers(2, self.size, self.size, 3)

    @property
    def bottlenecks(self):
        """For each block: features in, features inside, stride, and whether it projects."""
        plan, features = [], self.width
        for stage, count in enumerate(self.blocks):
            for i in range(count):
                inner = self.width * 2**stage
                plan.append((features, inner, 2 if stage and not i else 1, not i))
                features = 4 * inner
        return plan

    @property
    def features(self):
        """The width of what `out` gets."""
        return 4 * self.width * 2 ** (len(self.blocks) - 1)


@dataclass(frozen=True)
class Wide:
    """`group_0/unit_0` ... of two small variables each, 100 units to a group."""

    variables: int = 10_000
    width: int = 4

    @property
    def x(self):
        return numbers(self.width)

    @property
    def groups(self):
        """How many units each group has."""
        full, rest = divmod(self.variables // 2, 100)
        return [100] * full + [rest] * bool(rest)


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
    load: Callable[..., Any]
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


def step(built):
    """Returns one step of gradient descent: `(variables, x) -> (variables, loss)`."""

    def train(variables, x):
        loss, grads = jax.value_and_grad(lambda variables: _math.loss(built.apply(variables, x)))(variables)
        return jax.tree.map(lambda value, grad: value - 0.01 * grad, variables, grads), loss

    return train


def numbers(*shape):
    """Returns the same float32 numbers on every machine."""
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)
