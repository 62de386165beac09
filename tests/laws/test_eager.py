"""Laws of lifts that are called without `jit`: what was compiled is found again, and never when it is out of date."""

from __future__ import annotations

import collections
import functools
import gc
import sys
import types
import weakref
from dataclasses import dataclass
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope.lift import _eager
from tests.crossed import crossed, mostly_slow
from tests.models import KEY

X = jnp.ones((2, 3))


def sizes(s, x):
    return x * s.get_variable("w", (), initializer=jscope.initializers.constant(2.0))


LIFTS = {
    "scan": lambda f, s, x: jscope.scan(lambda s, x, _: (f(s, x), None), s, x, length=2)[0],
    "map": lambda f, s, x: jscope.map(f, s, x),
    "layers": lambda f, s, x: jscope.layers(f, 2)(s, x),
    "cond": lambda f, s, x: jscope.cond(x[0, 0] > 0, f, sizes, s, x),
    "switch": lambda f, s, x: jscope.switch(1, [sizes, f, sizes], s, x),
    "while_loop": lambda f, s, x: jscope.while_loop(
        lambda s, v: v[0] < 2, lambda s, v: (v[0] + 1, f(s, v[1])), s, (0, x)
    )[1],
    "fori_loop": lambda f, s, x: jscope.fori_loop(0, 2, lambda s, i, x: f(s, x), s, x),
    "jit": lambda f, s, x: jscope.jit(f)(s, x),
    "remat": lambda f, s, x: jscope.remat(f)(s, x),
    "vmap": lambda f, s, x: jscope.vmap(f, variables="shared")(s, x),
}
"""Each lift on `f(scope, x) -> x`, made anew in each call."""

COMPILES_ONCE = [lift for lift in LIFTS if lift != "vmap"]


def applied(lift, function, params=None, rng=True):
    """Returns what calls a model that lifts `function`, without `jit`, and the params."""
    model = jscope.transform(lambda s, x: LIFTS[lift](function, s / "a", x))
    params = model.init(KEY(0), X) if params is None else params
    model = model.with_rng(KEY(1)) if rng else model
    return lambda: model.apply(params, X)


def module(**names):
    """Returns a module with these globals."""
    made = types.ModuleType("made_by_a_test")
    vars(made).update(names)
    return made


def compiled(source, **known):
    """Returns the function `f` of a source, and the globals in which it runs."""
    known |= {"sizes": sizes}
    exec(source, known)
    return known["f"], known


def a_global():
    f, known = compiled("def f(s, x): return sizes(s, x) * scale", scale=1.0)
    return f, lambda: known.update(scale=3.0)


def a_global_of_a_helper():
    f, known = compiled("def g(x): return x * scale\ndef f(s, x): return g(sizes(s, x))", scale=1.0)
    return f, lambda: known.update(scale=3.0)


def a_helper():
    f, known = compiled("def g(x): return x\ndef f(s, x): return g(sizes(s, x))")
    return f, lambda: exec("def g(x): return x * 3.0", known)


def a_dict_in_a_closure():
    scales = {"it": [1.0]}
    return lambda s, x: sizes(s, x) * scales["it"][0], lambda: scales["it"].__setitem__(0, 3.0)


def a_closure_cell():
    scale = 1.0

    def change():
        nonlocal scale
        scale = 3.0

    return lambda s, x: sizes(s, x) * scale, change


def a_default():
    def f(s, x, scale=1.0):
        return sizes(s, x) * scale

    return f, lambda: setattr(f, "__defaults__", (3.0,))


def a_keyword_default():
    def f(s, x, *, scale=1.0):
        return sizes(s, x) * scale

    return f, lambda: f.__kwdefaults__.update(scale=3.0)


def code():
    def f(s, x):
        return sizes(s, x)

    return f, lambda: setattr(f, "__code__", (lambda s, x: sizes(s, x) * 3.0).__code__)


def an_attribute_of_a_function():
    def g(x):
        return x * g.scale

    g.scale = 1.0
    return lambda s, x: g(sizes(s, x)), lambda: setattr(g, "scale", 3.0)


def an_attribute_of_a_module():
    settings = module(scale=1.0)
    f, _ = compiled("def f(s, x): return sizes(s, x) * settings.scale", settings=settings)
    return f, lambda: setattr(settings, "scale", 3.0)


def an_attribute_of_a_module_in_a_module():
    settings = module(scale=1.0)
    f, _ = compiled("def f(s, x): return sizes(s, x) * package.settings.scale", package=module(settings=settings))
    return f, lambda: setattr(settings, "scale", 3.0)


