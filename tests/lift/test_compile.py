from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import errors
from tests.models import KEY, X

PARAMS = {"a": {"w": 2 * jnp.eye(4)}}


def layer(scope, x, power=1):
    return jnp.tanh(x @ scope.get_variable("w", (4, 4))) ** power


def on_a(lifted):
    return jscope.transform(lambda s, *args: lifted(s / "a", *args))


def mesh(devices=8):
    return jax.make_mesh((devices,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))


def residuals(policy):
    """The number of arrays that the forward pass keeps for the backward pass."""
    lifted = jscope.remat(lambda s, x: jnp.sin(layer(s, x)), policy=policy)
    _, pullback = jax.vjp(lambda p: on_a(lifted).apply(p, X), PARAMS)
    return len(jax.tree.leaves(pullback))


def test_remat_keeps_what_its_policy_says():
    """`policy` decides what is kept for the backward pass."""
    policies = jax.checkpoint_policies
    assert residuals(policies.nothing_saveable) < residuals(policies.everything_saveable)


@pytest.mark.parametrize("prevent_cse", [True, False])
def test_remat_passes_prevent_cse_on(prevent_cse):
    """`prevent_cse=False` is for bodies of scans, where nothing can be merged."""
    jaxpr = jax.make_jaxpr(on_a(jscope.remat(layer, prevent_cse=prevent_cse)).apply)(PARAMS, X)
    assert f"prevent_cse={prevent_cse}" in str(jaxpr)


@pytest.mark.parametrize("lift", [jscope.remat, jscope.jit])
def test_static_argnums_count_the_scope_as_0(lift):
    """A static argument stays a Python value inside, in both phases."""

    def powered(s, x, power):
        assert isinstance(power, int)
        return layer(s, x, power)

    run = on_a(lift(powered, static_argnums=2))
    run.init(KEY(0), X, 2)
    chex.assert_trees_all_close(run.apply(PARAMS, X, 2), on_a(layer).apply(PARAMS, X, 2))


def test_jit_takes_static_argnames():
    """A static keyword stays a Python value inside."""

    def powered(s, x, *, power):
        assert isinstance(power, int)
        return layer(s, x, power)

    lifted = jscope.jit(powered, static_argnames="power")
    run = jscope.transform(lambda s, x: lifted(s / "a", x, power=2))
    chex.assert_trees_all_close(run.apply(PARAMS, X), on_a(layer).apply(PARAMS, X, 2))


def test_jit_donates():
    """A donated argument is used up by an eager call."""
    x = jnp.array(X)
    on_a(jscope.jit(layer, donate_argnums=1)).apply(PARAMS, x)
    assert x.is_deleted()


def test_jit_refuses_static_arguments_that_do_not_hash():
    """JAX says why; jscope adds of which function, and where."""
    where = r"`jscope\.jit` of `layer` \(.*test_compile.py:\d+\) over the scope `a`; names inside begin there"
    with pytest.raises(ValueError, match=rf"[Nn]on-hashable static(.|\n)*{where}"):
        on_a(jscope.jit(layer, static_argnums=2)).apply(PARAMS, X, [1])


def test_jit_traces_equal_layers_once():
    """In `apply`, paths start at the boundary: blocks at different paths share a trace, each with its variables."""
    traced = []

    @jscope.jit
    def block(s, x):
        traced.append(s.path)
        return layer(s, x)

    run = jscope.transform(lambda s, x: block(s / "b", block(s / "a", x)))
    params = PARAMS | {"b": {"w": jnp.eye(4)}}
    out = run.apply(params, X)
    assert traced == [""]
    chex.assert_trees_all_close(out, jnp.tanh(jnp.tanh(2 * X)), rtol=1e-6)


def test_jit_shares_nothing_between_functions():
    """Two functions of the same code stay two, whatever they read from around them is changed to."""

    def make(config):
        return jscope.jit(lambda scope, x: x * config["k"] * scope.get_variable("w"))

    one, other = {"k": 1.0}, {"k": 1.0}
    first, second = make(one), make(other)
    assert jscope.apply(first, {"w": 1.0}, jnp.ones(3)).tolist() == [1, 1, 1]
    one["k"] = 5.0
    assert jscope.apply(second, {"w": 1.0}, jnp.ones(2)).tolist() == [1, 1]


