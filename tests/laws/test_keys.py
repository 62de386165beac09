"""Equal paths, equal keys: what a random key depends on, plain, under every lift, and under JAX's own transforms."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors
from tests.crossed import crossed, mostly_slow
from tests.models import KEY


def data(keys):
    """Keys as nested lists of numbers, which compare by value."""
    return jax.tree.map(lambda key: np.asarray(jax.random.key_data(key)).tolist(), keys)


def drawn(model):
    """The keys that a model returns, in an eager call."""
    return data(jscope.transform(model).with_rng(KEY(0)).apply({}))


def block(scope):
    """Draws at its own path, below it, twice at one path, and from a stream of its own."""
    return [scope.rng(), (scope / "a").rng(), (scope / "a").rng(), (scope / "b/c").rng(), scope.rng("noise")]


def other(scope):
    """Another body, with other paths and one in common."""
    return [(scope / "d").rng(), (scope / "b" / "c").rng(), scope.rng()]


def with_rules(function):
    lifted = jscope.custom_vjp(lambda scope, x: function(scope))
    lifted.defvjp(lambda scope, x: (function(scope), None), lambda residuals, cotangent: ({}, 0.0))
    return lambda scope: lifted(scope, 1.0)


LIFTED = {
    "remat": jscope.remat,
    "jit": jscope.jit,
    "vjp": lambda f: lambda s: jscope.vjp(lambda s, x: f(s), s, 1.0, wrt=None)[0],
    "jvp": lambda f: lambda s: jscope.jvp(lambda s, x: f(s), s, (1.0,), (1.0,))[0],
    "grad": lambda f: lambda s: jscope.grad(lambda s, x: (x, f(s)), None, argnums=1, has_aux=True)(s, 1.0)[1],
    "custom_vjp": with_rules,
    "vmap, all alike": lambda f: lambda s: jscope.vmap(f, axis_size=2, rng="shared", out_axes=None)(s),
    "remat in jit": lambda f: jscope.jit(jscope.remat(f)),
    "pure": lambda f: lambda s: by_hand(f, s),
}
NATIVE = {
    "jax.jit": jax.jit,
    "jax.checkpoint": jax.checkpoint,
    "jax.vmap": lambda f: jax.vmap(f, in_axes=None, out_axes=None, axis_size=2),
    "jax.lax.cond": lambda f: lambda s: jax.lax.cond(True, f, f, s),
    "cond": lambda f: lambda s: jscope.cond(True, f, f, s),
    "jit in checkpoint": lambda f: jax.checkpoint(jax.jit(f)),
    "remat in jax.jit": lambda f: jax.jit(jscope.remat(f)),
    "jax.jit in remat": lambda f: jscope.remat(jax.jit(f)),
}


def by_hand(function, scope):
    out, effects = jscope.pure(function)(scope)
    jscope.commit(scope, effects)
    return out


def entered_anew(run, another):
    """Entered anew each time: by one name, by two, as a part of a path, in a loop."""

    def model(s):
        runs = [run(s / "x"), run(s / "x"), run(s / "y" / "z"), run(s / "y/w"), run(s / "x")]
        return runs + [run(s / "loop" / str(i)) for i in range(2)]

    return model


def of_one_value(run, another):
    """One scope value given to several bodies, entered again by another, and drawn from in between."""

    def model(s):
        x = s / "x"
        return [run(x), another(x), x.rng(), run(x / "in"), another(s / "x"), run(s / "x"), (s / "x/d").rng(), run(x)]

    return model


PROGRAMS = [entered_anew, of_one_value]
CALLS = {
    f"{program.__name__}, {how}": (program, how == "jitted")
    for how, program in itertools.product(["eager", "jitted"], reversed(PROGRAMS))
}


@pytest.mark.parametrize(("lift", "call"), crossed(LIFTED, CALLS))
def test_a_lift_draws_the_keys_of_the_function(lift, call):
    """Whatever else draws before, after and below, by whatever body."""
    run, another = LIFTED[lift](block), LIFTED[lift](other)
    program, jitted = CALLS[call]
    plain = drawn(program(block, other))
    apply = jscope.transform(program(run, another)).with_rng(KEY(0)).apply
    assert data((jax.jit(apply) if jitted else apply)({})) == plain


@pytest.mark.parametrize("transform", mostly_slow(NATIVE, "jax.jit", "jax.vmap", "jax.jit in remat"))
def test_a_native_transform_draws_the_keys_of_the_function(transform):
    """Where no scope value is given twice, and no path entered again by another body."""
    run = NATIVE[transform](block)
    assert drawn(entered_anew(run, None)) == drawn(entered_anew(block, None))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("run", [lambda f: f, *LIFTED.values(), jax.checkpoint])
def test_no_two_draws_of_a_call_get_one_key(run, program):
    """Also where the laws above do not hold. One scope value given to native transforms twice repeats its keys."""
    keys = jax.tree.leaves(drawn(program(run(block), other)), is_leaf=lambda x: isinstance(x[0], int))
    twice = 5 if run is jax.checkpoint and program is of_one_value else 0
    assert len(keys) - len(set(map(tuple, keys))) == twice


@pytest.mark.parametrize("loop", mostly_slow(["scan", "map", "vmap", "fori_loop", "while_loop"], "scan", "vmap"))
def test_copies_draw_the_keys_of_the_unrolled_loop(loop):
    """Copy `i` those of the path with `i` as one more part; a second time, those of the second time."""

    def unrolled(s):
        runs = []
        for _ in range(2):
            again = s / "h"
            runs.append([block(again / str(i)) for i in range(3)])
        return runs

    def looped(s):
        return [LOOPS[loop](s / "h") for _ in range(2)]

    expected = [[list(keys) for keys in zip(*runs, strict=True)] for runs in drawn(unrolled)]
    found = [np.asarray(keys).tolist() for run in jscope.transform(looped).with_rng(KEY(0)).apply({}) for keys in run]
    assert found == list(itertools.chain(*expected))


def numbers(scope):
    return [jax.random.key_data(key) for key in block(scope)]


def put(i, rows, scope):
    return [all_rows.at[i].set(row) for all_rows, row in zip(rows, numbers(scope), strict=True)]


EMPTY = [jnp.zeros((3, 2), jnp.uint32)] * 5
LOOPS = {
    "scan": lambda s: jscope.scan(lambda s, c, _: (c, numbers(s)), s, 0.0, length=3)[1],
    "map": lambda s: jscope.map(lambda s, x: numbers(s), s, jnp.arange(3)),
    "vmap": lambda s: jscope.vmap(numbers, axis_size=3)(s),
    "fori_loop": lambda s: jscope.fori_loop(0, 3, lambda s, i, rows: put(i, rows, s), s, EMPTY),
    "while_loop": lambda s: jscope.while_loop(
        lambda s, v: v[0] < 3, lambda s, v: (v[0] + 1, put(v[0], v[1], s)), s, (0, EMPTY)
    )[1],
}


def test_names_in_a_path_and_in_steps_draw_alike():
    """`s / "h" / "3"`, `s / "h/3"`, and with `variable_scope`."""
    ways = [lambda s: s / "h" / "3", lambda s: s / "h/3", lambda s: s.variable_scope("h").variable_scope("3")]
    assert len({str(drawn(lambda s, way=way: way(s).rng())) for way in ways}) == 1


@pytest.mark.parametrize(
    "look",
    [
        lambda s: s / "a",
        lambda s: s / "a/b",
        lambda s: (s / "a").has_variable("w"),
        lambda s: repr(s / "a"),
        lambda s: (s / "a").sow("y", 1.0),
        lambda s: [(s / "a" / name).rng() for name in "xyz"],
        lambda s: jscope.remat(lambda s: 0.0)(s / "a"),
        lambda s: jscope.scan(lambda s, c, _: (c, s.rng()), s / "a", 0.0, length=2),
    ],
)
def test_only_drawing_at_a_path_counts(look):
    """Entering, looking, and drawing at other paths change no key."""
    assert drawn(lambda s: (look(s), (s / "a").rng(), (s / "a/b").rng())[1:]) == drawn(
        lambda s: ((s / "a").rng(), (s / "a/b").rng())
    )


def test_a_copy_and_the_scope_of_its_path_draw_different_keys():
    """A scan over `h` and `h/1` entered by hand are two uses of one path."""

    def model(s):
        _, copies = jscope.scan(lambda s, c, _: (c, s.rng()), s / "h", 0.0, length=3)
        return [jax.random.key_data(copies), jax.random.key_data((s / "h" / "1").rng())]

    copies, one = (np.asarray(keys).tolist() for keys in jscope.transform(model).with_rng(KEY(0)).apply({}))
    assert one not in copies


def test_repeated_blocks_with_a_key_share_one_trace():
    """Equal blocks at different paths are equal, though they draw."""
    traces = []

    @jscope.jit
    def noisy(scope, x):
        traces.append(scope.path)
        return x + jax.random.normal((scope / "noise").rng(), ())

    def model(s):
        return sum(noisy(s / "blocks" / str(i), 1.0) for i in range(5))

    jscope.transform(model).with_rng(KEY(0)).apply({})
    assert len(traces) == 1


def noise(scope):
    return jax.random.normal(scope.rng(), ())


IN_A_LOOP = {
    "scan": lambda s: jax.lax.scan(lambda c, _: (c, noise(s / "d")), 0.0, length=3),
    "while_loop": lambda s: jax.lax.while_loop(lambda c: c < 3, lambda c: c + 1 + 0 * noise(s / "d"), 0.0),
    "fori_loop": lambda s: jax.lax.fori_loop(0, 3, lambda i, c: c + noise(s / "d"), 0.0),
    "map": lambda s: jax.lax.map(lambda x: x + noise(s / "d"), jnp.ones(3)),
    "vmap": lambda s: jax.vmap(lambda x: x + noise(s / "d"))(jnp.ones(3)),
    "scan in jit": lambda s: jax.jit(lambda: jax.lax.scan(lambda c, _: (c, noise(s / "d")), 0.0, length=3))(),
    "scan around grad": lambda s: jax.lax.scan(
        lambda c, _: (c, jax.grad(lambda x: x * noise(s / "d"))(c)), 0.0, length=3
    ),
    "scan of ours": lambda s: jscope.scan(lambda _, c, x: (c, noise(s / "d")), s / "h", 0.0, length=3),
}
NOT_IN_A_LOOP = {
    "grad": lambda s: jax.grad(lambda x: x * noise(s / "d"))(1.0),
    "jvp": lambda s: jax.jvp(lambda x: x * noise(s / "d"), (1.0,), (1.0,)),
    "checkpoint": lambda s: jax.checkpoint(lambda x: x * noise(s / "d"))(1.0),
    "jit": lambda s: jax.jit(lambda x: x * noise(s / "d"))(1.0),
    "cond": lambda s: jax.lax.cond(True, lambda: noise(s / "d"), lambda: 0.0),
    "tree.map in jit": lambda s: jax.jit(lambda x: jax.tree.map(lambda y: y * noise(s / "d"), [x, x]))(1.0),
    "vmap, given": lambda s: jax.vmap(lambda s, x: x * noise(s), (None, 0))(s / "d", jnp.ones(3)),
    "grad in a scan of ours": lambda s: jscope.scan(
        lambda s, c, _: (c, jax.grad(lambda x: x * noise(s / "d"))(c)), s / "h", 0.0, length=3
    ),
}
PHASES = {"init": lambda f: jscope.init(f, KEY(0)), "apply": lambda f: jscope.transform(f).with_rng(KEY(0)).apply({})}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("loop", IN_A_LOOP)
def test_a_scope_from_outside_a_native_loop_does_not_draw(loop, phase):
    """Its body is traced once, so all iterations would silently share one key; the error names the lift."""
    lift = loop.partition(" ")[0]
    with pytest.raises(
        errors.NativeTransformError, match=rf"scope `d`, .*JAX loop \({lift}\).*\nUse `jscope\.{lift}`.*with_rng"
    ):
        PHASES[phase](IN_A_LOOP[loop])


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("transform", NOT_IN_A_LOOP)
def test_a_scope_from_outside_another_transform_draws(transform, phase):
    """Where a body runs once; and in a loop through the scope that the body is given."""
    PHASES[phase](NOT_IN_A_LOOP[transform])