def a_module_that_is_passed_on():
    settings = module(scale=1.0)
    f, _ = compiled("def g(m): return m.scale\ndef f(s, x): return sizes(s, x) * g(settings)", settings=settings)
    return f, lambda: setattr(settings, "scale", 3.0)


def an_import_inside_a_helper():
    sys.modules["made_by_a_test"] = settings = module(scale=1.0)
    f, _ = compiled(
        "def g():\n import made_by_a_test\n return made_by_a_test.scale\ndef f(s, x): return sizes(s, x) * g()"
    )
    return f, lambda: setattr(settings, "scale", 3.0)


def what_eval_sees():
    f, known = compiled("def f(s, x): return sizes(s, x) * eval('scale')", scale=1.0)
    return f, lambda: known.update(scale=3.0)


def an_attribute_of_a_class():
    class Scale:
        it = 1.0

    return lambda s, x: sizes(s, x) * Scale.it, lambda: setattr(Scale, "it", 3.0)


def an_attribute_of_a_base_class():
    class Base:
        it = 1.0

    @dataclass(frozen=True)
    class Config(Base):
        width: int = 3

    config = Config()
    return lambda s, x: sizes(s, x) * config.it, lambda: setattr(Base, "it", 3.0)


def a_method_of_a_dataclass():
    @dataclass(frozen=True)
    class Layer:
        scale: float

        def __call__(self, s, x):
            return sizes(s, x) * self.scale

    return Layer(1.0), lambda: setattr(Layer, "__call__", lambda self, s, x: sizes(s, x) * 3.0)


def a_field_that_is_not_compared():
    @dataclass
    class Layer:
        scale: float = 1.0
        __hash__ = object.__hash__

        def run(self, s, x):
            return sizes(s, x) * self.scale

    layer = Layer()
    return layer.run, lambda: setattr(layer, "scale", 3.0)


def an_attribute_of_an_object():
    class Layer:
        scale = 1.0

        def run(self, s, x):
            return sizes(s, x) * self.scale

    layer = Layer()
    return layer.run, lambda: setattr(layer, "scale", 3.0)


def a_property_of_a_class():
    @dataclass(frozen=True)
    class Config:
        @property
        def scale(self):
            return 1.0

    config = Config()
    return lambda s, x: sizes(s, x) * config.scale, lambda: setattr(Config, "scale", property(lambda self: 3.0))


def an_array():
    f, known = compiled("def f(s, x): return sizes(s, x) * scale", scale=jnp.float32(1.0))
    return f, lambda: known.update(scale=jnp.float32(3.0))


def an_argument_of_a_partial():
    f = functools.partial(lambda scale, s, x: sizes(s, x) * scale, 1.0)
    return f, lambda: f.__setstate__((f.func, (3.0,), {}, None))


def what_a_library_object_calls():
    scale = [1.0]
    f = jax.tree_util.Partial(lambda s, x: sizes(s, x) * scale[0])
    return lambda s, x: f(s, x), lambda: scale.__setitem__(0, 3.0)


def a_builtin_that_is_shadowed():
    f, known = compiled("def f(s, x): return sizes(s, x) * float(1)")
    return f, lambda: known.update(float=lambda _: 3.0)


def the_kind_of_a_number():
    scale = [True]
    return lambda s, x: sizes(s, x) * (3.0 if type(scale[0]) is int else 1.0), lambda: scale.__setitem__(0, 1)


def a_name_in_a_namespace():
    settings = types.SimpleNamespace(scale=1.0)
    return lambda s, x: sizes(s, x) * settings.scale, lambda: setattr(settings, "scale", 3.0)


def a_method_called_like_one_of_named_tuples():
    @dataclass
    class Settings:
        def _make(self, x):
            return x

    settings = Settings()
    return lambda s, x: settings._make(sizes(s, x)), lambda: setattr(Settings, "_make", lambda self, x: 3.0 * x)


def a_method_of_a_named_tuple():
    class Settings(NamedTuple):
        scale: float

        def scaled(self, x):
            return x * self.scale

    settings = Settings(1.0)
    return lambda s, x: settings.scaled(sizes(s, x)), lambda: setattr(Settings, "scaled", lambda self, x: 3.0 * x)


