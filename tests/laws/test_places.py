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
LIFTS = {"jit": jscope.jit, "remat": jscope.remat}
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


def counts(s, x):
    n = s.get_variable("n", (), initializer=jscope.initializers.zeros, trainable=False)
    s.assign("n", n + 1)
    s.sow("seen", x.sum())
    return noisy(s, x) + n


ALIKE = [scaled, noisy, counts, gets_a_key]
NEED_THEIR_PLACE = [shares_by_a_whole_path, differentiates_by_a_whole_path, gets_a_key_in_a_loop, gets_a_key_in_a_block]
LOOK = [looks, looks_between_two_draws, looks_in_a_loop, looks_in_a_branch, looks_in_a_native_transform]
LOOK += [looks_in_a_block]


def outcomes(lift, block, key):
    """Outputs, state, sown values and gradients of two blocks, twice without `jit` and once with it."""

    def model(s, x):
        return lift(block)(s / "1", noisy(s, lift(block)(s / "other/1", x)))

    model = jscope.transform_with_state(model)
    params, state = model.init(KEY(0), X)
    if key is not None:
        model = model.with_rng(key)
    run = functools.partial(model.capture("seen").apply, params, state, X)
    gradient = jax.grad(lambda params: model.apply(params, state, X)[0].sum())
    return [run(), run(), jax.jit(run)(), gradient(params), jax.jit(gradient)(params)]


BLOCKS = {
    f"{name} of {block.__name__}": (lift, block)
    for name, lift in LIFTS.items()
    for block in (*ALIKE, *NEED_THEIR_PLACE, *(LOOK if name == "remat" else ()))
}
KEYS = {"with a key": KEY(3), "without": None}
QUICK = "remat of looks", "remat of counts", "remat of gets_a_key", "jit of differentiates_by_a_whole_path"


@pytest.mark.parametrize("case", mostly_slow(BLOCKS, *QUICK))
@pytest.mark.parametrize("key", mostly_slow(KEYS, "with a key"))
def test_a_block_computes_what_it_does_without_the_lift(case, key):
    """Whatever depends on its place: what it draws, which variables it shares, what it makes of its path."""
    lift, block = BLOCKS[case]
    lifted, plain = (outcomes(each, block, KEYS[key]) for each in (lift, lambda f: f))
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


@pytest.mark.parametrize("lift", LIFTS)
@pytest.mark.parametrize("key", KEYS)
def test_equal_blocks_are_traced_once(lift, key):
    """As functions of arrays are by hand; at whatever depth, and again in the gradient."""

    def block(s, x):
        return noisy(s / "inner", x)

    def model(s, x):
        for i in range(8):
            x = LIFTS[lift](block)(s / "layers" / str(i), x)
        return LIFTS[lift](block)(s / "last", x).sum()

    model = jscope.transform(model)
    params = model.init(KEY(0), X)
    model = model if KEYS[key] is None else model.with_rng(KEYS[key])
    found = [
        runs(block, lambda call=call: jax.make_jaxpr(lambda *args: call(*args))(params, X))
        for call in (model.apply, jax.grad(model.apply), model.apply)
    ]
    assert found == [1, 0, 0]


def test_a_block_that_needs_its_place_is_tried_once_without_it():
    """From then on it goes there at once, in this and in later calls, and is found there again."""

    def block(s, x):
        return scaled(s, x) * len(s.path)

    model = jscope.transform(lambda s, x: jscope.remat(block)(s / "a", jscope.remat(block)(s / "b", x)))
    params = model.init(KEY(0), X)
    assert [runs(block, lambda: model.apply(params, X)) for _ in range(2)] == [3, 0]


def test_errors_in_a_block_have_whole_paths():
    """What goes wrong under `remat` is said as it is without."""
    model = jscope.transform(lambda s, x: jscope.remat(lambda s, x: scaled(s / "in", x))(s / "a", x))
    with pytest.raises(jscope.errors.MissingVariableError, match="`a/in/w` is not in the params"):
        model.apply({"a": {"in": {"v": X}}}, X)
