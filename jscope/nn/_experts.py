"""A mixture of experts: many networks, of which each token uses a few.

An expert is any function of a scope. All run at once, under `jscope.vmap`: their variables are stacked on an axis with
a name of its own, along which they can be spread over devices. Each expert has room for a fixed number of tokens,
so that shapes do not depend on the data; tokens for which there is no room are passed over.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import max_dim, min_dim

from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.lift import vmap
from jscope.nn._dense import dense
from jscope.nn._layer import (
    check_function,
    check_rank,
    check_shape,
    check_size,
    checked_number,
    named,
    one_operation,
    refuse,
)


@named
def mixture_of_experts(
    scope: Scope,
    x: jax.Array,
    expert: Callable[[Scope, jax.Array], jax.Array],
    num_experts: int,
    *,
    top_k: int = 2,
    capacity_factor: float | None = 1.25,
    normalize: bool = True,
    router_initializer: Initializer | Off | None = None,
    router_axes: Axes | None = ("embed", None),
    axis: str | None = "expert",
) -> jax.Array:
    """Sends each token to the few experts that a router prefers, and adds up what they return: `(..., d) -> (..., u)`.

    >>> def expert(scope, x_cd):
    ...     return jscope.nn.mlp(scope, x_cd, 32)
    >>> model = jscope.transform(lambda scope, x_btd: jscope.nn.mixture_of_experts(scope, x_btd, expert, 4))
    >>> x_btd = jnp.ones((2, 3, 8))
    >>> params = model.init(jax.random.key(0), x_btd)
    >>> params["router"]["kernel"].shape, params["experts"]["hidden"]["kernel"].shape
    ((8, 4), (4, 8, 32))
    >>> y_btd, captured = model.capture("load_balancing_loss$").apply(params, x_btd)
    >>> y_btd.shape, captured["load_balancing_loss"].shape
    ((2, 3, 8), ())

    Variables: `router/kernel` (d, experts), Glorot uniform; and those of `expert` in `experts`, with the experts as an
    axis in front.

    Values are sown for whoever captures them: `load_balancing_loss`, which is 1 where all experts are used equally and
    has to be added to the loss, times 0.01 or so; `router_z_loss`, which grows with the logits; and `dropped`, the part
    of the choices for which there was no room. Since it sows, use the lifts (`jscope.remat`) around it.

    Args:
      scope: Where its variables are.
      x: The tokens, of shape (..., d).
      expert: A function of a scope and tokens (n, d), with outputs (n, u).
      num_experts: How many experts there are.
      top_k: How many of them each token goes to.
      capacity_factor: The room of an expert, relative to its share of all choices if they are spread evenly; None for
        as much as ever needed, at the price of as much computation. First choices take precedence over second ones, and
        earlier tokens over later ones.
      normalize: Whether the weights of the chosen experts add up to 1. (With a single one they never do: that would
        leave the router without a gradient.)
      router_initializer: How `router/kernel` starts; None for the scope's default, else Keras's.
      router_axes: Logical names of the axes of `router/kernel`.
      axis: A logical name for the axis of the experts.

    (Shazeer et al., 2017, https://arxiv.org/abs/1701.06538; Fedus et al., 2021, https://arxiv.org/abs/2101.03961)
    """
    check_rank(scope, "mixture_of_experts", x, "(..., features)", least=1)
    advice = "It should be a function of a scope and tokens, `expert(scope, x) -> y`."
    check_function(scope, "mixture_of_experts", "expert", expert, advice)
    check_size(scope, "mixture_of_experts", "num_experts", num_experts)
    if check_size(scope, "mixture_of_experts", "top_k", top_k) > num_experts:
        refuse(scope, "mixture_of_experts", f"top_k={top_k} of {num_experts} experts", "Take at most all of them.")
    x_nd = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    # The router decides in float32: in bfloat16, many experts would tie.
    x32_nd = x_nd.astype(jnp.float32)
    options = {"use_bias": False, "kernel_initializer": router_initializer, "axes": router_axes}
    logits_ne = dense(scope / "router", x32_nd, num_experts, **options)
    capacity = _capacity(scope, x_nd.shape[0] * top_k, x_nd.shape[0], num_experts, capacity_factor)
    route = _route(logits_ne, top_k, capacity, normalize)
    for name, value in _losses(logits_ne, route).items():
        scope.sow(name, value)
    x_ecd = _sent(x_nd, route.slot_kn, num_experts, capacity)
    y_ecu = vmap(expert, axis_size=num_experts, axis=axis)(scope / "experts", x_ecd)
    form = f"({num_experts}, {capacity}, units) together, a vector for each token of each"
    check_shape(scope, "mixture_of_experts", "the experts", y_ecu, (num_experts, capacity, None), form)
    y_nu = _gathered(y_ecu, route.slot_kn, route.weight_kn)
    return y_nu.reshape(*x.shape[:-1], y_nu.shape[-1])


class _Route(NamedTuple):
    """Where tokens go: choice by choice, then token by token."""

    expert_kn: jax.Array
    weight_kn: jax.Array
    slot_kn: jax.Array
    """The place among those of all experts; beyond the last one where there is no room."""
    kept_kn: jax.Array


@functools.partial(one_operation, static_argnums=(1, 2, 3))
def _route(logits_ne: jax.Array, top_k: int, capacity: int, normalize: bool) -> _Route:
    weight_nk, expert_nk = jax.lax.top_k(jax.nn.softmax(logits_ne, axis=-1), top_k)
    if normalize and top_k > 1:
        weight_nk = weight_nk / weight_nk.sum(-1, keepdims=True)
    # Choice by choice, so that in the queues below all first choices stand before any second one.
    expert_kn, (n, experts) = expert_nk.T, logits_ne.shape
    one_hot = jax.nn.one_hot(expert_kn.reshape(top_k * n), experts, dtype=jnp.int32)
    # How many choices before this one went to the same expert.
    queue_kn = ((jnp.cumsum(one_hot, axis=0) - one_hot) * one_hot).sum(-1, dtype=jnp.int32).reshape(top_k, n)
    kept_kn = queue_kn < capacity
    slot_kn = jnp.where(kept_kn, expert_kn * capacity + queue_kn, experts * capacity)
    return _Route(expert_kn, weight_nk.T, slot_kn, kept_kn)


def _capacity(scope: Scope, choices: int, tokens: int, experts: int, factor: float | None) -> int:
    needed = tokens
    if factor is not None:
        known = checked_number(scope, "mixture_of_experts", "capacity_factor", factor)
        if known is None or not 0 < known < math.inf:
            advice = "It sizes arrays, so it should be known and positive, or None for as much as ever needed."
            refuse(scope, "mixture_of_experts", f"`capacity_factor` is {factor}", advice)
        # In whole numbers, and by JAX: the number of tokens may be a symbol, where a program is exported for any.
        share = Fraction(str(factor)) / experts
        needed = -(-choices * share.numerator // share.denominator)
    # A token goes to an expert once at most: more room than tokens would stay empty.
    return max_dim(min_dim(needed, tokens), 1)


@functools.partial(one_operation, static_argnums=(2, 3))
def _sent(x_nd: jax.Array, slot_kn: jax.Array, experts: int, capacity: int) -> jax.Array:
    """Returns the tokens of each expert."""
    room = jnp.zeros((experts * capacity, x_nd.shape[-1]), x_nd.dtype)
    x_sd = room.at[slot_kn].set(jnp.broadcast_to(x_nd, (slot_kn.shape[0], *x_nd.shape)), mode="drop")
    return x_sd.reshape(experts, capacity, x_nd.shape[-1])


@one_operation
def _gathered(y_ecu: jax.Array, slot_kn: jax.Array, weight_kn: jax.Array) -> jax.Array:
    """Returns what the experts of each token say, weighted."""
    y_su = y_ecu.reshape(math.prod(y_ecu.shape[:2]), y_ecu.shape[-1])
    # Said, since JAX clamps what it reads otherwise: a token without room would get what the last expert gave to
    # another.
    y_knu = y_su.at[slot_kn].get(mode="fill", fill_value=0)
    return jnp.einsum("kn,knu->nu", weight_kn.astype(y_knu.dtype), y_knu)


@one_operation
def _losses(logits_ne: jax.Array, route: _Route) -> dict[str, jax.Array]:
    experts, n = logits_ne.shape[1], max_dim(logits_ne.shape[0], 1)
    choices = max_dim(route.expert_kn.size, 1)
    # Counting has no gradient. The router learns from the product, through what it wanted.
    used_e = jnp.zeros(experts, jnp.float32).at[route.expert_kn].add(1 / choices)
    wanted_e = jax.nn.softmax(logits_ne, axis=-1).sum(0) / n
    return {
        "load_balancing_loss": experts * jnp.sum(used_e * wanted_e),
        "router_z_loss": jnp.sum(jax.nn.logsumexp(logits_ne, axis=-1) ** 2) / n,
        "dropped": jnp.sum(~route.kept_kn, dtype=jnp.float32) / choices,
    }