CHANGES = {
    change.__name__.replace("_", " "): change
    for change in (
        *(a_global, a_global_of_a_helper, a_helper, a_dict_in_a_closure, a_closure_cell, a_default, a_keyword_default),
        *(code, an_attribute_of_a_function, an_attribute_of_a_module, an_attribute_of_a_module_in_a_module),
        *(a_module_that_is_passed_on, an_import_inside_a_helper, what_eval_sees, an_attribute_of_a_class),
        *(an_attribute_of_a_base_class, a_method_of_a_dataclass, a_field_that_is_not_compared),
        *(an_attribute_of_an_object, a_property_of_a_class, an_array, an_argument_of_a_partial),
        *(what_a_library_object_calls, a_builtin_that_is_shadowed, the_kind_of_a_number),
        *(a_name_in_a_namespace, a_method_of_a_named_tuple, a_method_called_like_one_of_named_tuples),
    )
}
"""What a function depends on beside its arguments: each makes a function, and what changes it from `x` to `3 * x`."""


@pytest.mark.parametrize(("lift", "change"), crossed(LIFTS, CHANGES))
def test_what_changed_between_two_calls_is_seen(lift, change):
    """The second call computes what a first one would."""
    f, changes = CHANGES[change]()
    run = applied(lift, f)
    before = run()
    changes()
    after = run()
    assert not jnp.array_equal(before, after)
    # A function of its own, which nothing was compiled for.
    chex.assert_trees_all_equal(after, applied(lift, lambda s, x: sizes(s, x) * 3.0)())


def test_what_changed_for_the_condition_of_a_loop_is_seen():
    """It is a body like any other."""
    limit = [10.0]
    model = lambda s, x: jscope.while_loop(lambda s, x: x < limit[0], lambda s, x: 2 * x, s, x)  # noqa: E731
    first = jscope.apply(model, {}, 1.0)
    limit[0] = 100.0
    assert (float(first), float(jscope.apply(model, {}, 1.0))) == (16.0, 128.0)


def test_what_a_branch_changes_spoils_no_later_call():
    """What was traced after another branch had changed what it reads is found by no call for which nothing changes."""
    scale = [1.0]
    tripling = lambda s, x: scale.__setitem__(0, 3.0) or x  # noqa: E731
    scaling = lambda s, x: x * scale[0]  # noqa: E731

    def run(first):
        scale[0] = 1.0
        return jscope.apply(lambda s, x: jscope.switch(1, [first, scaling], s, x), {}, X)

    chex.assert_trees_all_equal([run(tripling), run(lambda s, x: x)], [3.0 * X, X])


def block(s, x):
    s.rng() if s.has_rng else None
    return jnp.tanh(sizes(s, x))


@dataclass(frozen=True)
class Config:
    width: int = 3
    activation: str = "tanh"

    @property
    def function(self):
        return getattr(jnp, self.activation)


config = Config()
save_only_these_names = jax.checkpoint_policies.save_only_these_names
BODIES = {
    "module": lambda: block,
    "lambda": lambda: lambda s, x: block(s, x),
    "partial": lambda: functools.partial(lambda factor, s, x: factor * block(s, x), 2.0),
    "config": lambda: lambda s, x: config.function(block(s, x)),
    "remat": lambda: jscope.remat(lambda s, x: block(s, x), policy=save_only_these_names("a", "b")),
    "recursion": lambda: (deep := lambda s, x, n=2: deep(s, x, n - 1) if n else block(s, x)),
    "nested": lambda: lambda s, x: jscope.cond(x.sum() > 0, block, lambda s, x: x, s, x),
    "native": lambda: lambda s, x: jax.lax.fori_loop(0, 2, lambda i, x: jnp.sin(x), block(s, x)),
}
"""Makes a body as a model does in each call."""


@pytest.fixture
def counted():
    """Counts what is compiled, the runs of functions of this file that JAX traces, and calls of its loops' Python."""
    counts = collections.Counter()

    def listen(event, _, **__):
        counts["compiled"] += event == "/jax/core/compile/backend_compile_duration"

    def profile(frame, event, _):
        counts["traced"] += event == "call" and frame.f_code is block.__code__
        counts["entered"] += event == "call" and "/lax/control_flow/" in frame.f_code.co_filename

    jax.monitoring.register_event_duration_secs_listener(listen)
    sys.setprofile(profile)
    yield counts
    sys.setprofile(None)
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(("lift", "body"), crossed(COMPILES_ONCE, BODIES))
def test_a_second_eager_call_traces_and_compiles_nothing(lift, body, counted):
    """Nor does it enter JAX's own loop: it calls what was compiled. Its value is the same, and that under `jit`.

    (To recompute is no loop, and JAX runs the operations of its body one by one, where nothing is differentiated.)
    """
    model = jscope.transform(lambda s, x: LIFTS[lift](BODIES[body](), s / "a", x))
    params = model.init(KEY(0), X)
    run = functools.partial(model.with_rng(KEY(1)).apply, params, X)
    first = run()
    counted.clear()
    second = run()
    assert not counted["traced"]
    assert not counted["compiled"]
    assert lift == "remat" or not counted["entered"]
    chex.assert_trees_all_equal(first, second)
    chex.assert_trees_all_close(jax.jit(run)(), second, rtol=1e-6)


