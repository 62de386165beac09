"""Laws of collecting: equal blocks run once, and that changes nothing of what is found, said or refused."""

from __future__ import annotations

import collections
import functools
import gc
import sys
import weakref
from dataclasses import dataclass, field

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors
from jscope._util._same import same
from tests.crossed import crossed, mostly_slow
from tests.models import KEY

X = jnp.ones((2, 3))


def unrolled(f):
    return lambda s, x: jscope.layers(f, 1, scanned=False)(s, x)


LIFTS = {
    "jit": jscope.jit,
    "remat": jscope.remat,
    "layers": unrolled,
    "jit of remat": lambda f: jscope.jit(jscope.remat(f)),
    "layers of jit": lambda f: unrolled(jscope.jit(f)),
}
"""Lifts that run an equal block once; those that end in `layers` put it one level deeper, below `0`."""


def plainly(lift):
    """Returns what names variables as the lift does, and runs every block."""
    return (lambda f: lambda s, x: f(s / "0", x)) if lift.startswith("layers") else lambda f: f


@pytest.fixture
def runs():
    """Counts the runs of Python functions by their names, unseen by the functions."""
    counts = collections.Counter()
    sys.setprofile(lambda frame, event, _: counts.update([frame.f_code.co_name] if event == "call" else []))
    yield counts
    sys.setprofile(None)


def described(specs):
    """All that specs say, in a form that compares by value."""
    functions = ("initializer", "regularizer", "constraint")
    return [
        {name: same(getattr(spec, name)) if name in functions else getattr(spec, name) for name in spec.__slots__}
        for spec in specs.values()
    ]


@jscope.named
def block(s, x):
    """Has variables at two depths, some in other lifts, state that it writes, keys, and sown values."""
    n = s.get_variable("n", initializer=0.0, trainable=False)
    s.assign("n", n + 1)
    s.sow("x", x.sum())
    x = x + 0 * jax.random.normal((s / "noise").rng(), x.shape) if s.has_rng else x
    x, _ = jscope.scan(
        lambda s, x, _: (x * s.get_variable("scale", (1, 3), axes=(None, "width")), None), s / "deep", x, length=2
    )
    one = lambda s, x: x * s.get_variable("scale", ())  # noqa: E731
    x = jscope.vmap(one)(s / "vmap", x)
    x = jscope.cond(True, one, one, s / "cond", x)
    x = x + jscope.grad(lambda s, x: one(s, x).sum(), wrt=None, argnums=1)(s / "grad", x)
    for _ in range(2):
        name = s.unique("dense")
        x = x @ (s / name).get_variable("w", (3, 3), regularizer=penalty, collections=("matrices",))
    return x


def penalty(w):
    return jnp.sum(w**2)


PLACES = ("a", "b", "c/d", "e")


def everywhere(f, s, x):
    """Runs a block at paths of several depths, after a look at one of them."""
    assert s.path is not None
    for place in PLACES:
        x = f(s / place, x)
    return x


@pytest.mark.parametrize("lift", LIFTS)
def test_equal_blocks_are_collected_once(lift, runs):
    """Their specs, and so all initial values, are those of blocks that ran one by one."""
    lifted, plain = (
        functools.partial(jscope.specs, functools.partial(everywhere, f), X)
        for f in (LIFTS[lift](block), plainly(lift)(block))
    )
    runs.clear()
    specs = lifted()
    assert runs["block"] == 1
    assert described(specs) == described(plain())
    assert runs["block"] == 1 + len(PLACES)


@pytest.mark.parametrize("n", [2, 5])
def test_layers_that_are_not_scanned_are_collected_once(n, runs):
    """However many there are, with further arguments."""
    model = lambda s, x: jscope.layers(lambda s, x, y, flag: block(s, x) + y, n, scanned=False)(s, x, x, flag=True)  # noqa: E731
    runs.clear()
    specs = jscope.specs(model, X)
    assert runs["block"] == 1
    assert len(specs) == 7 * n


def sized(s, x, size=1, **options):
    s.get_variable("w", (size,), **options)
    return x


def reads_its_path(f, s, x):
    return everywhere(f(lambda s, x: sized(s, x, len(s.path))), s, x)


def reads_its_name(f, s, x):
    return everywhere(f(lambda s, x: sized(s, x, 1 + ord(s.name))), s, x)


