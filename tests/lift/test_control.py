from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors
from tests.models import KEY, X


def counter(scope):
    return scope.get_variable("n", initializer=0, trainable=False)


def add(amount):
    """Returns a branch that adds to the counter."""

    def branch(s, *xs):
        s.assign("n", s.get_variable("n", (), jnp.int32, trainable=False) + amount)
        return sum(xs, 0.0)

    return branch


def counting(run):
    """Returns a model that creates a counter, then runs `run(scope, *args)` below it."""

    def model(scope, *args):
        counter(scope / "a")
        return run((scope / "a").with_defaults(reuse=True), *args)

    return jscope.transform_with_state(model)


STATE = {"a": {"n": jnp.asarray(5)}}


@pytest.mark.parametrize(("pred", "expected"), [(True, 6), (False, 5)])
def test_cond_writes_the_state_of_the_branch_taken(pred, expected):
    """Only the branch that runs writes; one that writes nothing keeps the state."""
    run = counting(lambda s, p: jscope.cond(p, add(1), lambda s: 0.0, s))
    run.init(KEY(0), pred)
    assert run.apply({}, STATE, jnp.asarray(pred))[1]["a"]["n"] == expected


@pytest.mark.parametrize("index", [0, 1, 2])
def test_switch_writes_the_state_of_the_branch_taken(index):
    """`switch` picks one of several, with operands."""
    run = counting(lambda s, i: jscope.switch(i, [add(1), add(10), add(100)], s, 2.0, 3.0))
    out, state = run.apply({}, STATE, jnp.asarray(index))
    assert (float(out), int(state["a"]["n"])) == (5.0, 5 + 10**index)


def test_branches_may_create_params_of_their_own():
    """Params of all branches are created, whichever is taken."""

    def branch(name):
        return lambda s, x: x * s.get_variable(name, ())

    run = jscope.transform(lambda s, x: jscope.cond(x.sum() > 0, branch("yes"), branch("no"), s / "a", x))
    params = run.init(KEY(0), X)
    assert jscope.tree.names(params) == ["a/yes", "a/no"]
    chex.assert_trees_all_close(run.apply(params, X + 5), (X + 5) * params["a"]["yes"], rtol=1e-6)


def test_branches_share_what_both_ask_for():
    """A variable that both branches ask for is one variable."""
    run = jscope.transform(lambda s: jscope.switch(0, [lambda s: s.get_variable("w", ())] * 2, s))
    assert jscope.tree.names(run.init(KEY(0))) == ["w"]


def weigh(s, x):
    return x * s.get_variable("w", ())


def skip(s, x):
    return x


NESTED = {
    "in both": lambda s, x, inner: jscope.cond(x > 0, inner, inner, s, x),
    "in the first": lambda s, x, inner: jscope.cond(x > 0, inner, weigh, s, x),
    "in the second": lambda s, x, inner: jscope.cond(x > 0, weigh, inner, s, x),
    "in the last of three": lambda s, x, inner: jscope.switch(2, [weigh, skip, inner], s, x),
}


@pytest.mark.parametrize("around", [lambda f: f, jscope.remat, jscope.jit], ids=["plain", "remat", "jit"])
@pytest.mark.parametrize("where", NESTED)
def test_branches_in_branches_share_what_only_one_of_them_asks_for(where, around):
    """However deep each stands: of two branches of one call only one runs."""
    inner = lambda s, x: jscope.cond(x > 1, weigh, skip, s, x)  # noqa: E731
    model = jscope.transform(around(lambda s, x: NESTED[where](s / "a", x, inner)))
    assert jscope.tree.names(model.init(KEY(0), 2.0)) == ["a/w"]
    chex.assert_trees_all_close(model.apply({"a": {"w": jnp.asarray(3.0)}}, jnp.asarray(2.0)), 6.0)


@pytest.mark.parametrize(
    "branch",
    [
        lambda s, x: weigh(s, jscope.cond(x > 1, weigh, skip, s, x)),
        lambda s, x: jscope.cond(x > 1, weigh, skip, s, jscope.cond(x > 2, weigh, skip, s, x)),
        lambda s, x: weigh(s, weigh(s, x)),
    ],
    ids=["inside and after", "in two calls", "twice"],
)
def test_one_branch_makes_a_variable_once(branch):
    """Two requests that both run are two creations, also where branches are around them."""
    with pytest.raises(errors.DuplicateVariableError, match="`w` is created a second time"):
        jscope.init(lambda s, x: jscope.cond(x > 0, branch, skip, s, x), KEY(0), 2.0)


