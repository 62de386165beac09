"""Laws of the memory of one call."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import chex
import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import errors
from jscope._frame import Frame
from jscope._util._stack import call_site
from tests.models import KEY, MODELS, X, linear

FEW = ("mlp", "convnet", "siamese", "act_norm", "weight_normed", "tied", "rnn", "autoencoder")


def run(name):
    """Init and apply of one model."""
    model = MODELS[name]
    variables = model.init()
    return variables, model.transformed.apply(*variables, *model.args)


def test_eight_threads_give_what_one_gives():
    """Threads that run different models at once see nothing of each other."""
    alone = {name: run(name) for name in FEW}
    barrier = threading.Barrier(len(FEW))

    def together(name):
        barrier.wait()
        return run(name)

    with ThreadPoolExecutor(len(FEW)) as pool:
        chex.assert_trees_all_equal(dict(zip(FEW, pool.map(together, FEW), strict=True)), alone)


def test_threads_that_take_turns_inside_one_call_do_not_mix():
    """Two calls, each halfway through while the other goes on, record their own variables only."""
    barrier = threading.Barrier(2, timeout=20)

    def model(s, name):
        for i in range(3):
            barrier.wait()
            (s / name).get_variable(f"w{i}", (1,))

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: list(jscope.specs(model, name).flat()), ["a", "b"]))
    assert found == [[f"{name}/w{i}" for i in range(3)] for name in "ab"]


def test_asyncio_tasks_do_not_mix():
    """Tasks of one thread have a frame each, also one begun from within a call."""

    async def task(name):
        await asyncio.sleep(0)
        return list(jscope.specs(lambda s: (s / name).get_variable("w", (1,))).flat())

    async def main():
        return await asyncio.gather(*map(task, "abc"))

    assert asyncio.run(main()) == [["a/w"], ["b/w"], ["c/w"]]


def test_a_task_does_not_own_the_call_it_was_started_in():
    """A task inherits the context of its maker, but its scopes are not the task's to collect with."""

    async def main():
        raised = []

        async def other(scope):
            try:
                scope.get_variable("w", (1,))
            except errors.ScopeEndedError as error:
                raised.append(str(error))

        tasks = []
        jscope.specs(lambda s: tasks.append(asyncio.ensure_future(other(s))))
        await asyncio.gather(*tasks)
        return raised

    (error,) = asyncio.run(main())
    assert "another thread or asyncio task" in error


def test_calls_nest():
    """An `init` and an `apply` inside another call have variables of their own, and the outer one goes on."""

    def inner(s, x):
        return linear(s / "inner", x, 2)

    def outer(s, x):
        x = linear(s / "before", x, 4)
        params = jscope.init(inner, KEY(1), x)
        x = jscope.apply(inner, params, x)
        return linear(s / "after", x, 2)

    params = jscope.init(outer, KEY(0), X)
    assert jscope.tree.names(params) == ["before/w", "before/b", "after/w", "after/b"]
    chex.assert_trees_all_close(jax.jit(jscope.transform(outer).apply)(params, X), jscope.apply(outer, params, X))


def test_an_inner_call_reads_the_outer_scope_in_apply():
    """Reading needs no frame: a scope of the outer `apply` gives its params inside an inner one."""
    w = jnp.ones(2)
    assert jscope.apply(lambda s: jscope.apply(lambda _: s.get_variable("w"), {}), {"w": w}) is w


def test_a_scope_can_be_read_after_its_apply():
    """A kept scope of `apply` still gives what it was given."""
    kept, w = [], jnp.ones(2)
    jscope.apply(kept.append, {"w": w})
    assert kept[0].get_variable("w", (2,)) is w


def test_another_thread_may_read():
    """A scope of `apply` is a value: another thread reads it too."""
    w = jnp.ones(2)
    with ThreadPoolExecutor(1) as pool:
        assert jscope.apply(lambda s: pool.submit(s.get_variable, "w").result(), {"w": w}) is w


def test_a_call_that_fails_leaves_nothing_behind():
    """After an error there is no current frame, and the next call starts clean."""

    def broken(s):
        s.get_variable("w", (1,))
        with s / "a":
            raise RuntimeError("broken")

    for call in (lambda: jscope.specs(broken), lambda: jscope.apply(broken, {"w": jnp.ones(1)})):
        with pytest.raises(RuntimeError, match="broken"):
            call()
        assert Frame.current() is None
    assert list(jscope.specs(lambda s: s.get_variable("w", (1,))).flat()) == ["w"]


def test_a_trace_has_one_number_while_it_lasts():
    """The frame's own trace is 0; each tracing of a JAX transform gets a number of its own."""
    numbers = []
    with Frame(collecting=True) as frame:
        numbers.append(frame.trace())

        def inner(x):
            numbers.append(frame.trace())
            jax.make_jaxpr(lambda x: numbers.append(frame.trace()))(x)
            numbers.append(frame.trace())

        jax.make_jaxpr(inner)(1.0)
        jax.make_jaxpr(lambda x: inner(x))(1.0)
        numbers.append(frame.trace())
    assert numbers == [0, 1, 2, 1, 3, 4, 3, 0]


def test_counters_start_afresh_at_a_crossing():
    """The same scope value crosses twice and finds the same counters: what JAX caches stays true."""
    ran = []

    @jax.jit
    def block(s):
        ran.append(s.unique("a"))
        return s.rng()

    def model(s):
        b = s / "b"
        b.unique("a")
        return block(b), block(b)

    keys = jscope.transform(model).with_rng(KEY(0)).apply({})
    assert ran == ["a"]
    chex.assert_trees_all_equal(*map(jax.random.key_data, keys))


def test_call_sites_are_the_users():
    """The innermost Python frame outside jscope, as `file:line`."""
    assert "test_frame.py:" in call_site()
