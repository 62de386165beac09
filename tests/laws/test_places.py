"""Laws of blocks that run for many places: what is traced once computes at each place what it would by itself."""

from __future__ import annotations

import functools
import sys

import chex
import jax
import jax.numpy as jnp
import pytest

import jscope
from tests.crossed import mostly_slow
from tests.models import KEY

X = jnp.ones(3)
LIFTS = {
    "jit": jscope.jit,
    "remat": jscope.remat,
    "cond": lambda f: lambda s, x: jscope.cond(x.sum() > -1e9, f, nothing, s, x),
    "switch": lambda f: lambda s, x: jscope.switch(1, [nothing, f], s, x),
    "scan": lambda f: (
        lambda s, x: jscope.scan(lambda s, x, _: (f(s, x), None), s, x, length=1, shared="", rng="shared")[0]
    ),
    "map": lambda f: lambda s, x: jscope.map(f, s, x[None], rng="shared")[0],
    "while_loop": lambda f: (
        lambda s, x: jscope.while_loop(
            lambda _, v: v[0] < 1, lambda s, v: (v[0] + 1, f(s, v[1])), s, (0, x), rng="shared"
        )[1]
    ),
    "fori_loop": lambda f: lambda s, x: jscope.fori_loop(0, 1, lambda s, _, x: f(s, x), s, x, rng="shared"),
}
TWO = jscope.initializers.constant(2.0)


def scaled(s, x):
    return x * s.get_variable("w", (), initializer=TWO)


def noisy(s, x):
    return scaled(s, x) + (jax.random.normal(s.rng(), (3,)) if s.has_rng else 0)


def looks(s, x):
    return noisy(s, x) * len(s.path)


def looks_between_two_draws(s, x):
    return noisy(s / "b", looks(s / "a", x))


def looks_in_a_loop(s, x):
    return jscope.scan(lambda s, x, _: (looks(s, x), None), s / "loop", x, length=2)[0]


def looks_in_a_branch(s, x):
    return jscope.cond(x.sum() > 0, looks, lambda s, x: x, s / "branch", x)


def looks_in_a_native_transform(s, x):
    return jax.lax.cond(x.sum() > 0, lambda x: looks(s, x), lambda x: x, x)


def looks_in_a_block(s, x):
    return jscope.remat(looks)(s / "inner", x)


def gets_a_key(s, x):
    return noisy((s / "keyed").with_rng(KEY(7)), x)


def gets_a_key_in_a_loop(s, x):
    return jscope.layers(noisy, 2)((s / "keyed").with_rng(KEY(7)), x)


def gets_a_key_in_a_block(s, x):
    return jscope.jit(gets_a_key)(s / "inner", x)


def shares_by_a_whole_path(s, x):
    return jscope.scan(lambda s, x, _: (noisy(s / "a", scaled(s / "b", x)), None), s, x, length=2, shared="1/b/w$")[0]


def differentiates_by_a_whole_path(s, x):
    return jscope.grad(lambda s, x: scaled(s / "a", noisy(s / "b", x)).sum(), wrt="1/a/w$")(s, x)["a"]["w"] * x


@jscope.custom_vjp
def ruled(s, x):
    return scaled(s, x)


ruled.defvjp(
    lambda s, x: (scaled(s, x), (x, 1.0 * len(s.path))),
    lambda kept, ct: ({"w": (ct * kept[0]).sum() * kept[1]}, 2 * ct),
)


def looks_in_a_rule(s, x):
    return ruled(s / "ruled", x)


def counts(s, x):
    n = s.get_variable("n", (), initializer=jscope.initializers.zeros, trainable=False)
    s.assign("n", n + 1)
    return noisy(s, x) + n


def sows(s, x):
    s.sow("seen", x.sum())
    return noisy(s, x)


def nothing(s, x):
    return x


ALIKE = [scaled, noisy, counts, sows, gets_a_key]
NEED_THEIR_PLACE = [shares_by_a_whole_path, differentiates_by_a_whole_path, gets_a_key_in_a_loop, gets_a_key_in_a_block]
LOOK = [looks, looks_between_two_draws, looks_in_a_loop, looks_in_a_branch, looks_in_a_native_transform]
LOOK += [looks_in_a_block, looks_in_a_rule]


def outcomes(lift, block, key, differentiable=True):
    """Outputs, state, sown values and gradients of two blocks, twice without `jit` and once with it."""

    def model(s, x):
        return lift(block)(s / "1", noisy(s, lift(block)(s / "other/1", x)))

    model = jscope.transform_with_state(model)
    params, state = model.init(KEY(0), X)
    if key is not None:
        model = model.with_rng(key)
    run = functools.partial(model.capture("seen").apply, params, state, X)
    found = [run(), run(), jax.jit(run)()]
    if not differentiable:
        return found
    gradient = jax.grad(lambda params: model.apply(params, state, X)[0].sum())
    return [*found, gradient(params)]


