"""JAX's own transforms on scoped functions, inside a model.

A scope and a nested dict are both pytrees, so one use of a transform serves both: `use(scoped, scope / "block", x)`
in a model must give what `use(plain, params["block"], x)` gives by hand.
"""

from __future__ import annotations

import functools
import re

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.experimental.ode import odeint

import jscope
from jscope import errors
from tests.crossed import crossed
from tests.models import KEY, MODELS, X, linear, plain_linear

STATELESS = {name: model for name, model in MODELS.items() if not (model.state or model.data)}


def total(f, v, x):
    return jnp.sum(f(v, x))


def mean(f, v, x):
    return jnp.tanh(jnp.mean(f(v, x)))


def use_custom_vjp(f, v, x):
    @jax.custom_vjp
    def g(v, x):
        return f(v, x)

    def forward(v, x):
        return g(v, x), (v, x)

    def backward(residuals, ct):
        v, x = residuals  # The backward pass reads variables.
        return jax.tree.map(jnp.zeros_like, v), jax.vjp(lambda x: f(v, x), x)[1](ct)[0]

    g.defvjp(forward, backward)
    return jax.grad(lambda x: jnp.sum(g(without_key(v), x)))(x)


def without_key(v):
    return v.with_rng(None) if isinstance(v, jscope.Scope) else v


NATIVE = {
    "jit": lambda f, v, x: jax.jit(f)(v, x),
    "checkpoint": lambda f, v, x: jax.checkpoint(f)(v, x),
    "vmap": lambda f, v, x: jax.vmap(lambda v, x: total(f, v, x), (None, 0))(v, jnp.stack([x, -x])),
    "grad": lambda f, v, x: jax.grad(lambda x: total(f, v, x))(x),
    "jacfwd": lambda f, v, x: jax.jacfwd(lambda x: total(f, v, x))(x),
    "hessian": lambda f, v, x: jax.hessian(lambda s: total(f, v, s * x))(0.5),
    "linearize": lambda f, v, x: jax.linearize(lambda x: f(v, x), x)[1](x),
    "custom_vjp": use_custom_vjp,
    "cond": lambda f, v, x: jax.lax.cond(x.sum() > 0, f, lambda v, x: 2.0 * f(v, x), v, x),
    "switch": lambda f, v, x: jax.lax.switch(1, [f, lambda v, x: -f(v, x)], v, x),
    "scan": lambda f, v, x: jax.lax.scan(lambda c, _: (c + mean(f, v, c * x), c), 1.0, None, length=2),
    "while_loop": lambda f, v, x: jax.lax.while_loop(
        lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] + mean(f, v, c[1] * x)), (0, 1.0)
    ),
    "fori_loop": lambda f, v, x: jax.lax.fori_loop(0, 2, lambda _, c: c + mean(f, v, c * x), 1.0),
    "map": lambda f, v, x: jax.lax.map(lambda s: f(v, s * x), jnp.array([1.0, 2.0])),
}


def program(f, *args):
    """The jaxpr of a function, in which plain models are called like scoped ones."""
    return re.sub(r"\s+", " ", str(jax.make_jaxpr(f)(*args)).replace("plain_", ""))


@pytest.mark.parametrize(("name", "transform"), crossed(STATELESS, NATIVE))
def test_native_transforms_work_on_scoped_functions(name, transform):
    """Each JAX transform gives a scoped block the names and the program of the plain one, and leaks nothing."""
    model, use = STATELESS[name], NATIVE[transform]
    scoped = jscope.transform(lambda scope, x: use(model.scoped, scope / "block", x))
    keyed = scoped.with_rng(KEY(1))
    with jax.checking_leaks():
        params = scoped.specs(*model.args).shape_dtype()
        found = program(scoped.apply, params, *model.args)
        with_key = jax.eval_shape(keyed.apply, params, *model.args)
    assert sorted(jscope.tree.names(params["block"])) == sorted(model.names)
    assert found == program(lambda params, x: use(model.plain, params["block"], x), params, *model.args)
    chex.assert_trees_all_equal_shapes_and_dtypes(with_key, jax.eval_shape(scoped.apply, params, *model.args))


@pytest.mark.parametrize(("keyed", "transform"), crossed([False, True], NATIVE))
def test_native_transforms_give_the_outputs_of_plain_ones(transform, keyed):
    """Run eagerly, with and without a key, a transform of a scoped block gives the plain one's numbers."""
    model, use = MODELS["mlp"], NATIVE[transform]
    scoped = jscope.transform(lambda scope, x: use(model.scoped, scope / "block", x))
    params = scoped.init(KEY(0), *model.args)
    expected = use(model.plain, params["block"], *model.args)
    apply = scoped.with_rng(KEY(1) if keyed else None).apply
    for _ in range(2):
        chex.assert_trees_all_close(apply(params, *model.args), expected, atol=1e-5)
    chex.assert_trees_all_close(jax.jit(apply)(params, *model.args), expected, atol=1e-5)


