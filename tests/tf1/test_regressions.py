"""Programs that went wrong once, each standing for a kind."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from jscope import tf1
from tests.models import KEY

FAILING = {
    "an unknown size": lambda name: tf1.get_variable(name, [None, 3]),
    "no shape": lambda name: tf1.get_variable(name),
}


@pytest.mark.parametrize(("case", "later"), [("an unknown size", "x"), ("an unknown size", "y"), ("no shape", "y")])
def test_an_error_that_the_program_catches_leaves_nothing_behind(case, later):
    """It is the same error in `init` and in `apply`, and the name is free afterwards."""
    caught = []

    def model(x):
        with pytest.raises(ValueError) as raised:  # noqa: PT011
            FAILING[case]("x")
        caught.append(str(raised.value))
        return x * tf1.get_variable(later, [3], initializer=tf1.ones_initializer())

    apply = tf1.transform(model)
    params = apply.init(KEY(0), jnp.ones(3))
    assert list(params) == [later]
    assert (apply.apply(params, jnp.ones(3)) == 1).all()
    assert (jax.jit(apply.apply)(params, jnp.ones(3)) == 1).all()
    assert len(caught) == 3
    assert len(set(caught)) == 1