# A branch creates what the others create; what loops sow is stacked, or refused; and `jit` has paths of its own.
REFUSED = {(lift, block) for lift in LIFTS for block in (counts, sows) if lift not in ("jit", "remat")}
REFUSED = REFUSED - {(lift, counts) for lift in ("scan", "map", "while_loop", "fori_loop")}
REFUSED |= {("jit", block) for block in LOOK}
KEYS = {"with a key": KEY(3), "without": None}
# Loops and branches that draw are run at their place anyway; `map` and `switch` are made as `scan` and `cond` are.
CASES = {
    f"{lift} of {block.__name__}, {key}": (LIFTS[lift], block, KEYS[key])
    for lift in LIFTS
    for block in (*ALIKE, *NEED_THEIR_PLACE, *LOOK)
    for key in KEYS
    if (lift, block) not in REFUSED
    and (lift in ("jit", "remat") or (lift not in ("map", "switch") and KEYS[key] is None))
}
QUICK = ["remat of looks, with a key", "remat of gets_a_key, with a key", "scan of looks_in_a_branch, without"]
QUICK += ["remat of counts, without", "jit of differentiates_by_a_whole_path, without"]


@pytest.mark.parametrize("case", mostly_slow(CASES, *QUICK))
def test_a_block_computes_what_it_does_without_the_lift(case):
    """Whatever depends on its place: what it draws, which variables it shares, what it makes of its path."""
    lift, block, key = CASES[case]
    lifted, plain = (outcomes(each, block, key, lift != LIFTS["while_loop"]) for each in (lift, lambda f: f))
    chex.assert_trees_all_close(lifted, plain, rtol=1e-6)


def runs(function, call):
    """How often JAX runs a function in a call. What the function told a list would make another function of it."""
    found = []
    sys.setprofile(lambda frame, event, _: event == "call" and frame.f_code is function.__code__ and found.append(0))
    try:
        call()
    finally:
        sys.setprofile(None)
    return len(found)


@pytest.mark.parametrize(
    ("lift", "key"), [*((lift, "without") for lift in LIFTS), ("jit", "with a key"), ("remat", "with a key")]
)
def test_equal_blocks_are_traced_once(lift, key):
    """As functions of arrays are by hand; at whatever depth, and again in the gradient.

    (In loops and branches that draw, a place is more than its hash: those are traced at each.)
    """

    def block(s, x):
        return noisy(s / "inner", x)

    def model(s, x):
        for i in range(8):
            x = LIFTS[lift](block)(s / "layers" / str(i), x)
        return LIFTS[lift](block)(s / "last", x).sum()

    model = jscope.transform(model)
    params = model.init(KEY(0), X)
    model = model if KEYS[key] is None else model.with_rng(KEYS[key])
    calls = [model.apply, model.apply if lift == "while_loop" else jax.grad(model.apply), model.apply]
    found = [runs(block, lambda call=call: jax.make_jaxpr(lambda *args: call(*args))(params, X)) for call in calls]
    assert found == [1, 0, 0]


def test_a_block_that_needs_its_place_is_tried_once_without_it():
    """From then on it goes there at once, in this and in later calls, and is found there again."""

    def block(s, x):
        return scaled(s, x) * len(s.path)

    model = jscope.transform(lambda s, x: jscope.remat(block)(s / "a", jscope.remat(block)(s / "b", x)))
    params = model.init(KEY(0), X)
    assert [runs(block, lambda: model.apply(params, X)) for _ in range(2)] == [3, 0]


def test_what_jax_traced_for_a_block_that_looked_is_found_by_no_other():
    """A native `jit` keeps what it traced, path and all; who finds it there would not look any more."""

    @jax.jit
    def jitted(s, x):
        return scaled(s, x) * len(s.path)

    def model(s, x):
        for name in ("a", "long"):
            x = jscope.scan(holding(jnp.ones(3)), s / name, x, length=1, shared="")[0]
        return x

    def holding(ones):
        # Of a body that holds an array nobody remembers that it looked.
        return lambda s, x, _: (jitted(s, x) * ones, None)

    params = jscope.init(model, KEY(0), X)
    assert jscope.apply(model, params, X).tolist() == [2.0 * 1 * 2 * 4] * 3


def test_errors_in_a_block_have_whole_paths():
    """What goes wrong under `remat` is said as it is without."""
    model = jscope.transform(lambda s, x: jscope.remat(lambda s, x: scaled(s / "in", x))(s / "a", x))
    with pytest.raises(jscope.errors.MissingVariableError, match="`a/in/w` is not in the params"):
        model.apply({"a": {"in": {"v": X}}}, X)