def prints_itself(f, s, x):
    return everywhere(f(lambda s, x: sized(s, x, len(repr(s / "child")))), s, x)


def looks_after_a_block_inside(f, s, x):
    inner = f(sized)

    def looks(s, x):
        size = len(s.path)
        return sized(s, inner(s / "inner", x), size)

    return everywhere(f(looks), s, x)


def looks_in_a_block_inside(f, s, x):
    inner = f(lambda s, x: sized(s, x, len(s.path)))
    return everywhere(f(lambda s, x: inner(s / "inner", x)), s, x)


def looks_in_a_loop(f, s, x):
    body = lambda s, x, _: (sized(s, x, len(s.path)), None)  # noqa: E731
    return everywhere(f(lambda s, x: jscope.scan(body, s / "loop", x, length=2)[0]), s, x)


def looks_in_a_native_transform(f, s, x):
    return everywhere(f(lambda s, x: jax.jit(lambda s, x: sized(s, x, len(s.path)))(s / "native", x)), s, x)


def asks_what_exists(f, s, x):
    def asks(s, x):
        return sized(s, x, 2) if (s / "x").has_variable("w") else sized(s / "y", x)

    sized(s / "b" / "x", x)
    sized(s / "b" / "0" / "x", x)
    x = everywhere(f(asks), s, x)
    sized(s / "x", x)
    sized(s / "0" / "x", x)
    # At the root everything exists that was made before.
    return f(asks)(s, x)


def asks_for_a_free_name(f, s, x):
    (s / "b").get_variable("dense", (1,))
    (s / "b/0").get_variable("dense", (1,))
    return everywhere(f(lambda s, x: sized(s / s.unique("dense"), x)), s, x)


def shares_what_exists(f, s, x):
    s = s.with_defaults(reuse=jscope.AUTO_REUSE)
    return everywhere(f(sized), s, everywhere(f(sized), s, x))


def shares_names(f, s, x):
    s, g = s.with_defaults(reuse=jscope.AUTO_REUSE), f(lambda s, x: sized(s / s.unique("dense"), x))
    return everywhere(g, s, everywhere(g, s, x))


def is_given_no_key(f, s, x):
    g = f(lambda s, x: sized(s, x, 2 if s.has_rng else 1))
    return everywhere(g, s.with_rng(None), everywhere(g, s / "keyed", x))


def inherits(**defaults):
    def model(f, s, x):
        g = f(sized)
        return everywhere(g, s.with_defaults(**defaults) / "other", everywhere(g, s, x))

    return model


def has_a_getter_inside(f, s, x):
    def getter(get, name, *args, **kwargs):
        return get(f"{name}_{len(name)}", *args, **kwargs)

    g = f(lambda s, x: sized(s.with_defaults(custom_getter=getter), x))
    h = f(lambda s, x: sized(s, x, custom_getter=getter))
    return everywhere(h, s / "other", everywhere(g, s, x))


def asks_a_partitioner_that_changes(f, s, x):
    names = ["first"]
    s, g = s.with_defaults(partitioner=lambda shape, dtype: tuple(names)), f(sized)
    x = everywhere(g, s, x)
    names[0] = "second"
    return everywhere(g, s / "other", x)


def names_whole_paths_in_a_loop(f, s, x):
    body = lambda s, x, _: (sized(s, x), None)  # noqa: E731
    return everywhere(f(lambda s, x: jscope.scan(body, s / "loop", x, length=2, shared="^b")[0]), s, x)


def names_whole_paths_of_gradients(f, s, x):
    def differentiates(s, x):
        loss = lambda s, x: (s.get_variable("v", (3,)) + s.get_variable("w", (3,))).sum()  # noqa: E731
        return sized(s, x, len(jax.tree.leaves(jscope.grad(loss, wrt="^b|v$")(s / "loss", x))))

    return everywhere(f(differentiates), s, x)


def has_other_shapes(f, s, x):
    g = f(lambda s, x: sized(s, x, x.shape[0]))
    return x, g(s / "a", x), g(s / "b", x.T), g(s / "c", x)


def has_other_types(f, s, x):
    g = f(lambda s, x: s.get_variable("w", (1,), x.dtype) * 1 if x.weak_type else sized(s, x))
    return g(s / "a", x), g(s / "b", jax.lax.full((), 1.0)), g(s / "c", x.astype(jnp.bfloat16)), g(s / "d", x[0, 0])