def test_what_is_traced_and_compiled_is_counted(counted):
    """Else the law above would say nothing: a body that is new is traced and compiled."""
    run = applied("scan", lambda s, x: 0.5 * block(s, x))
    counted.clear()
    run()
    assert counted["traced"]
    assert counted["compiled"]
    assert counted["entered"]


@pytest.mark.parametrize("lift", ["scan", "cond", "switch", "while_loop", "fori_loop"])
def test_what_a_lift_passes_on_is_not_copied(lift):
    """Variables that a loop shares and state that nobody writes stay where they are, as a number becomes an array."""
    keep = lambda s, v: (sizes(s, v[0]) + 0 * s.get_variable("n", trainable=False), *v[1:])  # noqa: E731
    lifts = LIFTS | {
        "scan": lambda f, s, v: jscope.scan(lambda s, v, _: (f(s, v), None), s, v, length=2, shared="")[0],
        "cond": lambda f, s, v: jscope.cond(True, f, lambda s, v: v, s, v),
        "switch": lambda f, s, v: jscope.switch(1, [lambda s, v: v, f], s, v),
        "while_loop": lambda f, s, v: jscope.while_loop(lambda s, v: v[0][0, 0] < 2, f, s, v),
        "fori_loop": lambda f, s, v: jscope.fori_loop(0, 2, lambda s, i, v: f(s, v), s, v),
    }
    model = jscope.transform_with_state(lambda s, v: lifts[lift](keep, s, v))
    big, n = jnp.ones(1000), jnp.float32(0.0)
    for _ in range(2):
        out, after = model.apply({"w": jnp.float32(2.0)}, {"n": n}, (X, big, 3))
        assert out[1].unsafe_buffer_pointer() == big.unsafe_buffer_pointer()
        assert after["n"].unsafe_buffer_pointer() == n.unsafe_buffer_pointer()
        assert isinstance(out[2], jax.Array)


def test_errors_of_jax_name_the_function_and_its_file():
    """Not the body that it is run by."""
    choosing = lambda s, x, _: (x if x[0, 0] > 0 else -x, None)  # noqa: E731
    with pytest.raises(jax.errors.TracerBoolConversionError, match=r"<lambda> at .*test_eager\.py:\d+.* loop\.carry"):
        jscope.apply(lambda s, x: jscope.scan(choosing, s, x, length=2), {}, X)


def test_other_bounds_of_a_loop_compile_nothing(counted):
    """They are operands where nothing is traced; how far a loop is unrolled is part of what is compiled."""

    def run(lower, upper, unroll=None):
        count = lambda s, i, x: block(s, x) + i.astype(x.dtype)  # noqa: E731
        return jscope.apply(lambda s, x: jscope.fori_loop(lower, upper, count, s, x, unroll=unroll), params, X)

    params, arrays = {"w": jnp.float32(2.0)}, (jnp.int32(3), jnp.int32(7))
    run(0, 2)
    counted.clear()
    out = run(3, 7)
    assert not counted["traced"]
    assert not counted["compiled"]
    chex.assert_trees_all_close((run(*arrays), run(3, 7, unroll=2)), (out, out), rtol=1e-6)


def test_the_state_outside_of_traces_is_known_from_inside_of_one():
    """Whoever asks first may be traced."""
    _eager._outside_of_traces.cache_clear()
    traced = []
    jax.jit(lambda x: traced.append(_eager.is_eager()) or x)(1.0)
    jax.vmap(lambda x: traced.append(_eager.is_eager()) or x)(jnp.ones(2))
    assert traced == [False, False]
    assert _eager.is_eager()


@pytest.mark.parametrize("arguments", ["arrays", "arrays by name", "a flag", "nothing"])
def test_layers_take_further_arguments_along(arguments, counted):
    """Arrays among them are operands, so others of the same shape compile nothing; flags stay what they are."""

    def layer(s, x, shift=0.0, *, masks=(), double=False):
        return sum(masks, start=block(s, x) + shift) * (2 if double else 1)

    def model(s, x, y):
        further = {
            "arrays": ((y,), {}),
            "arrays by name": ((), {"masks": [y, 2 * y]}),
            "a flag": ((y,), {"double": True}),
            "nothing": ((), {}),
        }
        args, kwargs = further[arguments]
        return jscope.layers(layer, 2)(s / "a", x, *args, **kwargs)

    params = jscope.init(model, KEY(0), X, X)
    first = jscope.apply(model, params, X, X)
    chex.assert_trees_all_close(first, jax.jit(functools.partial(jscope.apply, model))(params, X, X), rtol=1e-6)
    counted.clear()
    other = jscope.apply(model, params, X, 3 * X)
    assert not counted["traced"]
    assert not counted["compiled"]
    assert jnp.array_equal(first, other) == (arguments == "nothing")