def test_jit_draws_the_random_numbers_of_its_place():
    """Sharing a trace does not share keys: those are of the full path, as without `jit`."""
    draw = lambda s: jax.random.uniform(s.rng())  # noqa: E731
    lifted = jscope.jit(draw)
    both = [
        jscope.transform(lambda s, f=f: (f(s / "a"), f(s / "b"))).with_rng(KEY(0)).apply({}) for f in (lifted, draw)
    ]
    chex.assert_trees_all_equal(*both)
    assert both[0][0] != both[0][1]


def test_a_getter_that_looks_at_paths_sees_full_ones():
    """With a getter of one's own, `jscope.jit` traces per path, so that the getter sees what it would see without."""
    seen = []

    def getter(getter, name, **options):
        seen.append(name)
        return getter(name, **options)

    lifted = jscope.jit(layer)
    run = jscope.transform(lambda s, x: lifted(s.with_defaults(custom_getter=getter) / "a", x))
    run.apply(PARAMS, X)
    assert seen == ["a/w"]


def test_shard_map_gives_each_device_its_shard():
    """Arguments are split over the devices, variables are whole on each."""
    shapes = []

    def body(s, x):
        shapes.append(x.shape)
        return layer(s, x)

    x = jnp.tile(X[:2], (4, 1))
    lifted = jscope.shard_map(body, mesh=mesh(), in_specs=(jax.P("d"),), out_specs=jax.P("d"))
    out = on_a(lifted).apply(PARAMS, x)
    assert shapes == [(1, 4)]
    chex.assert_trees_all_close(out, on_a(layer).apply(PARAMS, x), rtol=1e-6)


def test_shard_map_writes_state_that_is_averaged():
    """State averaged by `lax.pmean` is the same on all devices, and comes out once."""

    def body(s, x):
        s.get_variable("mean", (4,), initializer=jscope.initializers.zeros, trainable=False)
        s.assign("mean", jax.lax.pmean(x.mean(0), "d"))
        return x

    lifted = jscope.shard_map(body, mesh=mesh(), in_specs=(jax.P("d"),), out_specs=jax.P("d"))
    run = jscope.transform_with_state(lambda s, x: lifted(s / "a", x))
    x = jnp.arange(64.0).reshape(16, 4)
    params, state = run.init(KEY(0), x)
    _, state = run.apply(params, state, x)
    chex.assert_trees_all_close(state["a"]["mean"], x.mean(0))


def test_shard_map_sums_gradients_of_variables():
    """Through `shard_map` the gradient of a variable is that over all shards."""
    x = jnp.tile(X[:2], (4, 1))
    lifted = jscope.shard_map(layer, mesh=mesh(), in_specs=(jax.P("d"),), out_specs=jax.P("d"))
    grads = [jax.grad(lambda p, f=f: on_a(f).apply(p, x).sum())(PARAMS) for f in (lifted, layer)]
    chex.assert_trees_all_close(*grads, atol=1e-5)


def test_shard_map_may_shard_variables():
    """`variables` is the spec of all variables."""

    def body(s, x):
        return jax.lax.all_gather(s.get_variable("w"), "d", tiled=True) * x

    lifted = jscope.shard_map(
        body, mesh=mesh(), in_specs=(jax.P(),), out_specs=jax.P(), variables=jax.P("d"), check_vma=False
    )
    w = jnp.arange(16.0)
    chex.assert_trees_all_close(on_a(lifted).apply({"a": {"w": w}}, jnp.asarray(2.0)), 2 * w)


@pytest.mark.parametrize("lift", [jscope.remat, jscope.jit])
def test_apply_creates_nothing(lift):
    """A body that asks for a variable that the params lack is told its nearest name."""
    with pytest.raises(errors.MissingVariableError, match=r"w` is not in the params"):
        on_a(lift(layer)).apply({"a": {"v": X}}, X)
