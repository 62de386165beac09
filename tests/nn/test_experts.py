"""Mixtures of experts, compared with a loop over tokens."""

from __future__ import annotations

import math
from functools import partial

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import nn
from jscope.errors import InvalidArgumentError
from tests.nn.filled import filled
from tests.nn.sequence_cases import numbers

X = jnp.asarray(numbers("x", (2, 5, 4)))


def expert(scope, x):
    return nn.dense(scope, x, 3, use_bias=False)


def by_numpy(params, x, top_k, capacity, normalize):
    """Token by token: first choices first, as long as there is room."""
    x = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
    router, kernel = (np.asarray(params[name]["kernel"], np.float64) for name in ("router", "experts"))
    probabilities = np.exp(x @ router) / np.exp(x @ router).sum(-1, keepdims=True)
    chosen = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top_k]
    out, used, dropped = np.zeros((len(x), 3)), np.zeros(router.shape[1], int), 0
    for k in range(top_k):
        for n in range(len(x)):
            e = chosen[n, k]
            weight = probabilities[n, e] / (probabilities[n, chosen[n]].sum() if normalize else 1)
            if used[e] < capacity:
                out[n] += weight * (x[n] @ kernel[e])
            dropped += used[e] >= capacity
            used[e] += 1
    balance = router.shape[1] * np.sum(used / used.sum() * probabilities.mean(0))
    return out, {"load_balancing_loss": balance, "dropped": dropped / chosen.size}


@pytest.mark.parametrize(("top_k", "factor"), [(1, 0.5), (2, None), (2, 1.0)])
def test_tokens_go_where_the_router_wants_them(top_k, factor):
    """With and without enough room; the losses are those of the paper."""
    f = partial(nn.mixture_of_experts, expert=expert, num_experts=4, top_k=top_k, capacity_factor=factor)
    model = jscope.transform(f)
    params = filled(model.specs(X))
    out, captured = jax.jit(model.capture("").apply)(params, X)
    capacity = 10 if factor is None else math.ceil(10 * top_k * factor / 4)
    expected, sown = by_numpy(params, X, top_k, capacity, normalize=top_k > 1)
    np.testing.assert_allclose(out.reshape(10, 3), expected, atol=1e-5)
    for name, value in sown.items():
        np.testing.assert_allclose(captured[name], value, rtol=1e-5)
    assert (captured["dropped"] > 0) == (factor is not None)


def test_experts_are_independent_and_on_an_axis_of_their_own():
    """Each starts as the unrolled expert at its index would; the name of the axis is for shardings."""
    f = partial(nn.mixture_of_experts, expert=expert, num_experts=4)
    specs = jscope.specs(f, X)
    one = jscope.specs(lambda scope: expert(scope / "experts/2", X[0]))
    stacked, alone = jax.jit(lambda key: (specs.materialize(key), one.materialize(key)))(jax.random.key(1))
    np.testing.assert_array_equal(stacked["experts"]["kernel"][2], alone["experts"]["2"]["kernel"])
    assert [axis.name for axis in specs["experts/kernel"].stack] == ["expert"]


def test_the_router_is_in_float32_and_takes_empty_batches():
    """The output has the dtype of the input."""
    f = partial(nn.mixture_of_experts, expert=expert, num_experts=4, top_k=1)
    params = jscope.specs(f, X).shape_dtype()
    half, none = jax.ShapeDtypeStruct(X.shape, jnp.bfloat16), jax.ShapeDtypeStruct((0, 5, 4), X.dtype)
    assert jax.eval_shape(partial(jscope.apply, f), params, half).dtype == jnp.bfloat16
    assert jax.eval_shape(partial(jscope.apply, f), params, none).shape == (0, 5, 3)


@pytest.mark.parametrize(
    "capacity_factor", [1.25, *(pytest.param(each, marks=pytest.mark.slow) for each in (1.1, None))]
)
def test_a_program_for_any_number_of_tokens_is_exported(capacity_factor):
    """Room goes by their number, in whole numbers: also where that is a symbol."""
    layer = partial(nn.mixture_of_experts, expert=expert, num_experts=3, capacity_factor=capacity_factor)
    model = jscope.transform(lambda scope, x: layer(scope, x)).capture("loss|dropped")
    params = model.init(jax.random.key(0), X)
    (n,) = jax.export.symbolic_shape("n")
    exported = jax.export.export(jax.jit(model.apply))(params, jax.ShapeDtypeStruct((n, 4), jnp.float32))
    for size in (1, 7):
        x = jax.random.normal(jax.random.key(size), (size, 4))
        chex.assert_trees_all_close(exported.call(params, x), model.apply(params, x), atol=1e-6)


def test_all_that_is_sown_is_float32():
    """Also with 64-bit types, which JAX would take for a quotient of ints."""
    with jax.enable_x64(True):
        model = jscope.transform(lambda scope, x: nn.mixture_of_experts(scope, x, expert, 3)).capture("loss|dropped")
        captured = jax.eval_shape(lambda x: model.apply(model.init(jax.random.key(0), x), x)[1], X)
    assert {leaf.dtype for leaf in captured.values()} == {jnp.dtype(jnp.float32)}


def test_bad_sizes_are_refused():
    """More choices than experts, no experts, no room."""
    for match, options in {
        r"`nn\.mixture_of_experts` in the root scope: top_k=3 of 2 experts": {"num_experts": 2, "top_k": 3},
        "`num_experts` is 0": {"num_experts": 0},
        "`capacity_factor` is 0": {"num_experts": 2, "capacity_factor": 0},
        "`capacity_factor` is inf": {"num_experts": 2, "capacity_factor": math.inf},
    }.items():
        with pytest.raises(InvalidArgumentError, match=match):
            jscope.specs(partial(nn.mixture_of_experts, expert=expert, **options), X)