def test_state_and_grads_go_through_what_was_kept():
    """A loop that was compiled before writes the state and has the gradient that it has under `jit`."""

    def count(s, x, _):
        n = s.get_variable("n", initializer=0.0, trainable=False)
        s.assign("n", n + 1)
        return block(s, x) * n, n

    model = jscope.transform_with_state(lambda s, x: jscope.scan(lambda *a: count(*a), s / "a", x, length=3)[0].sum())
    params, state = model.init(KEY(0), X)
    step = jax.value_and_grad(lambda params, state: model.with_rng(KEY(1)).apply(params, state, X), has_aux=True)
    state = jax.tree.map(lambda n: n + 1, state)
    first, second = step(params, state), step(params, state)
    chex.assert_trees_all_equal(first, second)
    chex.assert_trees_all_close(first, jax.jit(step)(params, state), rtol=1e-6)
    chex.assert_trees_all_equal(first[0][1], jax.tree.map(lambda n: n + 1, state))


def test_static_arguments_tell_blocks_apart():
    """Of two equal blocks that are compiled with other static arguments, each is its own."""

    def model(s, x, times):
        return jscope.jit(lambda s, x, n: sizes(s, x) * n, static_argnums=2)(s, x, times)

    params = jscope.init(model, KEY(0), X, 2)
    assert [float(jscope.apply(model, params, X, n)[0, 0]) for n in (2, 3, 2)] == [4.0, 6.0, 4.0]


def lifted_with(lift, held):
    """Calls a model whose body, getter and argument hold an object, twice."""

    def getter(get, name, **options):
        return held and get(name, **options)

    def model(s, x):
        f = lambda s, x: sizes(s, x) if held is not None else x  # noqa: E731
        plain = LIFTS[lift](f, s / "a", x)
        # JAX itself keeps the structure of what `jit` was given, and in it the getter, as it does for a native `jit`.
        inner = s if lift == "jit" else s.with_defaults(custom_getter=getter)
        return LIFTS[lift](sizes, inner / "b", plain)

    params = jscope.init(model, KEY(0), X)
    for _ in range(2):
        jax.block_until_ready(jscope.apply(model, params, X))
    return [weakref.ref(it) for it in (held, getter, model)]


class Anything:
    """What a user may hold."""


@pytest.mark.parametrize("lift", mostly_slow(LIFTS, "scan", "cond", "while_loop", "jit"))
def test_nothing_outlives_its_last_user(lift):
    """No table keeps a function, what it holds, or a getter."""
    gone = lifted_with(lift, Anything())
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3


@pytest.mark.parametrize("lift", mostly_slow(LIFTS, "scan", "cond", "while_loop", "jit"))
def test_no_array_outlives_its_last_user(lift):
    """Neither one in a closure, nor a variable, nor an input, nor what came out."""

    def run():
        scale = jnp.full((2, 3), 1.5)
        model = jscope.transform(lambda s, x: LIFTS[lift](lambda s, x: sizes(s, x) * scale.mean(), s / "a", x))
        x, params = X + 1.0, model.init(KEY(0), X)
        out = [model.apply(params, x) for _ in range(2)]
        return [weakref.ref(array) for array in (scale, x, *out, *jax.tree.leaves(params))]

    gone = run()
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)


@pytest.mark.parametrize("lift", ["scan", "cond", "jit"])
def test_a_function_that_shares_its_body_is_not_kept(lift):
    """It holds values alone, so an equal one finds what it compiled; the function itself ends."""
    function = lambda s, x: sizes(s, x)  # noqa: E731
    applied(lift, function)()
    ref = weakref.ref(function)
    del function
    gc.collect()
    assert ref() is None


def test_sown_values_come_out_of_what_runs_now():
    """While values are captured, each call combines them by the function that it was given."""

    def model(s, x, factor):
        def body(s, x, _):
            for _ in range(2):
                s.sow("x", x, lambda a, b: a + factor * b)
            return x, None

        return jscope.scan(body, s, x, length=1)[0]

    captured = [jscope.transform(model).capture("x").apply({}, 1.0, f)[1]["x"] for f in (1.0, 3.0)]
    assert [float(x[0]) for x in captured] == [2.0, 4.0]
