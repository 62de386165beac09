"""JAX's caches never replay a TF1-style function with the variables of another call.

The ambient scope is no argument, so nothing in JAX's cache key tells two uses of one module-level function apart. Each
must be right, or a clear error.
"""

from __future__ import annotations

import concurrent.futures

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.experimental.ode import odeint

import jscope
from jscope import errors, tf1
from tests.tf1.tools import KEY

X = jnp.arange(3.0)


def layer(x):
    """Module-level: its identity never changes."""
    with tf1.variable_scope("l", reuse=tf1.AUTO_REUSE):
        return x * tf1.get_variable("w", [3]) + 1.0


def fresh_layer(x):
    with tf1.variable_scope(None, "l"):
        return x * tf1.get_variable("w", [3]) + 1.0


def step(carry, x):
    return layer(carry), None


def body(loop):
    return loop[0] + 1, layer(loop[1])


def test(loop):
    return loop[0] < 2


test.__test__ = False
jitted, checkpointed = jax.jit(layer), jax.checkpoint(layer)
mapped = jax.vmap(layer)
fresh_jitted, fresh_checkpointed = jax.jit(fresh_layer), jax.checkpoint(fresh_layer)

USES = {
    "jit": (jitted, lambda w, x: x * w + 1.0),
    "checkpoint": (checkpointed, lambda w, x: x * w + 1.0),
    "cond": (lambda x: jax.lax.cond(x.sum() > 0, layer, layer, x), lambda w, x: x * w + 1.0),
    "scan": (lambda x: jax.lax.scan(step, x, None, length=2)[0], lambda w, x: (x * w + 1.0) * w + 1.0),
    "vmap": (lambda x: mapped(jnp.stack([x, x]))[0], lambda w, x: x * w + 1.0),
    "while_loop": (lambda x: jax.lax.while_loop(test, body, (0, x))[1], lambda w, x: (x * w + 1.0) * w + 1.0),
    "grad": (lambda x: jax.grad(lambda y: layer(y).sum())(x), lambda w, x: w),
    "map": (lambda x: jax.lax.map(layer, x[None])[0], lambda w, x: x * w + 1.0),
    "fori_loop": (lambda x: jax.lax.fori_loop(0, 2, lambda _, y: layer(y), x), lambda w, x: (x * w + 1.0) * w + 1.0),
}
PARAMS = [{"l": {"w": jnp.array([1.0, 2.0, 3.0])}}, {"l": {"w": jnp.array([-1.0, 0.5, 4.0])}}]


@pytest.mark.parametrize("use", USES)
def test_two_inits_both_create(use):
    """What JAX cached in the first does not hide the variables from the second."""
    model = tf1.transform(USES[use][0])
    with jax.checking_leaks():
        first, second = model.init(KEY, X), model.init(jax.random.key(1), X)
    assert jscope.tree.names(first) == jscope.tree.names(second) == ["l/w"]
    assert not jnp.array_equal(first["l"]["w"], second["l"]["w"])


@pytest.mark.parametrize("use", USES)
def test_two_applies_under_jit_use_their_own_params(use):
    """Under one `jit`, under a new one, and with params that `grad` differentiates by."""
    function, by_hand = USES[use]
    model = tf1.transform(function)
    apply = jax.jit(model.apply)
    for params in PARAMS:
        expected = by_hand(params["l"]["w"], X)
        chex.assert_trees_all_close(apply(params, X), expected)
        with jax.checking_leaks():
            chex.assert_trees_all_close(jax.jit(model.apply)(params, X), expected)
        chex.assert_trees_all_close(jax.jit(lambda x, params=params: model.apply(params, x))(X), expected)


@pytest.mark.parametrize("use", ["jit", "checkpoint", "cond", "scan"])
def test_derivatives_by_params_are_those_by_hand(use):
    """Where `grad` is taken of an `apply` that is not compiled, params are tracers, and the caches miss as well."""
    function, by_hand = USES[use]
    model = tf1.transform(function)
    for params in PARAMS:
        found = jax.grad(lambda p: model.apply(p, X).sum())(params)["l"]["w"]
        chex.assert_trees_all_close(found, jax.grad(lambda w: by_hand(w, X).sum())(params["l"]["w"]))


@pytest.mark.parametrize("use", USES)
def test_an_eager_apply_is_right_or_says_what_to_do(use):
    """Where JAX would compile and cache the body, it is an error that names `jax.jit(model.apply)`."""
    function, by_hand = USES[use]
    model = tf1.transform(function)
    for params in PARAMS:
        if use in ("vmap", "grad"):
            chex.assert_trees_all_close(model.apply(params, X), by_hand(params["l"]["w"], X))
        else:
            with pytest.raises(
                errors.NativeTransformError, match=r"(?s)inside a JAX transform.*`jax\.jit\(model\.apply\)`"
            ):
                model.apply(params, X)


