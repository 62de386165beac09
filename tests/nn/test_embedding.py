"""Tables of vectors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import getters, nn
from jscope.errors import InvalidArgumentError, MissingVariableError

KEY = jax.random.key(0)
IDS = jnp.array([[2, 0, 1]])


def tied(scope, ids):
    return nn.unembed(scope / "tokens", nn.embedding(scope / "tokens", ids, 5, 4), 5)


def test_logits_are_products_with_the_table():
    """One variable serves both directions, and gets the gradients of both."""
    params = jscope.init(tied, KEY, IDS)
    table = params["tokens"]["embeddings"]
    assert jscope.tree.names(params) == ["tokens/embeddings"]
    assert jnp.allclose(jscope.apply(tied, params, IDS), table[IDS] @ table.T, atol=1e-6)


@pytest.mark.parametrize("getter", [getters.weight_norm(), getters.lora(2), getters.cast(jnp.bfloat16)])
def test_a_tied_table_may_have_a_getter(getter):
    """The same one in both directions."""
    f = lambda scope, ids: tied(scope.with_defaults(custom_getter=getter), ids)  # noqa: E731
    out = jscope.apply(f, jscope.init(f, KEY, IDS), IDS)
    assert out.shape == (1, 3, 5)
    assert jnp.isfinite(out).all()


def test_an_id_that_is_not_in_the_table_shows():
    """It gives NaNs, and no other row does."""
    params = {"embeddings": jnp.ones((5, 4))}
    out = jscope.apply(nn.embedding, params, jnp.array([4, 5]), 5, 4)
    assert jnp.isfinite(out[0]).all()
    assert jnp.isnan(out[1]).all()


def test_a_table_is_split_by_its_vocabulary():
    """Unless other names are given, or the scope's partitioner is to say."""
    assert jscope.specs(nn.embedding, IDS, 5, 4)["embeddings"].axes == ("vocab", "embed")
    assert jscope.specs(nn.embedding, IDS, 5, 4, axes=None)["embeddings"].axes is None


def test_bad_input_is_refused():
    """Ids that are not ints; a table that is not there, or has another shape."""
    with pytest.raises(InvalidArgumentError, match=r"`nn\.embedding` in the root scope: the ids are float32"):
        jscope.specs(nn.embedding, jnp.ones((2, 3)), 5, 4)
    with pytest.raises(InvalidArgumentError, match="`input_dim` is 0"):
        jscope.specs(nn.embedding, IDS, 0, 4)
    with pytest.raises(MissingVariableError, match="`tokens/embeddings` does not exist"):
        jscope.specs(lambda scope: nn.unembed(scope / "tokens", jnp.ones((2, 4)), 5))