def test_while_loop_carries_state():
    """Each iteration reads what the one before wrote; the condition reads it, too."""
    run = counting(
        lambda s: jscope.while_loop(
            lambda s, v: s.get_variable("n", (), jnp.int32, trainable=False) < 9,
            lambda s, v: v + add(1)(s) + 1.0,
            s,
            0.0,
        )
    )
    run.init(KEY(0))
    out, state = run.apply({}, STATE)
    assert (float(out), int(state["a"]["n"])) == (4.0, 9)


@pytest.mark.parametrize("bounds", [(2, 5), (np.int32(2), np.int32(5))])
def test_fori_loop_carries_state(bounds):
    """The index runs from `lower` to `upper`, state along with it."""
    run = counting(lambda s: jscope.fori_loop(*bounds, lambda s, i, v: (add(1)(s), v + i)[1], s, 0))
    out, state = run.apply({}, STATE)
    assert (int(out), int(state["a"]["n"])) == (9, 8)


def test_fori_loop_unrolls():
    """`unroll` changes nothing but the program."""
    run = lambda unroll: counting(  # noqa: E731
        lambda s: jscope.fori_loop(0, 4, lambda s, i, v: (add(1)(s), v * 2)[1], s, 1, unroll=unroll)
    ).apply({}, STATE)
    chex.assert_trees_all_equal(run(2), run(None))


def test_fori_loop_takes_traced_bounds():
    """Bounds may be computed."""
    run = counting(lambda s, n: jscope.fori_loop(0, n, lambda s, i, v: (add(1)(s), v)[1], s, 0))
    assert jax.jit(run.apply)({}, STATE, 3)[1]["a"]["n"] == 8


@pytest.mark.parametrize("loop", ["while", "fori"])
def test_iterations_draw_keys_of_their_own(loop):
    """Each iteration of an open loop has random numbers of its own: those of a scan over as many."""

    def write(s, i, v):
        return v.at[i].set(jax.random.uniform(s.rng()))

    def while_body(s, loop):
        return loop[0] + 1, write(s, *loop)

    runs = {
        "fori": lambda s: jscope.fori_loop(0, 4, write, s, jnp.zeros(4)),
        "while": lambda s: jscope.while_loop(lambda s, v: v[0] < 4, while_body, s, (0, jnp.zeros(4)))[1],
        "scan": lambda s: jscope.scan(lambda s, c, _: (c, jax.random.uniform(s.rng())), s, 0, length=4)[1],
    }
    drawn, scanned = (jscope.transform(runs[name]).with_rng(KEY(0)).apply({}) for name in (loop, "scan"))
    assert len(np.unique(drawn)) == 4
    chex.assert_trees_all_equal(drawn, scanned)


def test_loops_create_shared_variables():
    """Variables created in a loop's body have no more axes: all iterations share them."""
    run = jscope.transform(lambda s, x: jscope.fori_loop(0, 3, lambda s, i, x: x @ s.get_variable("w", (4, 4)), s, x))
    assert run.init(KEY(0), X)["w"].shape == (4, 4)
    chex.assert_trees_all_close(run.apply({"w": 2 * jnp.eye(4)}, X), 8 * X)


@pytest.mark.parametrize(
    "run",
    [
        lambda s, *branches: jscope.cond(True, *branches, s),
        lambda s, *branches: jscope.switch(0, branches, s),
    ],
)
def test_branches_that_create_different_state_are_refused(run):
    """The error names what each branch creates."""
    branches = [lambda s: counter(s / "a") * 0, lambda s: counter(s / "b") * 0]
    with pytest.raises(
        errors.StateError, match=r"scope `x` create different state: branch 0 `x/a/n`, branch 1 `x/b/n`"
    ):
        jscope.transform_with_state(lambda s: run(s / "x", *branches)).init(KEY(0))


@pytest.mark.parametrize(
    "run",
    [
        lambda s, x, *branches: jscope.cond(True, *branches, s, x),
        lambda s, x, *branches: jscope.switch(0, branches, s, x),
    ],
)
def test_branches_that_sow_differently_are_refused(run):
    """Where it is captured: whichever is taken, there must be a value. Other errors stay what they are."""

    def sowing(s, x):
        s.sow("m", x.mean())
        return x

    model = jscope.transform(lambda s, x: run(s / "c", x, sowing, lambda s, x: x))
    chex.assert_trees_all_equal(model.apply({}, X), X)
    for apply in (model.capture("m").apply, jax.jit(model.capture("m").apply)):
        with pytest.raises(errors.StateError, match=r"scope `c` sow different .*: branch 0 `c/m`, branch 1 none\.\n"):
            apply({}, X)
    with pytest.raises(TypeError, match="equal output types"):
        jscope.transform(lambda s, x: run(s, x, sowing, lambda s, x: sowing(s, x)[0])).capture("m").apply({}, X)