def explicit(scope, x):
    return x * scope.get_variable("w", (3,)) + 1.0


explicit_jitted = jax.jit(explicit)
scoped_jitted = jax.jit(tf1.scoped(layer))


def test_passing_the_current_scope_works_eagerly():
    """An explicit function, and a TF1-style one made into one, under module-level `jit`s."""

    def model(x):
        with tf1.variable_scope("l"):
            x = explicit_jitted(tf1.current_scope(), x)
        with tf1.variable_scope("m"):
            return scoped_jitted(tf1.current_scope(), x)

    model = tf1.transform(model)
    assert jscope.tree.names(model.init(KEY, X)) == ["l/w", "m/l/w"]
    for params in PARAMS:
        both = {**params, "m": PARAMS[1]}
        out = model.apply(both, X)
        chex.assert_trees_all_close(out, (X * params["l"]["w"] + 1.0) * PARAMS[1]["l"]["w"] + 1.0)
        chex.assert_trees_all_close(jax.jit(model.apply)(both, X), out)


@pytest.mark.parametrize("fresh", [fresh_jitted, fresh_checkpointed])
def test_one_function_used_twice_in_a_call_creates_twice(fresh):
    """With a default name: `l`, then `l_1`, in a loop as well. With a name: the error of TensorFlow."""

    def model(x):
        for _ in range(3):
            x = fresh(x)
        with tf1.variable_scope("outer"):
            return fresh(x)

    model = tf1.transform(model)
    params = model.init(KEY, X)
    assert jscope.tree.names(params) == ["l/w", "l_1/w", "l_2/w", "outer/l/w"]
    expected = X
    for w in params["l"]["w"], params["l_1"]["w"], params["l_2"]["w"], params["outer"]["l"]["w"]:
        expected = expected * w + 1.0
    chex.assert_trees_all_close(jax.jit(model.apply)(params, X), expected)

    def strict(x):
        return x * tf1.get_variable("w", [3])

    strict_jitted = jax.jit(strict)
    with pytest.raises(ValueError, match=r"^Variable w already exists, disallowed"):
        tf1.transform(lambda x: strict_jitted(strict_jitted(x))).init(KEY, X)


def late(carry, _):
    """JAX traces this twice in one `scan`: the carry begins weakly typed."""
    with tf1.variable_scope(None, "cell"):
        w = tf1.get_variable("w", [], initializer=tf1.ones_initializer(), regularizer=lambda v: v)
    return carry * w + jnp.float32(1.0), None


def test_a_body_that_jax_traces_twice_creates_once():
    """`scan` with a carry that changes its type: same names, same counters, one penalty; twice in a row: two cells."""

    def model():
        first = jax.lax.scan(late, 1.0, None, length=2)[0]
        return first, jax.lax.scan(late, 2.0, None, length=2)[0], tf1.losses.get_regularization_losses()

    model = tf1.transform(model)
    params = model.init(KEY)
    assert jscope.tree.names(params) == ["cell/w", "cell_1/w"]
    first, second, losses = jax.jit(model.apply)(params)
    assert (float(first), float(second), len(losses)) == (3.0, 4.0, 2)


def test_odeint_traces_as_often_as_it_likes():
    """Its function creates its variables once."""

    def model(x):
        def field(y, t):
            with tf1.variable_scope("field"):
                return -y * tf1.get_variable("k", [], initializer=tf1.ones_initializer())

        return odeint(field, jnp.asarray(x), jnp.array([0.0, 1.0]))[-1]

    model = tf1.transform(model)
    params = model.init(KEY, X)
    assert jscope.tree.names(params) == ["field/k"]
    chex.assert_trees_all_close(jax.jit(model.apply)(params, X), X * jnp.exp(-1.0), atol=1e-4)


def test_two_branches_create_two_variables():
    """Of one name: TensorFlow's error. Of two names: both are there."""

    def branch(name):
        return lambda x: x * tf1.get_variable(name, [3])

    def model(a, b):
        return lambda x: jax.lax.cond(x.sum() > 0, branch(a), lambda y: -branch(b)(y), x)

    assert jscope.tree.names(tf1.transform(model("a", "b")).init(KEY, X)) == ["a", "b"]
    with pytest.raises(ValueError, match=r"^Variable a already exists"):
        tf1.transform(model("a", "a")).init(KEY, X)


