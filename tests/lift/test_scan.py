from __future__ import annotations

import functools
import operator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors
from tests.models import KEY, X

W = jnp.stack([jnp.eye(4) * (i + 1) for i in range(3)])


def times_w(scope, x, _=None):
    return x @ scope.get_variable("w", (4, 4)), x.sum()


def model(scope, x, **options):
    return jscope.scan(times_w, scope / "l", x, length=options.pop("length", 3), **options)


def count(scope, x, _=None):
    n = scope.get_variable("n", initializer=0, trainable=False)
    scope.assign("n", n + 1)
    return x, n


def stateful(body, **options):
    return jscope.transform_with_state(lambda s: jscope.scan(body, s / "l", jnp.zeros(()), length=3, **options)[1])


def test_reverse_runs_from_the_last():
    """`reverse=True` uses the last variables first; `y`s keep their places, as in `lax.scan`."""
    w = jnp.stack([jnp.eye(4), 2 * jnp.eye(4), 4 * jnp.eye(4)])
    out, ys = jscope.apply(model, {"l": {"w": w}}, X, reverse=True)
    expected = jax.lax.scan(lambda x, w: (x @ w, x.sum()), X, w, reverse=True)
    chex.assert_trees_all_close((out, ys), expected)


@pytest.mark.parametrize("unroll", [2, 3, True])
def test_unroll_changes_nothing(unroll):
    """However many iterations a step takes, the result is the same."""
    params = {"l": {"w": W}}
    chex.assert_trees_all_close(jscope.apply(model, params, X, unroll=unroll), jscope.apply(model, params, X))


def test_xs_are_any_pytree():
    """Each iteration gets one slice of every leaf of `xs`."""

    def body(scope, carry, x):
        return carry + x["a"][0] * scope.get_variable("w", ()), x["b"]

    xs = {"a": (jnp.arange(3.0),), "b": jnp.ones((3, 2))}
    run = jscope.transform(lambda s, xs: jscope.scan(body, s, 0.0, xs))
    assert run.init(KEY(0), xs)["w"].shape == (3,)
    total, bs = run.apply({"w": jnp.array([1.0, 2.0, 3.0])}, xs)
    chex.assert_trees_all_close((total, bs), (jnp.array(8.0), xs["b"]))


def test_length_may_be_what_the_variables_say():
    """In `apply` the stacked variables tell the number of iterations as well as `xs` and `length` do."""
    out, _ = jscope.apply(lambda s, x: jscope.scan(times_w, s, x), {"w": W}, X)
    chex.assert_trees_all_close(out, 6 * X)


def test_shared_variables_have_no_stacked_axis():
    """`shared=` is a regex for full paths; what it finds is one variable for all iterations."""

    def body(s, x, _):
        return times_w(s / "own", times_w(s / "tied", x)[0])

    specs = jscope.specs(lambda s, x: jscope.scan(body, s / "l", x, length=3, shared="/tied/"), X)
    assert specs["l/tied/w"].shape == (4, 4)
    assert specs["l/own/w"].shape == (3, 4, 4)


def test_shared_gradients_are_summed():
    """The gradient by a shared variable is the sum over iterations."""

    def loss(w, run):
        return jscope.apply(run, {"l": {"w": w}}, X)[0].sum()

    tied = jax.grad(loss)(W[1], lambda s, x: model(s, x, shared=""))
    own = jax.grad(loss)(jnp.stack([W[1]] * 3), model)
    chex.assert_trees_all_close(tied, own.sum(0), rtol=1e-5)


def test_shared_state_is_carried():
    """State that iterations share goes from one to the next."""
    run = stateful(count, shared="")
    assert run.init(KEY(0))[1]["l"]["n"].shape == ()
    ns, state = run.apply({}, {"l": {"n": jnp.asarray(5)}})
    assert ns.tolist() == [5, 6, 7]
    assert state["l"]["n"] == 8


def test_state_of_its_own_is_stacked():
    """State that is not shared has a copy for each iteration."""
    run = stateful(count)
    ns, state = run.apply({}, {"l": {"n": jnp.array([0, 10, 20])}})
    assert ns.tolist() == [0, 10, 20]
    assert state["l"]["n"].tolist() == [1, 11, 21]


def test_shared_and_stacked_state_go_together():
    """One body may carry some state and stack other."""

    def body(s, x, _):
        return x, (count(s / "all", x)[1], count(s / "own", x)[1])

    run = stateful(body, shared="/all/")
    (carried, stacked), state = run.apply({}, run.init(KEY(0))[1])
    assert (carried.tolist(), stacked.tolist()) == ([0, 1, 2], [0, 0, 0])
    assert (state["l"]["all"]["n"].tolist(), state["l"]["own"]["n"].tolist()) == (3, [1, 1, 1])


