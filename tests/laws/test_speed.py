"""What speed is made of, as far as it can be counted: programs, traces, compilations, allocations. Nothing is timed."""

from __future__ import annotations

import gc
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import initializers
from tests.models import KEY, MODELS, X, linear, plain_linear

METADATA = re.compile(r", metadata=\{[^}]*\}|^HloModule.*$|^\d+ .*$", re.MULTILINE)
"""What a compiled program says of its source: names of operations, and the tables of files and functions."""


def block(scope, x):
    return jnp.tanh(linear(scope / "down", jnp.tanh(linear(scope / "up", x, 8)), x.shape[-1]))


def plain_block(p, x):
    return jnp.tanh(plain_linear(p["down"], jnp.tanh(plain_linear(p["up"], x))))


def stack(depth, layer):
    """A deep model; `layer` lets its block be jitted."""

    def model(scope, x):
        for i in range(depth):
            x = layer(scope / f"layer_{i}", x)
        return x

    return jscope.transform(model)


def plain_stack(depth, layer):
    def model(params, x):
        for i in range(depth):
            x = layer(params[f"layer_{i}"], x)
        return x

    return model


def train_step(apply):
    def step(params, x):
        loss, grads = jax.value_and_grad(lambda p: sum(jnp.sum(out**2) for out in jax.tree.leaves(apply(p, x))))(params)
        return jax.tree.map(lambda param, grad: param - 0.1 * grad, params, grads), loss

    return jax.jit(step)


def without_metadata(compiled):
    """The lines of a compiled program, without what it says of its source."""
    return [line for line in METADATA.sub("", compiled.as_text()).splitlines() if line.strip()]


def test_a_compiled_train_step_is_the_hand_written_one():
    """The optimized HLO is equal, up to metadata."""
    model = stack(3, block)
    params = model.init(KEY(0), X)
    scoped, plain = (train_step(f).lower(params, X).compile() for f in (model.apply, plain_stack(3, plain_block)))
    assert without_metadata(scoped) == without_metadata(plain)
    assert any("dot" in line for line in without_metadata(scoped)), "there is nothing left to compare"


@pytest.mark.parametrize("name", ["mlp", "attention", "rnn"])
def test_a_compiled_forward_pass_is_the_hand_written_one(name):
    """The same for models of the table."""
    model = MODELS[name]
    variables = model.init()
    scoped, plain = (
        jax.jit(lambda *args, f=f: f(*args)).lower(*variables, *model.args).compile()
        for f in (model.transformed.apply, model.plain)
    )
    assert without_metadata(scoped) == without_metadata(plain)


def test_equal_blocks_are_traced_and_lowered_once():
    """48 layers through one `jscope.jit` block: one trace, and a program of the size of the hand-written one."""
    traces = []

    def counted(scope, x):
        traces.append(scope)
        return block(scope, x)

    model, plain = stack(48, jscope.jit(counted)), plain_stack(48, jax.jit(plain_block))
    params = model.init(KEY(0), X)
    traces.clear()
    scoped = jax.jit(model.apply).lower(params, X).as_text()
    assert len(traces) == 1
    assert scoped.count("func.func private") == jax.jit(plain).lower(params, X).as_text().count("func.func private")
    assert len(scoped) <= 1.1 * len(jax.jit(plain).lower(params, X).as_text())


def test_apply_runs_the_function_once():
    """Eager, and under `jit` once for all calls."""
    runs = []

    def model(scope, x):
        runs.append(1)
        return block(scope, x)

    transformed = jscope.transform(model)
    params = transformed.init(KEY(0), X)
    assert len(runs) == 1, "collecting"
    transformed.apply(params, X)
    assert len(runs) == 2
    jitted = jax.jit(transformed.apply)
    for _ in range(3):
        jitted(params, X)
    assert len(runs) == 3


def many(count):
    """A model of `count` variables in tens."""

    def model(scope):
        for i in range(count // 10):
            part = scope / f"part_{i}"
            for j in range(10):
                part.get_variable(f"w{j}", (1,), initializer=initializers.zeros)

    return jscope.transform(model)


def test_apply_leaves_nothing_behind():
    """After warming up, a call of `apply` keeps no object alive, however many variables it reads."""
    model = many(1000)
    params = {f"part_{i}": {f"w{j}": np.zeros(1) for j in range(10)} for i in range(100)}
    counts = []
    for _ in range(6):
        model.apply(params)
        gc.collect()
        counts.append(sys.getallocatedblocks())
    assert min(counts[4:]) - counts[3] < 20


def calls(function):
    """The number of Python calls, of functions of Python and of C, that running `function` takes."""
    count = 0

    def profile(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_reading_a_variable_takes_a_few_calls():
    """In `apply`, for a variable and its share of a scope; the same for every one, however large the model."""
    per_variable = []
    for count in (1000, 3000):
        model = many(count)
        params = {f"part_{i}": {f"w{j}": np.zeros(1) for j in range(10)} for i in range(count // 10)}
        model.apply(params)
        per_variable.append(calls(lambda model=model, params=params: model.apply(params)) / count)
    assert max(per_variable) < 6
    assert abs(per_variable[1] - per_variable[0]) < 0.1


@pytest.mark.parametrize("work", [lambda model: model.specs(), lambda model: model.init(KEY(0))], ids=["specs", "init"])
def test_specs_and_init_grow_linearly(work):
    """Three times the variables take three times the Python calls."""
    work(many(100))
    one, three = (calls(lambda count=count: work(many(count))) for count in (1000, 3000))
    assert three < 3.3 * one
