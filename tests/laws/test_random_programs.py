"""Random programs compute the same plain, lifted, under JAX's own transforms, eager and jitted.

A program is a tree of layers, sequences, blocks under lifts (up to three deep), loops, and blocks that run twice.
Layers read and create variables, draw random keys, write state and sow. What a program gives without any lift is what
it has to give in every other form: params, outputs, random numbers, state, sown values and gradients.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import _path
from tests.crossed import mostly_slow
from tests.models import KEY

X = jnp.linspace(-1.0, 1.0, 4)
GETTERS = (None, jscope.getters.weight_norm("w$"), jscope.getters.freeze("b$"), jscope.getters.cast(jnp.float32))


@dataclass
class Node:
    """A part of a program: what it is, the name of its scope, and what is inside."""

    kind: str
    name: str = ""
    children: list[Any] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


def layer(node, scope, x):
    """Creates, reads, draws, writes and sows, as its options say."""
    options, scope = node.options, scope / node.name
    if options["getter"] is not None:
        scope = scope.with_defaults(custom_getter=options["getter"])
    w = scope.get_variable("w", (4, 4))
    y = jnp.tanh(x @ w) + scope.get_variable("b", (4,), initializer=jscope.initializers.normal(0.1))
    for _ in range(options["draws"]):
        y = y + 0.1 * jax.random.normal((scope / "noise").rng(), y.shape)
    if options["draws"]:
        y = y + 0.1 * jax.random.normal(scope.rng("own"), y.shape)
    if options["writes"]:
        n = scope.get_variable("n", (), initializer=jscope.initializers.zeros, trainable=False)
        scope.assign("n", n + y.sum())
        scope.sow("y", y.sum(), lambda old, new: old + new)
        y = y + n
    return y


LIFTS = {
    "remat": jscope.remat,
    "jit": jscope.jit,
    "cond": lambda f: lambda s, x: jscope.cond(True, f, f, s, x),
    "vjp": lambda f: lambda s, x: jscope.vjp(f, s, x)[0],
    "vmap": lambda f: (
        lambda s, x: jscope.vmap(f, in_axes=None, out_axes=None, axis_size=2, variables="shared", rng="shared")(s, x)
    ),
}
NATIVE = {
    "remat": jax.checkpoint,
    "jit": jax.jit,
    "cond": lambda f: lambda s, x: jax.lax.cond(True, f, f, s, x),
    "vjp": lambda f: lambda s, x: jax.vjp(lambda x: f(s, x), x)[0],
    "vmap": lambda f: jax.vmap(f, in_axes=None, out_axes=None, axis_size=2),
}
FORMS = {"plain": dict.fromkeys(LIFTS, lambda f: f), "lifted": LIFTS, "native": NATIVE}


def run(node, form, scope, x):
    """Runs a program in one of the forms; loops are unrolled but for the lifted form."""
    if node.kind == "layer":
        return layer(node, scope, x)
    if node.kind == "sequence":
        for child in node.children:
            x = run(child, form, scope, x)
        return x
    body = lambda s, x: run(node.children[0], form, s, x)  # noqa: E731
    if node.kind == "twice":
        x = body(scope.variable_scope(node.name, reuse=jscope.AUTO_REUSE), x)
        return body(scope.variable_scope(node.name, reuse=jscope.AUTO_REUSE), x)
    if node.kind == "loop":
        return jscope.layers(body, 2, scanned=form == "lifted")(scope / node.name, x)
    return FORMS[form][node.kind](body)(scope / node.name, x)


def made(seed, *, writes, depth):
    """Makes a random program: `depth` is how many lifts may stand inside of each other."""
    choose = random.Random(seed)
    # What is sown under `vmap` has an axis more than without it.
    lifts = [kind for kind in LIFTS if not (writes and kind == "vmap")]

    def node(depth, name):
        kinds = ["layer"] if not depth else ["layer", "sequence", "twice", "loop", *lifts, *lifts]
        kind = choose.choice(kinds)
        if kind == "layer":
            options = {
                "getter": choose.choice(GETTERS),
                "draws": choose.choice((0, 1, 2)),
                "writes": writes and choose.random() < 0.5,
            }
            return Node("layer", name, options=options)
        if kind == "sequence":
            return Node("sequence", "", [node(depth - 1, f"{name}{i}") for i in range(choose.choice((2, 3)))])
        return Node(kind, name, [node(depth - 1, f"{name}x")])

    # At the top a lift, so that there is something to see.
    return Node(
        "sequence", "", [Node(choose.choice([*lifts, "loop", "twice"]), "a", [node(depth - 1, "x")]), node(0, "b")]
    )


def loops(node, path=""):
    """The paths of the scanned loops of a program, outermost first, with an index in each loop around."""
    here = _path.join(path, node.name) if node.kind not in ("sequence", "layer") else path
    inner = [here] if node.kind != "loop" else [_path.join(here, str(i)) for i in range(2)]
    found = [here] if node.kind == "loop" else []
    return found + [loop for child in node.children for at in inner for loop in loops(child, at)]


def unrolled(program, tree):
    """What a scanned program gave, with the names of the unrolled one."""
    for at in loops(program):
        if _path.walk(tree, _path.parts(at)):
            tree = jscope.tree.unstack(tree, at=at)
    return tree


def outcome(program, form, *, jitted):
    """Output, params, new state, sown values and, if jitted, gradients, by the names of the unrolled program."""
    model = jscope.transform_with_state(lambda scope, x: run(program, form, scope, x))
    params, state = model.init(KEY(0), X)
    apply = model.with_rng(KEY(1)).capture().apply

    def loss(params):
        (out, sown), new = apply(params, state, X)
        return jnp.sum(out**2), (out, sown, new)

    with jax.checking_leaks():
        grads = params
        if jitted:
            (_, (out, sown, new)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        else:
            out, sown, new = loss(params)[1]
    trees = (params, new, sown, grads)
    return out, *(unrolled(program, tree) if form == "lifted" else tree for tree in trees)


def check(seed, *, writes, depth):
    program = made(seed, writes=writes, depth=depth)
    plain = {jitted: outcome(program, "plain", jitted=jitted) for jitted in (False, True)}
    chex.assert_trees_all_close(plain[True][:4], plain[False][:4], atol=1e-4, rtol=1e-4)
    for form in ("lifted",) if writes else ("lifted", "native"):
        for jitted in (False, True):
            chex.assert_trees_all_close(outcome(program, form, jitted=jitted), plain[jitted], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("writes", mostly_slow([True, False], True))
@pytest.mark.parametrize("seed", mostly_slow(range(3), 0))
def test_a_random_program_computes_the_same_in_every_form(seed, writes):
    """Plain, lifted and native, eager and jitted; with state and sown values, plain and lifted."""
    check(seed, writes=writes, depth=2)


@pytest.mark.slow
@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("seed", range(100, 100 + int(os.environ.get("JSCOPE_PROGRAMS", "12")) // 2))
def test_many_random_programs_compute_the_same_in_every_form(seed, writes):
    """The same for more, three lifts deep; as many as `JSCOPE_PROGRAMS` says."""
    check(seed, writes=writes, depth=3)