def test_shared_variables_keep_random_keys_apart():
    """Sharing variables does not share keys."""
    run = jscope.transform(
        lambda s: jscope.scan(lambda s, c, _: (c, jax.random.uniform(s.rng())), s, 0, length=4, shared="")
    )
    assert len(np.unique(run.with_rng(KEY(0)).apply({})[1])) == 4


def test_a_scan_without_iterations_returns_its_carry():
    """`length=0` runs nothing, as in `lax.scan`."""
    out, ys = jscope.apply(lambda s, x: jscope.scan(lambda s, x, _: (x, x), s, x, length=0), {}, X)
    chex.assert_trees_all_equal(out, X)
    assert ys.shape == (0, 3, 4)


def test_map_shares_variables():
    """`map` is a loop over slices with one set of variables."""
    run = jscope.transform(lambda s, x: jscope.map(lambda s, x: times_w(s, x)[0], s / "l", x))
    assert run.specs(X)["l/w"].shape == (4, 4)
    chex.assert_trees_all_close(run.apply({"l": {"w": W[1]}}, X), X @ W[1])


def test_map_may_stack_variables():
    """With `shared=None` each slice has variables of its own."""
    run = jscope.transform(lambda s, x: jscope.map(lambda s, x: times_w(s, x)[0], s, x, shared=None))
    chex.assert_trees_all_close(run.apply({"w": W}, X), X * jnp.array([[1.0], [2.0], [3.0]]))


def test_map_carries_state():
    """What one slice writes, the next one reads."""
    run = jscope.transform_with_state(lambda s, x: jscope.map(lambda s, x: count(s, x)[1], s, x))
    ns, state = run.apply({}, {"n": jnp.asarray(0)}, X)
    assert ns.tolist() == [0, 1, 2]
    assert state["n"] == 3


def test_layers_are_one_flag_from_unrolled():
    """`layers(scanned=...)` changes the form of the variables, not their values nor the output."""

    def run(scanned):
        f = jscope.transform(
            lambda s, x: jscope.layers(lambda s, x, a: times_w(s, x)[0] + a, 3, scanned=scanned)(s / "l", x, X)
        )
        params = f.init(KEY(0), X)
        return params, f.apply(params, X)

    (stacked, out), (unrolled, expected) = run(True), run(False)
    chex.assert_trees_all_equal(jscope.tree.unstack(stacked, at="l"), unrolled)
    chex.assert_trees_all_close(out, expected, rtol=1e-5)


def test_layers_name_their_axis():
    """`layers(axis=...)` names the stacked axis for shardings."""

    def body(s, x):
        return x * s.get_variable("w", (4,), axes=("d",)).sum()

    specs = jscope.specs(lambda s, x: jscope.layers(body, 3, axis="layer")(s / "l", x), X)
    assert specs["l/w"].axes == ("layer", "d")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda s, x, _: (x.astype(jnp.bfloat16), None), r"must have equal types(.|\n)*jscope\.scan.*`l`"),
        (lambda s, x, _: ((x, x), None), r"same pytree structure(.|\n)*jscope\.scan.*`l`"),
        (lambda s, x, _: x[:2], r"scan over the scope `l` must return a pair `\(carry, y\)`"),
    ],
)
@pytest.mark.parametrize("collect", [True, False])
def test_a_body_that_changes_the_carry_is_refused(body, message, collect):
    """JAX says what differs; jscope adds in which lift of which function, and where."""

    def run(s, x):
        return jscope.scan(body, s / "l", x, length=2)

    with pytest.raises(TypeError, match=message):
        jscope.init(run, KEY(0), X) if collect else jscope.apply(run, {}, X)


@pytest.mark.parametrize("collect", [True, False])
def test_a_layer_that_changes_its_input_is_named(collect):
    """Not what `layers` makes of it, which is all that JAX sees."""

    def wide(s, x):
        return jnp.concatenate([x, x], -1)

    def run(s, x):
        return jscope.layers(functools.partial(wide), 2)(s / "l", x)

    message = (
        r"component (c|loop\.carry)\[0\] has (.|\n)*`jscope\.layers` of `wide` \(.*test_scan.py:\d+\) over the .* `l`"
    )
    with pytest.raises(TypeError, match=message):
        jscope.init(run, KEY(0), X) if collect else jscope.apply(run, {}, X)


