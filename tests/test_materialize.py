"""Laws of initial values: only initializers run, each is compiled once, and where makes no difference."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import _rng, initializers
from jscope._materialize import materialize
from jscope._spec import StackAxis, VariableSpec
from tests.crossed import crossed
from tests.models import KEY, MODELS, X

BACKEND_COMPILE = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def compiled():
    """Collects the names of the programs that XLA compiles, in a list."""
    names = []

    def listen(event, duration, **info):
        if event == BACKEND_COMPILE:
            names.append(info["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


sizes = itertools.count(11)


def fresh():
    """A size that no test used before, so that nothing of it is compiled yet."""
    return next(sizes)


def deep(depth, size, initializer):
    def model(s, x):
        for i in range(depth):
            w = (s / f"layer_{i}").get_variable("w", (size, size), initializer=initializer())
            x = jnp.tanh(x @ w)
        return x

    return jscope.transform(model)


NORMALS = {
    "jscope": lambda: initializers.normal(0.02),
    "jax.nn": lambda: jax.nn.initializers.normal(0.02),
    "lambda": lambda: lambda key, shape, dtype: 0.02 * jax.random.normal(key, shape, dtype),
    "default": lambda: None,
}


@pytest.mark.parametrize("depth", [1, 6])
@pytest.mark.parametrize("normal", NORMALS)
def test_each_distinct_initializer_is_compiled_once(normal, depth):
    """Whatever the depth, also when it is made anew in each layer."""
    size, key = fresh(), KEY(0)
    model = deep(depth, size, NORMALS[normal])
    with compiled() as programs:
        model.init(key, jnp.ones((2, size)).block_until_ready())
    assert sum("draw" in program for program in programs) == 1


def test_a_second_init_lowers_what_the_first_has_compiled_on_each_device():
    """`jax.default_device` says where values are made, also where they were made elsewhere before."""
    size, key = fresh(), KEY(0)
    model = deep(2, size, NORMALS["jscope"])
    for device, expected in zip([*jax.devices()[:2]] * 2, (1, 1, 0, 0), strict=True):
        with jax.default_device(device), compiled() as programs:
            params = model.init(key, jax.ShapeDtypeStruct((2, size), jnp.float32))
        assert {leaf.device for leaf in jax.tree.leaves(params)} == {device}
        assert len(programs) == expected


def test_without_jit_initializers_see_values():
    """So that one can be debugged."""
    seen = []

    def initializer(key, shape, dtype):
        seen.append(isinstance(key, jax.core.Tracer))
        return jax.random.normal(key, shape, dtype)

    with jax.disable_jit():
        jscope.init(lambda s: s.get_variable("w", (3,), initializer=initializer), KEY(0))
    assert not seen[-1]


def test_no_more_threads_compile_than_there_are_cores(monkeypatch):
    """Each takes memory that the process keeps."""
    threads, compiling = set(), jax.stages.Lowered.compile

    def slowly(lowered):
        threads.add(threading.get_ident())
        time.sleep(0.1)  # So that the next program does not find this thread idle.
        return compiling(lowered)

    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setattr(jax.stages.Lowered, "compile", slowly)
    jscope.init(lambda s: [s.get_variable(f"w{size}", (size, 31)) for size in (3, 5, 7)], KEY(0))
    assert len(threads) == 1


def test_an_initializer_runs_in_the_thread_that_calls_init():
    """Programs are compiled in others, but what the user wrote sees the settings and the context of its own thread."""
    seen = set()

    def initializer(key, shape, dtype):
        seen.add(threading.get_ident())
        return jax.random.normal(key, shape, dtype)

    jscope.init(lambda s: [s.get_variable(f"w{i}", (i,), initializer=initializer) for i in range(3)], KEY(0))
    assert seen == {threading.get_ident()}


def test_init_compiles_and_runs_nothing_else():
    """The only programs of a first `init` are the initializers'; those of a second, none."""
    size, key = fresh(), KEY(0)
    x = jnp.ones((2, size)).block_until_ready()
    for expected in (1, 0):
        with compiled() as programs:
            deep(3, size, NORMALS["jax.nn"]).init(key, x)
        assert len(programs) == expected, programs


