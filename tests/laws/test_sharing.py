"""What counts as creating a variable twice, and what does not."""

from __future__ import annotations

import contextlib

import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import errors
from tests.crossed import crossed, mostly_slow
from tests.models import KEY, X, linear


def same(scope, x):
    """Keeps the shape, so that it can follow itself."""
    return linear(scope, x, x.shape[-1])


jitted = jax.jit(same)
rematted = jax.checkpoint(same)

DETECTED = {
    "in one trace": lambda s, x: same(s, same(s, x)),
    "under two entries": lambda s, x: same(s / "a", same(s / "a", x)),
    "in one inner trace": lambda s, x: jax.jit(lambda s, x: same(s, same(s, x)))(s / "a", x),
    "through another entry of the path": lambda s, x: jitted(s / "a", jitted(s / "a", x)),
    "through another entry, by closure": lambda s, x: jax.jit(lambda x: same(s / "a", same(s / "a", x)))(x),
    "of what the call's own trace created": lambda s, x: jitted(s, same(s, x)),
    "of what the call's own trace created, by closure": lambda s, x: jax.jit(lambda x: same(s, x))(same(s, x)),
    "by the call's own trace, of what a transform created": lambda s, x: same(s / "a", jitted(s / "a", x)),
}


def ones(scope, x):
    """Creates what `zeros` creates, with another initial value."""
    return x * helper(scope, jscope.initializers.ones)


def zeros(scope, x):
    return x + helper(scope, jscope.initializers.zeros)


def alike(scope, x):
    """Creates what `zeros` creates, by the same line, in another function."""
    return x - helper(scope, jscope.initializers.zeros)


def elsewhere(scope, x):
    """Creates what `zeros` creates, by another line."""
    return x - scope.get_variable("w", (3, 4), initializer=jscope.initializers.zeros)


def helper(scope, initializer):
    return scope.get_variable("w", (3, 4), initializer=initializer)


def scanned(body):
    return lambda s, x: jscope.scan(lambda s, c, _: (body(s, c), None), s, x, length=2, shared="")[0]


LIFTS = {
    "plain": lambda f: f,
    "remat": jscope.remat,
    "jit": jscope.jit,
    "scan": scanned,
    "vmap": lambda f: jscope.vmap(f, in_axes=None, out_axes=None, axis_size=2, variables="shared"),
    "cond": lambda f: lambda s, x: jscope.cond(True, f, f, s, x),
    "grad": lambda f: (
        lambda s, x: jscope.value_and_grad(lambda s, x: (x.sum(), f(s, x)), None, has_aux=True)(s, x)[0][1]
    ),
}
NATIVE = {"jax.jit": jax.jit, "jax.checkpoint": jax.checkpoint}


@pytest.mark.parametrize(
    "second", [ones, *(pytest.param(f, marks=pytest.mark.slow) for f in (zeros, alike, elsewhere))]
)
@pytest.mark.parametrize(("outer", "inner"), crossed(LIFTS, LIFTS))
def test_one_value_given_to_two_bodies_is_two_creations(inner, outer, second):
    """In any order, under lifts and plain: nothing is shared in silence, and no initializer dropped."""
    run = lambda s, x: LIFTS[outer](second)(s, LIFTS[inner](zeros)(s, x))  # noqa: E731
    with pytest.raises(errors.DuplicateVariableError, match="`w` is created a second time"):
        jscope.init(run, KEY(0), X)


@pytest.mark.parametrize("second", [ones, alike, elsewhere])
@pytest.mark.parametrize("outer", ["plain", *NATIVE])
@pytest.mark.parametrize("inner", NATIVE)
def test_another_request_under_native_transforms_is_a_second_creation(inner, outer, second):
    """Another initial value, another function, or another line: JAX's tracing again would repeat the first."""
    run = lambda s, x: NATIVE.get(outer, lambda f: f)(second)(s, NATIVE[inner](zeros)(s, x))  # noqa: E731
    with pytest.raises(errors.DuplicateVariableError, match="`w` is created a second time"):
        jscope.init(run, KEY(0), X)