@pytest.mark.parametrize("transform", ["jit", "checkpoint", "cond", "scan"])
@pytest.mark.parametrize("name", STATELESS)
def test_a_transform_changes_no_initial_value(name, transform):
    """Params are those of the block without the transform, bit for bit."""
    model, use = STATELESS[name], NATIVE[transform]
    bare = jscope.init(lambda scope, x: model.scoped(scope / "block", x), KEY(0), *model.args)
    lifted = jscope.init(lambda scope, x: use(model.scoped, scope / "block", x), KEY(0), *model.args)
    chex.assert_trees_all_equal(lifted, bare)


def solve(f, x0):
    return jax.lax.fori_loop(0, 30, lambda _, x: x - f(x), x0)


def use_odeint(f, v, x):
    return odeint(lambda y, t, v: f(v, y), x, jnp.array([0.0, 0.5]), without_key(v))


def use_custom_root(f, v, x):
    return jax.lax.custom_root(lambda y: y - 0.1 * f(v, y) - x, x, solve, lambda g, y: solve(lambda z: g(z) - y, y))


@pytest.mark.parametrize("use", [pytest.param(use_odeint, marks=pytest.mark.slow), use_custom_root])
def test_solvers_of_jax_work_on_scoped_functions(use):
    """`odeint` and `custom_root`, which trace their function several times, take scoped ones."""
    model = jscope.transform(lambda scope, x: use(lambda s, y: linear(s, y, 4), scope / "f", x))
    with jax.checking_leaks():
        params = model.init(KEY(0), X)
        out = model.apply(params, X)
    chex.assert_trees_all_close(out, use(plain_linear, params["f"], X), atol=1e-5)
    grads = jax.grad(lambda p: model.apply(p, X).sum())(params)
    by_hand = jax.grad(lambda p: use(plain_linear, p["f"], X).sum())(params)
    chex.assert_trees_all_close(grads, by_hand, atol=1e-4)


def test_a_backward_pass_reads_variables_after_the_call():
    """A `custom_vjp` whose backward pass runs when the call is over still reads params."""

    @functools.partial(jax.custom_vjp, nondiff_argnums=())
    def f(scope, x):
        return x * scope.get_variable("w", (4,), initializer=jscope.initializers.ones)

    f.defvjp(lambda s, x: (f(s, x), s), lambda s, ct: (jax.tree.map(jnp.zeros_like, s), 3.0 * ct * s.get_variable("w")))
    model = jscope.transform(lambda scope, x: f((scope / "a").with_rng(None), x))
    params = {"a": {"w": jnp.arange(4.0)}}
    assert jscope.tree.names(model.init(KEY(0), X[0])) == ["a/w"]
    grads = jax.grad(lambda x: model.apply(params, x).sum())(X[0])
    chex.assert_trees_all_close(grads, 3.0 * jnp.arange(4.0))


WRITES = {
    "assign": lambda scope, x: scope.assign("n", x.sum()),
    "sow": lambda scope, x: scope.sow("h", x),
}
LIFT_OF = {
    "jit": ("jit", lambda f, s, x: jax.jit(f)(s, x)),
    "checkpoint": ("remat", lambda f, s, x: jax.checkpoint(f)(s, x)),
    "vmap": ("vmap", lambda f, s, x: jax.vmap(f, (None, 0))(s, x)),
    "scan": ("scan", lambda f, s, x: jax.lax.scan(lambda c, x: (f(s, x), None), x[0], x)[0]),
    "cond": ("cond", lambda f, s, x: jax.lax.cond(True, f, f, s, x)),
    "while_loop": ("while_loop", lambda f, s, x: jax.lax.while_loop(lambda x: x.sum() > 99, lambda x: f(s, x), x)),
    "grad": ("grad", lambda f, s, x: jax.grad(lambda x: f(s, x).sum())(x)),
}


@pytest.mark.parametrize("transform", LIFT_OF)
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("closure", [False, True])
def test_writing_inside_a_native_transform_names_the_lift(write, transform, closure):
    """Assigning and sowing there is an error with the path and the lift to use, in init and in apply."""
    lift, use = LIFT_OF[transform]

    def block(scope, x):
        WRITES[write](scope, x)
        return x

    def model(scope, x):
        s = scope / "a"
        s.get_variable("n", initializer=0.0, trainable=False)
        return use((lambda _, x: block(s, x)) if closure else block, s, x)

    init, apply = jscope.transform_with_state(model)
    with pytest.raises(errors.NativeTransformError, match=rf"`a/[nh]`.*\n.*`jscope\.{lift}`"):
        init(KEY(0), X)
    with pytest.raises(errors.NativeTransformError, match=rf"`a/[nh]`.*\n.*`jscope\.{lift}`"):
        apply({}, {"a": {"n": jnp.zeros(())}}, X)
