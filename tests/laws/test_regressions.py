"""What was once wrong and silent: found by review, kept as laws."""

from __future__ import annotations

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors
from tests.models import KEY, X


def layer(s, x):
    return jnp.tanh(x @ s.get_variable("w", (4, 4)))


SHARING = {
    "all of the inner": (lambda s, x: jscope.scan(lambda s, c, _: (layer(s, c), None), s, x, length=3, shared="")[0]),
    "map": lambda s, x: jscope.map(layer, s, x[None])[0],
    "vmap": lambda s, x: jscope.vmap(layer, variables="shared")(s, x[None])[0],
}


@pytest.mark.parametrize("inner", SHARING)
def test_each_level_shares_its_own(inner):
    """A loop over shared variables inside a loop over stacked ones stacks them once."""
    model = jscope.transform(
        lambda s, x: jscope.scan(lambda s, x, _: (SHARING[inner](s / "in", x), None), s / "L", x, length=2)[0]
    )
    params = model.init(KEY(0), X)
    assert params["L"]["in"]["w"].shape == (2, 4, 4)
    assert model.apply(params, X).shape == X.shape


def test_two_levels_share_different_variables():
    """What the outer loop shares, the inner may stack, and the other way round."""

    def body(s, c, _):
        return jnp.tanh(c @ s.get_variable("tied/w", (4, 4)) @ s.get_variable("og/w", (4, 4))), None

    def outer(s, x, _):
        return jscope.scan(body, s / "in", x, length=3, shared="/tied/")[0], None

    model = jscope.transform(lambda s, x: jscope.scan(outer, s / "L", x, length=2, shared="/og/")[0])
    params = model.init(KEY(0), X)
    assert params["L"]["in"]["tied"]["w"].shape == (2, 4, 4)
    assert params["L"]["in"]["og"]["w"].shape == (3, 4, 4)
    assert model.apply(params, X).shape == X.shape


@pytest.mark.parametrize("lift", [jscope.jit, jscope.remat, lambda f: f])
def test_capture_works_after_a_run_without_it(lift):
    """A body that JAX has cached without capturing is traced anew to capture."""

    def f(s, x):
        s.sow("h", x.mean(), reduce=lambda a, b: a + b)
        return layer(s, x)

    lifted = lift(f)

    def twice(s, x):
        a = s.variable_scope("a", reuse=jscope.AUTO_REUSE)
        return lifted(a, lifted(a, x))

    model = jscope.transform(twice)
    params = model.init(KEY(0), X)
    model.apply(params, X)
    captured = model.capture().apply(params, X)[1]
    chex.assert_trees_all_close(captured["a"]["h"], X.mean() + layer_mean(params), atol=1e-6)


def layer_mean(params):
    return jnp.tanh(X @ params["a"]["w"]).mean()


class Settings:
    """A class whose attribute changes."""

    scale = 1.0


def test_compiled_blocks_do_not_mix_functions():
    """Helpers defined later, rebound variables and attributes of classes are read as they are."""

    def make(act):
        @jscope.jit
        def block(s, x):
            return inner(s, x)

        def inner(s, x):
            return act(x)

        return jscope.transform(block)

    chex.assert_trees_all_close(make(jnp.tanh).apply({}, X), jnp.tanh(X))
    chex.assert_trees_all_close(make(jnp.abs).apply({}, X), jnp.abs(X))

    def rebound(k, late):
        block = jscope.jit(lambda s, x: x * k)
        k = 5.0 if late else k
        return jscope.transform(block)

    chex.assert_trees_all_close(rebound(1.0, True).apply({}, X), 5.0 * X)
    chex.assert_trees_all_close(rebound(1.0, False).apply({}, X), X)


def test_initial_values_follow_attributes_of_classes(monkeypatch):
    """An initializer that reads a class gives what the class says now."""

    def model(s):
        return s.get_variable("w", (2,), initializer=lambda key, shape, dtype: jnp.full(shape, Settings.scale, dtype))

    chex.assert_trees_all_equal(jscope.init(model, KEY(0))["w"], jnp.ones(2))
    monkeypatch.setattr(Settings, "scale", 2.0)
    chex.assert_trees_all_equal(jscope.init(model, KEY(0))["w"], 2.0 * jnp.ones(2))


@dataclass(frozen=True)
class Broadcast:
    """An initializer that holds an array, which cannot be hashed."""

    value: object

    def __call__(self, key, shape, dtype):
        return jnp.broadcast_to(self.value, shape).astype(dtype)


def test_initializers_need_no_hash():
    """A frozen dataclass around an array is an initializer; around a traced one, it depends on data."""
    made = jscope.init(lambda s: s.get_variable("w", (3,), initializer=Broadcast(np.ones(3))), KEY(0))
    chex.assert_trees_all_equal(made["w"], jnp.ones(3))
    made = jscope.init(lambda s, x: s.get_variable("w", (4,), initializer=Broadcast(x.mean(0))), KEY(0), X)
    chex.assert_trees_all_close(made["w"], X.mean(0), atol=1e-6)


def counting(s, c, _):
    n = s.get_variable("n", initializer=0, trainable=False)
    s.assign("n", n + 1)
    return layer(s, c), None


def tied_in_remat(s, x):
    e = s / "emb"
    e.get_variable("e", (4, 4))
    return jscope.remat(lambda s, x: layer(s, x @ e.get_variable("e")))(s / "a", x)


def read_after_remat(s, x):
    y = jscope.remat(layer)(s / "a", x)
    return y @ (s / "a").with_defaults(reuse=True).get_variable("w", (4, 4))


def norm_after(body):
    def model(s, x):
        y = body(s, x)
        return y - jnp.broadcast_to(s.get_variable("mean", initializer=y.mean(0)), y.shape)

    return model


BEFORE = {
    "state in a scan": lambda s, x: jscope.scan(counting, s / "a", x, length=2)[0],
    "a captured scope in remat": tied_in_remat,
    "a read of what a lift created": read_after_remat,
    "a native jit": lambda s, x: jax.jit(layer)(s / "a", x),
    "a native checkpoint": lambda s, x: jax.checkpoint(layer)(s / "a", x),
    "a lifted vmap": lambda s, x: jscope.vmap(layer)(s / "a", x),
}


@pytest.mark.parametrize("body", BEFORE)
def test_data_dependent_values_after_lifts(body):
    """A value that depends on data follows any lift, and is that of the data."""
    model = jscope.transform_with_state(norm_after(BEFORE[body]))
    with jax.checking_leaks():
        params, state = model.init(KEY(0), X)
    out, _ = model.apply(params, state, X)
    chex.assert_trees_all_close(out.mean(0), jnp.zeros(4), atol=1e-5)


def test_what_is_no_plain_function_is_refused():
    """A coroutine or generator function runs nothing when called."""

    def generator(scope):
        yield scope

    with pytest.raises(errors.InvalidArgumentError, match="plain function"):
        jscope.transform(generator)


def test_a_lift_needs_a_scope():
    """An array in the place of the scope is named."""
    with pytest.raises(errors.InvalidArgumentError, match="A lift needs a scope first"):
        jscope.remat(layer)(X, X)