def test_distinct_initializers_are_compiled_apart():
    """Another scale, shape or dtype is another program."""
    size = fresh()

    def model(s):
        s.get_variable("a", (size,), initializer=initializers.normal(0.1))
        s.get_variable("b", (size,), initializer=initializers.normal(0.2))
        s.get_variable("c", (size, 1), initializer=initializers.normal(0.1))
        s.get_variable("d", (size,), jnp.bfloat16, initializers.normal(0.1))
        s.get_variable("e", (size,), initializer=initializers.normal(0.1))

    key = KEY(0)
    with compiled() as programs:
        jscope.init(model, key)
    assert len(programs) == 4


def test_init_never_runs_the_model():
    """What the forward pass would compute is only traced; each initializer runs once for each variable."""
    forward, drawn = [], []

    def initializer(key, shape, dtype):
        jax.debug.callback(drawn.append, 1)
        return jnp.zeros(shape, dtype)

    def model(s, x):
        jax.debug.callback(forward.append, 1)
        return x + sum((s / name).get_variable("w", (), initializer=initializer) for name in "abc")

    params = jscope.init(model, KEY(0), 1.0)
    jax.effects_barrier()
    assert (len(forward), len(drawn)) == (0, 3)
    jscope.apply(model, params, 1.0)
    jax.effects_barrier()
    assert (len(forward), len(drawn)) == (1, 3)


@pytest.mark.parametrize("name", ["mlp", "act_norm", "weight_normed"])
def test_init_under_jit_is_init(name):
    """To the last bits, which the compiler may round otherwise."""
    model = MODELS[name]
    jitted = jax.jit(lambda key: model.init(key))(KEY(3))
    chex.assert_trees_all_close(jitted, model.init(KEY(3)), rtol=1e-6, atol=1e-7)


def test_under_jit_equal_initializers_are_one_program():
    """The jaxpr of a deep `init` has as many random draws as there are kinds of variables, not variables."""

    def draws(depth):
        jaxpr = jax.make_jaxpr(lambda key: deep(depth, 3, NORMALS["jax.nn"]).init(key, jnp.ones((2, 3))))(KEY(0))
        return str(jaxpr).count("random_bits")

    assert draws(1) == draws(5) == 1


@pytest.mark.parametrize("name", ["mlp", "act_norm"])
def test_vmap_over_keys_makes_an_ensemble(name):
    """Member `i` of `vmap(init)(keys)` is `init(keys[i])`."""
    model, keys = MODELS[name], jax.random.split(KEY(0), 3)
    ensemble = jax.vmap(model.init)(keys)
    for i in (2,):
        member = jax.tree.map(lambda leaf, i=i: leaf[i], ensemble)
        chex.assert_trees_all_close(member, model.init(keys[i]), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_eval_shape_of_init_is_init_in_the_abstract(name):
    """For every model."""
    model = MODELS[name]
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(model.init, KEY(0)), model.init())


def test_a_legacy_key_gives_the_values_of_its_typed_key():
    """`PRNGKey(0)` and `key(0)` mean the same."""
    model = MODELS["mlp"]
    chex.assert_trees_all_equal(model.init(jax.random.PRNGKey(0)), model.init(KEY(0)))
    chex.assert_trees_all_equal(model.init(np.asarray(jax.random.PRNGKey(0))), model.init(KEY(0)))


@pytest.mark.parametrize("impl", ["rbg"])
def test_other_kinds_of_keys_work_jitted_and_not(impl):
    """Also those whose numbers change under `vmap`: jitted or not, and stacked or not, the values are the same."""
    key, model = jax.random.key(0, impl=impl), MODELS["mlp"]
    chex.assert_trees_all_equal(jax.jit(model.init)(key), model.init(key))