def has_other_structures(f, s, x):
    g = f(lambda s, x: sized(s, x, len(str(jax.tree.structure(x)))))
    return g(s / "a", [x, x]), g(s / "b", (x, x)), g(s / "c", [[x], x])


def reads_a_closure_that_changes(f, s, x):
    sizes = {"w": 1}

    def layer(s, x):
        return sized(s, x, sizes["w"])

    g = f(layer)
    for sizes["w"], place in enumerate(PLACES, 1):
        x = g(s / place, x)
    return x


SIZE = 1


def reads_a_global_that_changes(f, s, x):
    global SIZE
    SIZE, g = 1, f(lambda s, x: sized(s, x, SIZE))
    for place in PLACES:
        x, SIZE = g(s / place, x), SIZE + 1
    return x


def changes_what_it_reads(f, s, x):
    sizes = [1]

    def layer(s, x):
        sizes.append(1)
        return sized(s, x, len(sizes))

    return everywhere(f(layer), s, x)


def reads_an_object(f, s, x):
    class Settings:
        size = 1

    settings = Settings()
    g = f(lambda s, x: sized(s, x, settings.size))
    x, settings.size = everywhere(g, s, x), 2
    return everywhere(g, s / "other", x)


def holds_another_scope(f, s, x):
    for place in PLACES:
        outer = s / "outer" / place
        x = f(lambda s, x, outer=outer: sized(outer, sized(s, x)))(s / place, x)
    return x


def runs_under_other_settings(f, s, x):
    g = f(lambda s, x: sized(s, x, jnp.zeros(()).dtype.itemsize))
    x = g(s / "a", x)
    with jax.enable_x64(True):
        return g(s / "b", x)


def makes_state_in_branches(f, s, x):
    def layer(s, x):
        branch = lambda s, x: sized(s, x, trainable=False)  # noqa: E731
        return jscope.cond(x.sum() > 0, branch, branch, s / "branch", x)

    return everywhere(f(layer), s, x)


def stands_in_branches(f, s, x):
    branch = lambda s, x: everywhere(f(sized), s, x)  # noqa: E731
    return jscope.cond(x.sum() > 0, branch, branch, s / "cond", everywhere(f(sized), s, x))


def is_traced_twice(f, s, x):
    def step(s, carry, _):
        x, count = carry
        return (everywhere(f(sized), s, x), count * jnp.float32(2)), None

    return jscope.scan(step, s / "loop", (everywhere(f(sized), s, x), 1), length=3)[0][0]


def stands_in_lifts(f, s, x):
    x = jscope.vmap(lambda s, x: everywhere(f(sized), s, x), axis="copies")(s / "vmap", x)
    return jscope.cond(x.sum() > 0, lambda s, x: everywhere(f(sized), s, x), lambda s, x: x, s / "cond", x)


def returns_its_scope(f, s, x):
    g = f(lambda s, x: (s, sized(s, x)))
    for place in PLACES:
        inside, x = g(s / place, x)
        x = sized(inside / "more", x)
    return x


def returns_what_is_no_array(f, s, x):
    g = f(lambda s, x: (sized(s, x), {"shape": [x]}, None))
    for place in PLACES:
        x, more, none = g(s / place, x)
        assert none is None
        # The caller may do with it what it likes.
        assert list(more) == ["shape"]
        more["more"] = more["shape"].append(1)
    return x


MODELS = {
    model.__name__.replace("_", " "): model
    for model in (
        *(reads_its_path, reads_its_name, prints_itself, looks_after_a_block_inside, looks_in_a_block_inside),
        *(looks_in_a_loop, looks_in_a_native_transform, asks_what_exists, asks_for_a_free_name, shares_what_exists),
        *(is_given_no_key, has_a_getter_inside, asks_a_partitioner_that_changes, names_whole_paths_in_a_loop),
        *(names_whole_paths_of_gradients, has_other_shapes, has_other_types, has_other_structures),
        *(reads_a_closure_that_changes, reads_a_global_that_changes, changes_what_it_reads, reads_an_object),
        *(holds_another_scope, runs_under_other_settings, makes_state_in_branches, is_traced_twice, stands_in_lifts),
        *(stands_in_branches, shares_names, returns_its_scope, returns_what_is_no_array),
    )
} | {
    "inherits an initializer": inherits(initializer=jscope.initializers.ones),
    "inherits a regularizer": inherits(regularizer=penalty),
    "inherits a dtype": inherits(dtype=jnp.bfloat16),
    "inherits a partitioner": inherits(partitioner=lambda shape, dtype: ("width",)),
    "inherits a getter": inherits(custom_getter=lambda get, name, *args, **kwargs: get(f"{name}_", *args, **kwargs)),
}
"""Models in which blocks look equal and are not, or stand where it matters: each runs `f(block)` at several paths."""


