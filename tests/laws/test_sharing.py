"""What counts as creating a variable twice, and what does not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import errors
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

SHARED = {
    "one scope value given to two native calls": lambda s, x: (lambda a: jitted(a, jitted(a, x)))(s / "a"),
    "a closure traced twice": lambda s, x: (lambda f: jax.checkpoint(f)(jax.jit(f)(x)))(lambda x: same(s / "a", x)),
    "two branches": lambda s, x: jax.lax.cond(x.sum() > 0, same, lambda s, x: -same(s, x), s / "a", x),
    "a scan with a late carry": lambda s, x: jax.lax.scan(
        lambda c, _: ((same(s / "a", c[0]), c[1] * jnp.float32(1)), None), (x, 1.0), None, length=2
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