def spec(path, shape, initializer, *stack):
    """A spec with leading stacked axes."""
    sizes = tuple(axis.size for axis in stack)
    return VariableSpec(path, (*sizes, *shape), np.dtype("float32"), initializer, stack=stack)


def values_of(key, *specs):
    return list(materialize([(spec, None) for spec in specs], key).values())


def scaled_by(array):
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype) * array


STACKED_INITIALIZERS = {
    "normal": initializers.normal(0.1),
    "closure over an array": scaled_by(np.full((3, 2), 0.5, np.float32)),
}


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("name", STACKED_INITIALIZERS)
def test_a_stacked_variable_is_the_unrolled_ones(name, impl):
    """Copy `i` equals the variable whose path has `i` as one more part."""
    initializer, key = STACKED_INITIALIZERS[name], jax.random.key(0, impl=impl)
    (stacked,) = values_of(key, spec("net/layers/w", (3, 2), initializer, StackAxis(2, 3)))
    unrolled = values_of(key, *(spec(f"net/layers/{i}/w", (3, 2), initializer) for i in range(3)))
    chex.assert_trees_all_equal(list(stacked), unrolled)


def test_stacks_nest():
    """Two stacked axes are two indices in the path, at their depths."""
    axes = (StackAxis(1, 2), StackAxis(2, 3))
    (stacked,) = values_of(KEY(0), spec("a/b/w", (2,), initializers.normal(0.1), *axes))
    paths = [[f"a/{i}/b/{j}/w" for j in range(3)] for i in range(2)]
    unrolled = [values_of(KEY(0), *(spec(path, (2,), initializers.normal(0.1)) for path in row)) for row in paths]
    chex.assert_trees_all_equal([list(row) for row in stacked], unrolled)


def test_stacked_under_jit_is_stacked():
    """The user's own `jit` changes no stacked value."""
    specs = [spec(f"{name}/w", (2,), initializers.normal(0.1), StackAxis(1, 3)) for name in "ab"]
    chex.assert_trees_all_equal(jax.jit(lambda key: values_of(key, *specs))(KEY(0)), values_of(KEY(0), *specs))


def test_a_stacked_value_is_repeated():
    """An array as the initializer is the same in each copy."""
    (stacked,) = values_of(KEY(0), spec("l/w", (2,), np.arange(2, dtype=np.float32), StackAxis(1, 3)))
    np.testing.assert_array_equal(stacked, [[0, 1]] * 3)


@pytest.mark.parametrize("jitted", [False, True])
def test_an_array_initializer_is_copied(jitted):
    """Donating the params deletes them, never the user's array."""
    mine = jnp.arange(3.0)
    init = jscope.transform(lambda s: s.get_variable("w", initializer=mine)).init
    params = (jax.jit(init) if jitted else init)(KEY(0))
    jax.jit(lambda params: jax.tree.map(lambda leaf: leaf + 1, params), donate_argnums=0)(params)
    assert params["w"].is_deleted()
    assert mine.tolist() == [0, 1, 2]


def test_a_numpy_initializer_is_copied():
    """Writing to the user's array changes no param."""
    mine = np.arange(64, dtype=np.float32)
    params = jscope.init(lambda s: s.get_variable("w", initializer=mine), KEY(0))
    mine[:] = 9
    np.testing.assert_array_equal(params["w"], np.arange(64))


WEAK = {
    "a weak array returned": lambda key, shape, dtype: jnp.asarray(1.0) * jnp.asarray(2.0),
    "a number": 1.0,
    "a weak array": jnp.asarray(1.0) * 2,
}


@pytest.mark.parametrize("name", WEAK)
def test_weak_types_are_stripped(name):
    """A weakly typed param would make the first training step compile twice."""
    shape = () if callable(WEAK[name]) else None
    assert not jscope.init(lambda s: s.get_variable("w", shape, initializer=WEAK[name]), KEY(0))["w"].weak_type