@pytest.mark.parametrize(("lift", "model"), crossed(LIFTS, MODELS))
def test_blocks_have_what_they_have_when_each_runs(lift, model):
    """Whatever a block may depend on: its specs are those of blocks that ran one by one."""
    lifted, plain = (jscope.specs(functools.partial(MODELS[model], f), X) for f in (LIFTS[lift], plainly(lift)))
    assert described(lifted) == described(plain)
    assert len(lifted)


def test_static_arguments_tell_blocks_apart():
    """By value; those that cannot be taken apart, and arrays, run each time."""

    class Config:
        def __init__(self, width):
            self.width = width

    for lift in (jscope.jit, jscope.remat):
        g = lift(lambda s, x, size: sized(s, x, getattr(size, "width", None) or np.max(size)), static_argnums=2)
        sizes = [1, 2, 1, Config(3), Config(4), np.int64(5), np.int64(6)]
        sizes += [np.full(3, 7), np.full(3, 8)] if lift is jscope.remat else []
        specs = jscope.specs(lambda s, x, g=g, sizes=sizes: [g(s / f"b{i}", x, n) for i, n in enumerate(sizes)], X)
        assert [spec.shape for spec in specs.values()] == [(1,), (2,), (1,), *((n,) for n in range(3, len(sizes)))]


def test_values_that_a_body_sees_tell_layers_apart():
    """Layers that are not scanned are called as they are: with Python's numbers, and with arrays that are known."""
    layer = lambda s, x, size: sized(s, x, int(size))  # noqa: E731
    sizes = [1, 2, jnp.asarray(3), jnp.asarray(4)]

    def model(s, x, sizes):
        for i, size in enumerate(sizes):
            with jax.ensure_compile_time_eval():
                x = jscope.layers(layer, 1, scanned=False)(s / f"b{i}", x, size)
        return x

    specs = jscope.specs(functools.partial(model, sizes=sizes), X)
    assert [spec.shape for spec in specs.values()] == [(1,), (2,), (3,), (4,)]


def test_lifts_that_show_their_body_other_things_are_told_apart():
    """A number is a tracer in one, and a number in the other."""
    layer = lambda s, x, n: sized(s, x, 1 + isinstance(n, int))  # noqa: E731
    lifted = [jscope.jit(layer), jscope.layers(layer, 1, scanned=False), jscope.jit(layer, static_argnums=2)]
    specs = jscope.specs(lambda s, x: [g(s / f"b{i}", x, 3) for i, g in enumerate(lifted)], X)
    assert [spec.shape for spec in specs.values()] == [(1,), (2,), (2,)]


@jax.tree_util.register_dataclass
@dataclass
class Sizes:
    """An argument with a part that cannot be hashed."""

    array: jax.Array
    sizes: list[int] = field(metadata={"static": True})


def test_parts_of_arguments_that_cannot_be_hashed_are_compared():
    """They tell layers apart, as they would tell nothing to `jit`, which refuses them."""
    layer = jscope.layers(lambda s, x, given: sized(s, x, given.sizes[0]), 2, scanned=False)
    specs = jscope.specs(lambda s, x: [layer(s / f"b{n}", x, Sizes(x, [n])) for n in (1, 2)], X)
    assert [spec.shape for spec in specs.values()] == [(1,), (1,), (2,), (2,)]


def test_a_layer_of_the_library_is_made_where_it_is_asked_for():
    """Two calls of `layers` have two sites."""

    def model(f, s, x):
        x = f(s / "a", x)
        return f(s / "b", x)

    lifted = jscope.specs(functools.partial(model, jscope.layers(jscope.nn.bias, 2, scanned=False)), X)
    plain = jscope.specs(functools.partial(model, jscope.nn.bias), X)
    assert [spec.site for spec in lifted.values()] == [plain[path].site for path in plain for _ in range(2)]