def test_lifts_take_tf1_style_functions():
    """`tf1.scoped` under `remat`, `scan` and `vmap`; names and stacked axes are those of the lift."""

    def model(x):
        with tf1.variable_scope("r"):
            x = jscope.remat(tf1.scoped(layer))(tf1.current_scope(), x)
        with tf1.variable_scope("s"):
            x = jscope.scan(lambda s, c, _: (tf1.scoped(layer)(s, c), None), tf1.current_scope(), x, length=4)[0]
        with tf1.variable_scope("v"):
            return jscope.vmap(tf1.scoped(layer), in_axes=None, axis_size=2)(tf1.current_scope(), x)

    model = tf1.transform(model)
    with jax.checking_leaks():
        params = model.init(KEY, X)
        shapes = {path: value.shape for path, value in jscope.tree.flatten(params).items()}
        eager, compiled = model.apply(params, X), jax.jit(model.apply)(params, X)
    assert shapes == {"r/l/w": (3,), "s/l/w": (4, 3), "v/l/w": (2, 3)}
    chex.assert_trees_all_close(eager, compiled, atol=1e-5)


def test_threads_do_not_see_each_other():
    """Each runs its own call; one that runs none is told so."""

    def work(number):
        params = {"l": {"w": jnp.full(3, float(number))}}
        names = jscope.tree.names(tf1.transform(USES["jit"][0]).init(KEY, X))
        return names, jax.jit(tf1.transform(USES["jit"][0]).apply)(params, X)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for number, (names, out) in enumerate(pool.map(work, range(12))):
            assert names == ["l/w"]
            chex.assert_trees_all_close(out, X * number + 1.0)

    def lost():
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: tf1.get_variable("w", [1])).result()

    with pytest.raises(tf1.NoGraphError, match=r"called outside a function that `tf1.transform` runs"):
        tf1.transform(lost).init(KEY)


def test_the_context_is_left_behind_by_nobody():
    """After an error in the model, JAX's caches hit again."""
    traces = []

    @jax.jit
    def outside(x):
        traces.append(x)
        return x

    def model():
        jax.jit(layer)(X)
        raise KeyError("stop")

    outside(1.0)
    with pytest.raises(KeyError, match="stop"):
        tf1.transform(model).init(KEY)
    outside(1.0)
    assert len(traces) == 1


def test_what_uses_no_variables_is_traced_once():
    """Over `init`, two traces of `apply`, and the gradient: a function of the user's, and so JAX's own."""
    traces = []

    @jax.jit
    def plain(x):
        traces.append(x)
        return x + 1.0

    model = tf1.transform(lambda x: plain(layer(x)))
    model.init(KEY, X)
    for params in PARAMS:
        jax.make_jaxpr(model.apply)(params, X)
        jax.make_jaxpr(jax.grad(lambda p: model.apply(p, X).sum()))(params)
    assert len(traces) == 1


def test_a_body_that_only_opens_scopes_runs_each_time():
    """Name scopes and templates count in every call, though they read no variable."""
    opened = jax.jit(lambda x: (tf1.name_scope("a").__enter__(), x)[1])

    def model(x):
        opened(x)
        with tf1.name_scope("a") as name:
            names.append(name)
        return x

    names, model = [], tf1.transform(model)
    model.init(KEY, X)
    for _ in range(2):
        jax.make_jaxpr(model.apply)({}, X)
    assert len(set(names)) == 1


def test_a_call_inside_a_call_keeps_its_variables_to_itself():
    """Before, inside and after it, one module-level function reads the variables of the call it is in."""
    inner = tf1.transform(jitted)

    def model(x, inside):
        return jitted(x), inner.apply(inside, x), jitted(x), inner.apply(inside, x)

    model = tf1.transform(model)
    for first, second in (PARAMS, PARAMS[::-1]):
        out = jax.jit(model.apply)(first, X, second)
        expected = [X * params["l"]["w"] + 1.0 for params in (first, second, first, second)]
        chex.assert_trees_all_close(list(out), expected)


def test_a_handle_of_the_outer_call_is_never_replayed():
    """Where a function that JAX has in a cache reads it inside an inner call."""
    reads = jax.jit(lambda x: x * handles[-1])
    inner, handles = tf1.transform(lambda x: reads(x)), []

    def model(x):
        with tf1.variable_scope("l"):
            handles.append(tf1.get_variable("w", [3]))
        return inner.apply({}, x)

    model = tf1.transform(model)
    for params in PARAMS:
        chex.assert_trees_all_close(jax.jit(model.apply)(params, X), X * params["l"]["w"])