def test_a_number_from_an_initializer_is_not_weak():
    """An initializer that returns a Python number gives no weakly typed param (or an error)."""
    params = jscope.init(lambda s: s.get_variable("w", (), initializer=lambda key, shape, dtype: 0.0), KEY(0))
    assert not params["w"].weak_type


def test_a_traced_array_may_be_an_initial_value_under_the_users_jit():
    """Values that the user traces outside `init` are data like any other."""

    def build(key, scale):
        def model(s):
            s.get_variable("a", initializer=scale)
            s.get_variable("b", (2,), initializer=lambda key, shape, dtype: jnp.broadcast_to(scale, shape))

        return jscope.init(model, key)

    params = jax.jit(build)(KEY(0), jnp.float32(3.0))
    chex.assert_trees_all_equal(params, {"a": jnp.float32(3.0), "b": jnp.full(2, 3.0)})


def test_initial_values_can_be_differentiated():
    """`init` is a pure function of what its initializers close over."""
    loss = lambda scale: jscope.init(lambda s: s.get_variable("w", initializer=scale * 2.0), KEY(0))["w"]  # noqa: E731
    assert float(jax.grad(loss)(jnp.float32(3.0))) == 2.0


def test_one_key_gives_one_model():
    """The same key gives the same values, another key others."""
    model = MODELS["mlp"]
    chex.assert_trees_all_equal(model.init(KEY(1)), model.init(KEY(1)))
    assert not np.array_equal(model.init(KEY(1))[0]["out"]["w"], model.init(KEY(2))[0]["out"]["w"])


def test_params_feed_a_training_step_that_compiles_once():
    """The params of `init` and those of a step have the same types."""
    model = MODELS["mlp"]
    (params,) = model.init()
    runs = []

    @jax.jit
    def step(params, x):
        runs.append(1)
        grads = jax.grad(lambda params: model.transformed.apply(params, x).sum())(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    for _ in range(3):
        params = step(params, X)
    assert len(runs) == 1


def test_a_key_from_outside_a_trace_will_do():
    """Values under `jit` are the same, whether the key is an argument or closed over."""
    specs = jscope.specs(lambda s: [(s / name).get_variable("w", (2, 3)) for name in "ab"])
    expected = specs.materialize(KEY(0))
    for run in (jax.jit(lambda: specs.materialize(KEY(0))), lambda: jax.jit(specs.materialize)(KEY(0))):
        chex.assert_trees_all_close(run(), expected, rtol=1e-6)
    key = KEY(0)
    chex.assert_trees_all_close(jax.jit(lambda: specs.materialize(key))(), expected, rtol=1e-6)
    _, (scanned,) = jax.lax.scan(lambda c, _: (c, (specs.materialize(key),)), 0, None, length=1)
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[0], scanned), expected, rtol=1e-6)


def test_under_jit_a_variable_takes_no_program_of_its_own():
    """Where there is no sharding to keep, more layers add slices to the jaxpr of `init`, and no inner `jit`."""

    def inner(depth):
        make = deep(depth, 3, NORMALS["jax.nn"]).init
        jaxpr = jax.make_jaxpr(lambda key: make(key, jnp.ones((2, 3))))(KEY(0))
        return sum("jit" in equation.primitive.name for equation in jaxpr.eqns)

    assert inner(12) == inner(3)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("orthogonal", jnp.float32),
        *crossed(["glorot_uniform", "truncated_normal", "normal"], [jnp.float32, jnp.bfloat16]),
    ],
)
def test_compiling_briefly_changes_no_bit(name, dtype):
    """Initial values are those of a program that XLA has optimized as far as it can."""
    initializer = getattr(jax.nn.initializers, name)()

    def model(scope):
        scope.get_variable("w", (33, 20), dtype, initializer)

    key = _rng.fold(KEY(0), _rng.lanes_of_path("w"))
    options = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
    expected = jax.jit(lambda key: initializer(key, (33, 20), dtype), compiler_options=options)(key)
    found = jscope.init(model, KEY(0))["w"]
    assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()