def test_initial_values_that_depend_on_data_are_those_of_each_layer():
    """They belong to one layer only."""

    def centred(s, x):
        return 2 * (x - s.get_variable("mean", initializer=x.mean() - 1))

    model = jscope.layers(centred, 3, scanned=False)
    assert [spec.initializer.path for spec in jscope.specs(model, X).values()] == ["0/mean", "1/mean", "2/mean"]
    params = jscope.init(model, KEY(0), X)
    assert [round(float(params[str(i)]["mean"]), 5) for i in range(3)] == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("lift", LIFTS)
def test_initial_values_that_depend_on_the_output_of_blocks(lift):
    """For these each block runs, on its own values."""

    def model(f, s, x):
        x = everywhere(f(lambda s, x: x @ s.get_variable("w", (3, 3))), s, x)
        return s.get_variable("mean", initializer=x.mean())

    params, plain = (jscope.init(functools.partial(model, f), KEY(0), X) for f in (LIFTS[lift], plainly(lift)))
    chex.assert_trees_all_close(params, plain, rtol=1e-6)


def at_second(f, s, x, second="b"):
    """Runs a block at `a`, then at a second path."""
    return f(s / second, f(s / "a", x))


@pytest.mark.parametrize("lift", ["jit", "remat"])
def test_a_second_block_is_refused_where_a_first_would_be(lift):
    """With its own path in the message, and the path of what stands in its way."""
    f = LIFTS[lift](sized)
    with pytest.raises(errors.NameConflictError, match=r"(?s)`b` is a variable.*prefix of `b/w`"):
        jscope.specs(lambda s, x: (s.get_variable("b", (1,)), at_second(f, s, x)), X)
    with pytest.raises(errors.NameConflictError, match=r"(?s)`b/w` is a variable.*prefix of `b/w/w`"):
        jscope.specs(lambda s, x: (at_second(f, s, x), sized(s / "b/w", x)), X)
    with pytest.raises(errors.MissingVariableError, match=r"`b/w` does not exist"):
        jscope.specs(lambda s, x: at_second(f, s, f((s / "b").with_defaults(reuse=True), f(s / "a", x))), X)


SECOND = {"lifted": lambda f: f, "plain": lambda f: sized, "native": lambda f: jax.jit(sized)}


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("lift", ["jit", "remat"])
def test_a_block_that_did_not_run_is_not_created_twice(lift, second):
    """Neither through another entry of its path, nor by one scope value that is given to two calls."""
    f = LIFTS[lift](sized)
    g = SECOND[second](f)
    for path in ("a", "b"):
        for again in (
            lambda s, x: g(s / path, at_second(f, s, x)),  # noqa: B023
            lambda s, x: (b := s / path, f(s / "ab".replace(path, ""), x), g(b, f(b, x))),  # noqa: B023
        ):
            with pytest.raises(errors.DuplicateVariableError, match=f"`{path}/w` is created a second time"):
                jscope.specs(again, X)


@pytest.mark.parametrize("lift", LIFTS)
def test_what_a_block_would_have_created_is_there(lift):
    """For `reuse=True`, `has_variable`, free names, and assignments from outside."""

    def layer(s, x):
        s.get_variable("n", initializer=0.0, trainable=False)
        return sized(s, x)

    def model(s, x):
        x = everywhere(LIFTS[lift](layer), s, x)
        b = s / "b/0" if lift.startswith("layers") else s / "b"
        b.assign("n", jnp.float32(1))
        assert (b.has_variable("w"), b.unique("w"), b.unique("v")) == (True, "w_1", "v")
        return b.with_defaults(reuse=True).get_variable("w", (1,))

    jscope.specs(model, X)


@pytest.mark.parametrize("lift", mostly_slow(LIFTS))
def test_nothing_outlives_collecting(lift):
    """Neither a tracer nor a function is kept by what a block did."""

    def layer(s, x):
        return sized(s, x)

    ended, model = weakref.ref(layer), functools.partial(everywhere, LIFTS[lift](layer))
    with jax.checking_leaks():
        jscope.specs(model, X)
    del layer, model
    jax.clear_caches()
    gc.collect()
    assert ended() is None
