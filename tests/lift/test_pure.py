from __future__ import annotations

import pickle

import chex
import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import errors
from jscope.lift import Effects
from tests.models import KEY


def count(scope, x):
    n = scope.get_variable("n", initializer=0, trainable=False)
    scope.assign("n", n + 1)
    scope.sow("seen", x)
    return x + n


def counting(cross):
    """A model that crosses into a JAX transform and commits."""

    def model(scope, x):
        out, effects = cross(jscope.pure(count))(scope / "a", x)
        jscope.commit(scope / "a", effects)
        return out

    return jscope.transform_with_state(model)


@pytest.mark.parametrize("cross", [jax.jit, jax.checkpoint, lambda f: f])
def test_pure_and_commit_make_a_lift_of_any_transform(cross):
    """What is written inside arrives outside: state and sown values."""
    run = counting(cross)
    params, state = run.init(KEY(0), 1)
    (out, captured), state = run.capture().apply(params, state, 1)
    chex.assert_trees_all_equal((out, captured, state), (1, {"a": {"seen": 1}}, {"a": {"n": 1}}))


def test_nothing_is_written_without_commit():
    """`pure` alone writes nothing: effects that are dropped did not happen."""
    run = jscope.transform_with_state(lambda s, x: jscope.pure(count)(s, x)[0])
    assert run.apply({}, {"n": jnp.asarray(4)}, 1)[1]["n"] == 4


def test_effects_are_by_name_below_the_scope():
    """Only what was written is among the effects."""

    def model(s):
        s.get_variable("other", initializer=7, trainable=False)
        return jscope.pure(count)(s, 1)[1]

    effects, _ = jscope.transform_with_state(model).apply({}, {"n": jnp.asarray(4), "other": jnp.asarray(7)})
    assert (list(effects.state), effects.sown) == (["n"], {})


def test_all_state_gives_what_was_not_written_too():
    """Transforms whose branches must agree in structure ask for all state."""
    state = {"n": jnp.asarray(4), "other": jnp.asarray(7)}
    model = jscope.transform_with_state(lambda s: jscope.pure(count, all_state=True)(s, 1)[1])
    assert model.apply({}, state)[0].state == {"n": 5, "other": 7}


def test_pure_is_equal_by_its_function():
    """JAX's caches see through `pure`: a function made pure twice is traced once."""
    traces = []

    def traced(scope, x):
        traces.append(1)
        return x

    # JAX forgets a function that nobody holds.
    both = jscope.pure(traced), jscope.pure(traced)
    assert both[0] == both[1]
    assert hash(both[0]) == hash(both[1])
    jscope.apply(lambda s, x: [jax.jit(f)(s, x) for f in both], {}, 1)
    assert traces == [1]


def test_effects_cross_transforms():
    """Effects are a pytree."""
    effects = Effects({"n": jnp.asarray(1)}, {"y": jnp.asarray(2)})
    chex.assert_trees_all_equal(jax.tree.map(lambda x: x + 1, effects), Effects({"n": 2}, {"y": 3}))
    assert pickle.loads(pickle.dumps(Effects({}, {}))) == Effects({}, {})


def test_commit_refuses_what_is_no_state():
    """Effects are checked like any other write."""
    model = jscope.transform_with_state(lambda s: jscope.commit(s, Effects({"w": 1.0}, {})))
    with pytest.raises(errors.StateError, match="`w` was assigned, but it is a param"):
        model.apply({"w": jnp.asarray(0.0)}, {})


def test_writing_without_a_lift_names_the_lift():
    """Inside a native transform, the error says which lift to use."""
    run = jscope.transform_with_state(lambda s, x: jax.checkpoint(count)(s / "a", x))
    with pytest.raises(errors.NativeTransformError, match=r"(.|\n)*`jscope\.remat`"):
        run.init(KEY(0), 1)


def test_pure_nests():
    """Effects of an inner `pure`, committed inside, are effects of the outer one."""

    def inner(scope, x):
        out, effects = jax.jit(jscope.pure(count))(scope, x)
        jscope.commit(scope, effects)
        return out

    def model(scope, x):
        out, effects = jax.checkpoint(jscope.pure(inner))(scope / "a", x)
        jscope.commit(scope / "a", effects)
        return out

    run = jscope.transform_with_state(model)
    out, state = run.apply({}, run.init(KEY(0), 1)[1], 1)
    assert (int(out), int(state["a"]["n"])) == (1, 1)


def test_reads_come_from_the_given_scope():
    """A pure function reads what was written before it in the same call."""

    def model(scope, x):
        count(scope, x)
        return jscope.pure(lambda s, x: s.get_variable("n"))(scope.with_defaults(reuse=True), x)[0]

    assert jscope.transform_with_state(model).apply({}, {"n": jnp.asarray(4)}, 1)[0] == 5