def test_length_must_agree_with_xs():
    """`length` and the leading axes of `xs` are one number."""
    with pytest.raises(errors.ShapeMismatchError, match=r"`l` needs one leading size.*length: 5, xs: 3\."):
        jscope.init(lambda s, x: jscope.scan(times_w, s / "l", x[0], x, length=5), KEY(0), X)


def test_xs_must_agree_with_each_other():
    """A disagreement names the leaves of `xs`."""
    with pytest.raises(errors.ShapeMismatchError, match=r"the root scope .*xs\['a'\]: 3, xs\['b'\]: no axis"):
        jscope.apply(lambda s, x: jscope.scan(times_w, s, x, {"a": x, "b": 1.0}), {}, X)


def test_the_number_of_iterations_must_be_known():
    """Without `xs`, `length` and variables there is nothing to count by."""
    with pytest.raises(errors.ShapeMismatchError, match="how often to run: give it `xs` or `length`"):
        jscope.init(lambda s, x: jscope.scan(times_w, s, x), KEY(0), X)


@pytest.mark.parametrize("length", [2.5, -1, "3", operator.add])
def test_length_must_be_a_count(length):
    """What is no natural number is refused, not rounded."""
    with pytest.raises(errors.InvalidArgumentError, match=r"must be a Python int, at least 0.*while_loop"):
        jscope.init(model, KEY(0), X, length=length)


def test_shared_must_be_a_regex():
    """A pattern that does not compile is refused where it is given."""
    with pytest.raises(errors.InvalidArgumentError, match=r"shared='\(' is not a regular expression"):
        jscope.init(model, KEY(0), X, shared="(")


def test_apply_creates_nothing():
    """A body that asks for a variable that the params lack is told its nearest name."""
    body = lambda s, x, _: (x @ s.get_variable("w", (4, 4)) @ s.get_variable("w2", (4, 4)), None)  # noqa: E731
    with pytest.raises(errors.MissingVariableError, match=r"`l/w2` .*Did you mean `l/w`"):
        jscope.apply(lambda s, x: jscope.scan(body, s / "l", x, length=3), {"l": {"w": W}}, X)


@pytest.mark.parametrize("depth", [3, 4])
def test_unrolled_params_ask_for_stack(depth):
    """A scan over the params of the unrolled model says to stack them, even where their sizes happen to fit."""
    params = {"l": {str(i): {"w": jnp.eye(4)} for i in range(depth)}}
    with pytest.raises(LookupError if depth == 4 else ValueError, match=r'jscope\.tree\.stack\(params, at="l"\)'):
        jscope.apply(model, params, X, length=depth)
    chex.assert_trees_all_close(jscope.apply(model, jscope.tree.stack(params, at="l"), X, length=depth)[0], X)


def test_stacked_params_ask_for_unstack_in_the_unrolled_model():
    """A loop over the params of the scanned model says to unstack them."""
    run = lambda s, x: jscope.layers(lambda s, x: times_w(s, x)[0], 3, scanned=False)(s / "l", x)  # noqa: E731
    params = {"l": {"w": W}}
    with pytest.raises(errors.MissingVariableError, match=r'jscope\.tree\.unstack\(params, at="l"\)'):
        jscope.apply(run, params, X)
    chex.assert_trees_all_close(jscope.apply(run, jscope.tree.unstack(params, at="l"), X), 6 * X)


def test_stacked_params_ask_for_unstack_where_shared():
    """Stacked params in a model that shares them: leave `shared=` out, or unstack and keep one."""
    with pytest.raises(errors.ShapeMismatchError, match=r'leave `shared=` out; `jscope\.tree\.unstack\(params, at="l"'):
        jscope.apply(model, {"l": {"w": W}}, X, shared="")


@pytest.mark.parametrize("length", [3, 4])
def test_shared_params_ask_for_stack_where_stacked(length):
    """Shared params in a model that stacks them: share them, or stack copies, even where their sizes happen to fit."""
    with pytest.raises(errors.ShapeMismatchError, match=r"name them by `shared=`(.|\n)*`jscope\.tree\.stack`"):
        jscope.apply(model, {"l": {"w": jnp.eye(4)}}, X, length=length)


@pytest.mark.parametrize("jitted", [False, True])
def test_no_layers_are_fine(jitted):
    """A stage of no blocks has variables of no elements, and changes nothing."""
    model = jscope.transform(lambda s, x: jscope.layers(lambda s, x: x @ s.get_variable("w", (4, 4)), 0)(s / "l", x))
    params = (jax.jit(model.init) if jitted else model.init)(KEY(0), X[0])
    assert params["l"]["w"].shape == (0, 4, 4)
    assert (model.apply(params, X[0]) == X[0]).all()
