"""What jscope adds to a compiled program: nothing."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import pytest

import jscope
from tests.crossed import mostly_slow
from tests.models import KEY, MODELS, X, linear


@pytest.mark.parametrize("name", MODELS)
def test_apply_is_the_hand_written_program(name):
    """The jaxpr of `apply` is that of the same model written by hand on nested dicts."""
    model = MODELS[name]
    variables = model.init()
    scoped = jax.make_jaxpr(model.transformed.apply)(*variables, *model.args)
    plain = jax.make_jaxpr(model.plain)(*variables, *model.args)
    assert str(scoped) == str(plain)


@pytest.mark.parametrize("name", MODELS)
def test_eager_is_eager_again_is_jitted(name):
    """Calls of `apply` agree, jitted or not, first or later."""
    model = MODELS[name]
    variables, apply = model.init(), model.transformed.apply
    first = apply(*variables, *model.args)
    chex.assert_trees_all_equal(apply(*variables, *model.args), first)
    chex.assert_trees_all_close(jax.jit(apply)(*variables, *model.args), first, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_params_are_plain_dicts_in_any_order(name):
    """`init` gives plain nested dicts with the names in the code; `apply` takes them in any order."""
    model = MODELS[name]
    variables = model.init()
    names = [name for tree in variables for name in jscope.tree.names(tree)]
    assert sorted(names) == sorted(model.names)

    def reverse(tree):
        assert type(tree) is dict or not isinstance(tree, dict)
        return {k: reverse(tree[k]) for k in reversed(tree)} if isinstance(tree, dict) else tree

    out = model.transformed.apply(*map(reverse, variables), *model.args)
    chex.assert_trees_all_equal(out, model.transformed.apply(*variables, *model.args))


@pytest.mark.parametrize("name", mostly_slow(MODELS, *list(MODELS)[::2]))
def test_gradients_are_those_of_the_plain_model(name):
    """`jax.grad` through `apply` gives what it gives by hand."""
    model = MODELS[name]
    variables = model.init()

    def loss(f):
        return lambda params: sum(jnp.sum(x**2) for x in jax.tree.leaves(f(params, *variables[1:], *model.args)))

    scoped, plain = (jax.grad(loss(f))(variables[0]) for f in (model.transformed.apply, model.plain))
    chex.assert_trees_all_close(scoped, plain, atol=1e-5)


def dropout_model(scope, x):
    def drop(scope, x):
        return jnp.where(jax.random.bernoulli(scope.rng(), 0.5, x.shape), x, 0.0)

    x = drop(scope / "d", x) + jax.jit(drop)(scope / "d", x)
    return jax.checkpoint(drop)(scope / "e", x) + jax.random.normal(scope.rng("noise"), x.shape)


def test_dropout_is_equal_eager_and_jitted():
    """A model that draws random numbers gives the same ones eager, eager again and jitted."""
    apply = jscope.transform(dropout_model).with_rng(KEY(3)).apply
    first = apply({}, jnp.ones((4, 5)))
    chex.assert_trees_all_equal(apply({}, jnp.ones((4, 5))), first)
    chex.assert_trees_all_close(jax.jit(apply)({}, jnp.ones((4, 5))), first, atol=1e-6)


def test_a_jitted_block_runs_its_python_once_over_many_applies():
    """One module-level jitted block is traced once, however often `apply` runs eagerly."""
    runs = []

    @jax.jit
    def block(scope, x):
        runs.append(scope.path)
        return linear(scope, x, 4)

    model = jscope.transform(
        lambda scope, x: block(scope.with_defaults(initializer=lambda *a: jnp.ones(*a[1:])) / "a", x)
    )
    params = model.init(KEY(0), X)
    runs.clear()
    for _ in range(3):
        model.apply(params, X)
    assert runs == ["a"]


def test_a_jitted_block_is_collected_by_every_init():
    """A cached body would hide its variables from the second `init`; none does."""
    block = jax.jit(lambda scope, x: linear(scope, x, 4))
    for _ in range(2):
        params = jscope.init(lambda scope, x: block(scope / "a", x), KEY(0), X)
        assert jscope.tree.names(params) == ["a/w", "a/b"]


def test_nothing_stays_alive_after_a_call():
    """A tracer or array that a call used can be collected when it is over."""
    import gc
    import weakref

    class Holder:
        def __call__(self, key, shape, dtype):
            return jnp.zeros(shape, dtype)

    holders, block = [], jax.jit(lambda scope, x: linear(scope, x, 4))

    def model(scope, x):
        holder = Holder()
        holders.append(weakref.ref(holder))
        return block(scope.with_defaults(initializer=holder) / "a", x)

    params = jscope.init(model, KEY(0), X)
    jscope.apply(model, params, X)
    leaf = weakref.ref(params["a"]["w"])
    del params
    gc.collect()
    assert leaf() is None
    assert [ref() for ref in holders] == [None] * len(holders)