def test_a_branch_that_creates_no_state_beside_one_that_does_is_refused():
    """None is different, too."""
    with pytest.raises(errors.StateError, match=r"root scope .*branch 0 none, branch 1 `n`\.\nCreate state before"):
        jscope.transform_with_state(lambda s: jscope.cond(True, lambda s: 0, lambda s: counter(s) * 0, s)).init(KEY(0))


@pytest.mark.parametrize("collect", [True, False])
def test_branches_of_different_types_are_refused(collect):
    """JAX says what differs; jscope adds which functions of the user these are, and where."""

    def other(s):
        return 1.0

    run = jscope.transform(lambda s: jscope.cond(True, lambda s: 0, other, s / "a"))
    note = r"in `jscope\.cond` of `<lambda>` \(.*test_control.py:\d+\), `other` \(.*:\d+\) over the scope `a`"
    with pytest.raises(TypeError, match=rf"equal output types(.|\n)*{note}"):
        run.init(KEY(0)) if collect else run.apply({})


def test_a_condition_creates_nothing():
    """A variable in the condition of a loop has to exist before."""
    run = lambda s: jscope.while_loop(lambda s, v: v < s.get_variable("w", ()), lambda s, v: v + 1, s / "a", 0.0)  # noqa: E731
    with pytest.raises(errors.InvalidArgumentError, match=r"`a/w` would be created in the condition of a while_loop"):
        jscope.init(run, KEY(0))


def test_a_condition_writes_nothing():
    """A condition that writes is named with what it writes."""
    run = counting(lambda s: jscope.while_loop(lambda s, v: add(1)(s) < 0, lambda s, v: v, s, 0.0))
    with pytest.raises(errors.NativeTransformError, match=r"scope `a` writes `a/n`\.\nOnly the body may write"):
        run.apply({}, STATE)


@pytest.mark.parametrize(
    "run",
    [
        lambda s: jscope.fori_loop(0, 2, lambda s, i, v: (s.sow("y", v), v)[1], s, 0.0),
        lambda s: jscope.while_loop(lambda s, v: v < 2, lambda s, v: (s.sow("y", v), v + 1)[1], s, 0.0),
    ],
)
def test_open_loops_sow_nothing(run):
    """There is no place for one value per iteration; the error tells what has one."""
    with pytest.raises(errors.NativeTransformError, match=r"`a/y` is sown inside .*\nUse `jscope\.scan`"):
        jscope.transform(lambda s: run(s / "a")).capture().apply({})


@pytest.mark.parametrize(
    "run",
    [
        lambda s: jscope.fori_loop(0, 2, lambda s, i, v: (v, v), s, 0.0),
        lambda s: jscope.while_loop(lambda s, v: True, lambda s, v: (v, v), s, 0.0),
    ],
)
def test_a_loop_that_changes_its_value_is_refused(run):
    """JAX says what differs, by a name that is not jscope's own; jscope adds of which function, and where."""
    where = r"_loop` of .*`<lambda>` \(.*test_control.py:\d+\) over the scope `a`"
    with pytest.raises(TypeError, match=rf"same pytree structure(.|\n)*{where}"):
        jscope.init(lambda s: run(s / "a"), KEY(0))
    with pytest.raises(TypeError, match=rf"component \S+\.carry is a (.|\n)*{where}"):
        jscope.apply(lambda s: run(s / "a"), {})


@pytest.mark.parametrize(
    "run",
    [
        lambda f, s: jscope.cond(True, f, f, s),
        lambda f, s: jscope.while_loop(lambda s, v: v < 1, lambda s, v: f(s), s, 0.0),
        lambda f, s: jscope.fori_loop(0, 1, lambda s, i, v: f(s), s, 0.0),
    ],
)
def test_apply_creates_nothing(run):
    """A body that asks for a variable that the params lack is told its path."""
    with pytest.raises(errors.MissingVariableError, match="`a/w` is not in the params"):
        jscope.apply(lambda s: run(lambda s: s.get_variable("w", ()), s / "a"), {"a": {"v": 1.0}})
