"""Initial values: those of the key and the path, and of nothing else."""

from __future__ import annotations

import json

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import jscope
from tests.golden import regenerate
from tests.models import KEY, MODELS, X, linear, mlp

GOLDEN = json.loads(regenerate.FILE.read_text(encoding="utf8"))
SHAPES = st.sampled_from([(), (2,), (2, 3)])
NAMES = st.sampled_from(["w", "b", "0", "1", "x"])
# Scopes have names of their own, so that no path is a variable and a prefix at once.
PLACES = st.lists(st.sampled_from(["A", "B", "C0"]), max_size=2)
PROGRAMS = st.dictionaries(st.tuples(PLACES, NAMES).map(lambda p: "/".join([*p[0], p[1]])), SHAPES, max_size=6)
few = settings(max_examples=25)


def run(program):
    """The initial values, by path, of a program: pairs of path and shape, created in that order."""

    def model(scope):
        for path, shape in program:
            place, _, name = path.rpartition("/")
            (scope / place if place else scope).get_variable(name, shape)

    return jscope.tree.flatten(jscope.init(model, KEY(0)))


@few
@given(PROGRAMS, PROGRAMS, st.randoms())
def test_other_variables_change_no_initial_value(program, others, random):
    """Adding, removing and reordering variables leaves every other one as it was."""
    alone = run(program.items())
    both = [*{**others, **program}.items()]
    random.shuffle(both)
    among = run(both)
    chex.assert_trees_all_equal({path: among[path] for path in alone}, alone)


@few
@given(PROGRAMS)
def test_no_two_variables_start_alike(program):
    """Different paths have different keys."""
    matrices = [tuple(np.ravel(value).tolist()) for value in run([(path, (2, 3)) for path in program]).values()]
    assert len(set(matrices)) == len(matrices)


WRAPPERS = {
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "vmap": lambda f: lambda s, x: jax.vmap(f, (None, 0))(s, x[None])[0],
    "named": jscope.named,
    "lambda": lambda f: lambda *args: f(*args),
    "nested init": lambda f: lambda s, x: f(s, x) + jscope.apply(mlp, jscope.init(mlp, KEY(7), x), x),
    "jit of jit": lambda f: jax.jit(jax.jit(f)),
    "grad": lambda f: lambda s, x: jax.grad(lambda x: f(s, x).sum())(x),
    "with block": lambda f: lambda s, x: s.__enter__() and (f(s, x), s.__exit__(None, None, None))[0],
    "other defaults": lambda f: lambda s, x: f(s.with_defaults(regularizer=jscope.regularizers.l2(0.1)), x),
    "without a key": lambda f: lambda s, x: f(s.with_rng(None), x),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_names_and_values_are_those_in_the_code(name):
    """Whatever wraps a function, its variables are called, and start, as without."""
    plain = jscope.init(lambda s, x: mlp(s / "a", x), KEY(0), X)
    wrapped = jscope.init(lambda s, x: WRAPPERS[name](mlp)(s / "a", x), KEY(0), X)
    chex.assert_trees_all_equal(wrapped, plain)


def test_at_adds_its_path():
    """And nothing else."""
    plain = jscope.init(lambda s, x: mlp(s / "a/b", x), KEY(0), X)
    chex.assert_trees_all_equal(jscope.init(jscope.at("a", jscope.at("b", mlp)), KEY(0), X), plain)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_below_a_scope_has_its_names_below_it(name):
    """For every model: only the prefix is added."""
    model = MODELS[name]
    below = jscope.specs(lambda s, *args: model.scoped(s / "outer", *args), *model.args)
    assert sorted(below["outer"].flat()) == sorted(model.names)


def test_a_shared_layer_starts_as_one():
    """Sharing changes no value."""

    def twice(s, x):
        tower = s.variable_scope("a", reuse=jscope.AUTO_REUSE)
        return linear(tower, linear(tower, x, 4), 4)

    once = jscope.init(lambda s, x: linear(s / "a", x, 4), KEY(0), X)
    chex.assert_trees_all_equal(jscope.init(twice, KEY(0), X), once)


def test_another_shape_is_another_draw_from_the_same_key():
    """The key of a variable does not depend on what is drawn with it."""
    seen = []

    def initializer(key, shape, dtype):
        jax.debug.callback(lambda data: seen.append(data.tolist()), jax.random.key_data(key))
        return jnp.zeros(shape, dtype)

    for shape in ((2,), (3, 1)):
        jscope.init(lambda s, shape=shape: s.get_variable("w", shape, initializer=initializer), KEY(0))
    jax.effects_barrier()
    assert seen[0] == seen[1]


@pytest.mark.parametrize("what", ["version", "lanes", "keys", "rng"])
def test_keys_are_pinned(what):
    """The hash of a path and the keys made of it are those of the golden file, bit for bit, on every JAX."""
    assert regenerate.current()[what] == GOLDEN[what]


def test_initial_values_are_pinned():
    """They are those of the golden file (see `tests/golden/regenerate.py`), up to rounding, on every JAX."""
    found = regenerate.current()["values"]
    assert json.loads(json.dumps(found)).keys() == GOLDEN["values"].keys()
    for seed, values in GOLDEN["values"].items():
        assert found[seed].keys() == values.keys()
        for path, value in values.items():
            np.testing.assert_allclose(found[seed][path], value, rtol=1e-6, atol=1e-6, err_msg=path)