@pytest.mark.parametrize("cond", [jax.lax.cond, jscope.cond])
@pytest.mark.parametrize("other", [alike, elsewhere])
def test_branches_may_create_one_variable(cond, other):
    """Only one of them runs; but they must agree on how it starts."""
    assert list(jscope.init(lambda s, x: cond(True, zeros, other, s, x), KEY(0), X)) == ["w"]
    with pytest.raises(errors.DuplicateVariableError, match="`w` is created a second time"):
        jscope.init(lambda s, x: cond(True, zeros, ones, s, x), KEY(0), X)


SHARED = {
    "one scope value given to two native calls": lambda s, x: (lambda a: jitted(a, jitted(a, x)))(s / "a"),
    "a closure traced twice": lambda s, x: (lambda f: jax.checkpoint(f)(jax.jit(f)(x)))(lambda x: same(s / "a", x)),
    "two branches": lambda s, x: jax.lax.cond(x.sum() > 0, same, lambda s, x: -same(s, x), s / "a", x),
    "a scan with a late carry": lambda s, x: jax.lax.scan(
        lambda c, _: ((same(s / "a", c[0]), jnp.float32(c[1])), None), (x, 1), None, length=2
    )[0][0],
    "AUTO_REUSE": lambda s, x: same(a := s.variable_scope("a", reuse=jscope.AUTO_REUSE), same(a, x)),
    "reuse=True": lambda s, x: same(s.variable_scope("a", reuse=True), same(s / "a", x)),
    "associative_scan under AUTO_REUSE": lambda s, x: jax.lax.associative_scan(
        lambda p, q: p + same(s.variable_scope("a", reuse=jscope.AUTO_REUSE), q), x
    ),
}


@pytest.mark.parametrize("case", DETECTED)
def test_a_second_creation_is_detected(case):
    """It is an error that names the path and both call sites."""
    with pytest.raises(
        errors.DuplicateVariableError, match=r"`(a/)?w` is created a second time at .*models.py:\d+; .*py:"
    ):
        jscope.init(DETECTED[case], KEY(0), X)


@pytest.mark.parametrize("case", SHARED)
def test_what_cannot_be_told_from_a_retrace_is_shared(case):
    """It gives one variable, and runs."""
    with jax.checking_leaks():
        params = jscope.init(SHARED[case], KEY(0), X)
        out = jscope.apply(SHARED[case], params, X)
    assert jscope.tree.names(params) == ["a/w", "a/b"]
    assert out.shape == X.shape


def test_associative_scan_needs_auto_reuse():
    """It calls its function several times in one trace, which is a second creation."""
    with pytest.raises(errors.DuplicateVariableError, match="AUTO_REUSE"):
        jscope.init(lambda s, x: jax.lax.associative_scan(lambda p, q: p + same(s / "a", q), x), KEY(0), X)


@pytest.mark.parametrize("lift", [lambda f: f, jscope.remat, jscope.jit, jax.checkpoint])
def test_a_path_may_be_a_param_and_a_prefix_of_state(lift):
    """Params and state are two trees, as `w` and `w/ExponentialMovingAverage` in TensorFlow's checkpoints."""

    def model(scope, x):
        w = scope.get_variable("w", (4,), initializer=jscope.initializers.ones)
        average = (scope / "w").get_variable("average", (4,), initializer=jscope.initializers.zeros, trainable=False)
        return x * (w + average)

    run = jscope.transform_with_state(lambda scope, x: lift(model)(scope / "a", x))
    params, state = run.init(KEY(0), X[0])
    assert jscope.tree.names(params) == ["a/w"]
    assert jscope.tree.names(state) == ["a/w/average"]
    assert (run.apply(params, state, X[0])[0] == X[0]).all()
    specs = run.specs(X[0])
    assert list(specs) == ["a/w", "a/w/average"]
    assert specs["a/w"].trainable
    assert list(specs["a"]) == ["w", "w/average"]
    assert list(specs.params.shape_dtype()["a"]) == list(specs.state.shape_dtype()["a"]) == ["w"]
    with pytest.raises(errors.NameConflictError, match=r"(?s)`a/w` is a param and a prefix .*`specs\.params`"):
        specs.shape_dtype()


def test_a_path_is_a_variable_or_a_prefix_within_one_tree():
    """In whichever order they come."""
    both = [lambda s: s.get_variable("w", (1,)), lambda s: (s / "w").get_variable("v", (1,))]
    for first, second in (both, both[::-1]):
        with pytest.raises(errors.NameConflictError, match=r"(?s)`w` is a variable .*Among the params"):
            jscope.init(lambda s, first=first, second=second: (first(s), second(s)), KEY(0))


BAD = {
    "a shape": lambda s: s.get_variable("x", (None, 3)),
    "a dtype": lambda s: s.get_variable("x", (3,), "float33"),
    "an initializer": lambda s: s.get_variable("x", (3,), initializer="glorot"),
    "axes": lambda s: s.get_variable("x", (3,), axes=("a", "b")),
    "a conflict": lambda s: (s / "there").get_variable("x", (3,)),
    "reuse": lambda s: s.with_defaults(reuse=True).get_variable("x", (3,)),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_request_that_failed_leaves_nothing(bad):
    """An error that the model catches creates no variable, and stands in nobody's way."""

    def model(scope):
        there = scope.get_variable("there", (2,))
        with contextlib.suppress(errors.JscopeError):
            BAD[bad](scope)
        return there, (scope / "x").get_variable("y", (2,)), scope.has_variable("x")

    params = jscope.init(model, KEY(0))
    assert jscope.tree.names(params) == ["there", "x/y"]
    assert not jscope.apply(model, params)[2]


@pytest.mark.parametrize(
    ("lift", "disabled"), crossed(["plain", "remat", "jit", "scan", "vmap", "grad"], [False, True])
)
def test_values_that_depend_on_data_come_after_any_lift(lift, disabled):
    """A lift over the same scope changes nothing about what is created after it."""

    def model(scope, x):
        x = LIFTS[lift](lambda s, x: x * s.get_variable("v", (3, 4)))(scope, x)
        return x - scope.get_variable("mean", initializer=x.mean(0, keepdims=True))

    def plain(scope, x):
        x = x * scope.get_variable("v", (3, 4))
        return x - scope.get_variable("mean", initializer=x.mean(0, keepdims=True))

    with jax.disable_jit(disabled):
        params = jscope.init(model, KEY(0), X)
    expected = jscope.init(plain, KEY(0), X)
    assert jscope.tree.names(params) == ["v", "mean"]
    # The scan multiplies twice.
    assert not jscope.tree.diff(params, expected, tolerance=1e-6) or lift == "scan"


NESTS = {
    "jax.lax.scan": lambda s, x: jax.lax.scan(lambda c, _: (same(s / "a", c), None), x, length=3)[0],
    "scan": lambda s, x: jscope.scan(lambda s, c, _: (same(s, c), None), s / "a", x, length=3)[0],
    "map": lambda s, x: jscope.map(lambda s, x: linear(s, x, 4), s / "a", x),
    "fori_loop": lambda s, x: jscope.fori_loop(0, 3, lambda s, i, x: same(s, x), s / "a", x),
    "layers": lambda s, x: jscope.layers(same, 3)(s / "a", x),
}


@pytest.mark.parametrize("nest", mostly_slow(NESTS, "jax.lax.scan", "layers"))
def test_init_works_where_jit_is_disabled(nest):
    """`jax.disable_jit` is how people debug; it unrolls loops of JAX, which would create variables again and again."""
    expected = jscope.init(NESTS[nest], KEY(0), X)
    with jax.disable_jit():
        assert not jscope.tree.diff(jscope.init(NESTS[nest], KEY(0), X), expected)
        assert jscope.apply(NESTS[nest], expected, X).shape == X.shape
