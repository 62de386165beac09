"""What treescope shows of our values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import nn

treescope = pytest.importorskip("treescope")
# It looks for what NumPy 2.5 is about to remove.
pytestmark = pytest.mark.filterwarnings("ignore:The chararray class is deprecated:DeprecationWarning")
X = jnp.ones((2, 4))


def seen(within):
    """What treescope makes of the scope in which a layer is, while collecting and in `apply`."""
    texts = []

    def model(scope, x):
        y = nn.dense(scope / "block" / "hidden", x, 3)
        texts.append(treescope.render_to_text(scope / within if within else scope))
        return y

    params = jscope.init(model, jax.random.key(0), X)
    jscope.transform(model).with_rng(jax.random.key(0)).apply(params, X)
    return texts


def test_specs_are_a_mapping_of_specs():
    """Each can be unfolded, and its place be copied."""
    specs = jscope.specs(lambda scope: nn.dense(scope / "hidden", X, 3))
    text = treescope.render_to_text(specs)
    assert text.startswith("Specs({")
    assert "'hidden/kernel':" in text
    assert "VariableSpec(" in text
    assert "shape=(4, 3)" in text
    assert "object at 0x" not in text


def test_a_scope_shows_its_path_and_what_is_below_it():
    """Specs while collecting, arrays in `apply`, by their names in this scope; nothing of how it works inside."""
    collected, applied = seen("block")
    assert "path='block'" in collected
    assert "'hidden/kernel': VariableSpec(" in collected.replace("\n", "").replace("  ", "")
    assert "'hidden/bias':" in applied
    assert "has_rng=True" in applied
    assert not any("GetAttrKey" in text for text in (collected, applied))


def test_the_root_has_full_names():
    """They are those of the params."""
    _, applied = seen("")
    assert "path=''" in applied
    assert "'block/hidden/kernel':" in applied


def test_a_transformed_function_is_shown_by_its_name():
    """As its `repr` does."""

    def network(scope, x):
        return nn.dense(scope, x, 2)

    assert "network)" in treescope.render_to_text(jscope.transform(network))
    assert "network)" in treescope.render_to_text(jscope.transform_with_state(network))


def test_a_summary_shows_its_rows_and_its_table():
    """In a notebook the table is seen at once, and rows can be unfolded. Names are text there, whatever they are."""
    summary = jscope.summary(lambda scope, x: nn.dense(scope / "<script>alert(1)</script>", x, 3), X)
    text, page = treescope.render_to_text(summary), treescope.render_to_html(summary)
    assert "path='<script>alert(1)</script>'" in text
    assert "params=15" in text
    assert "<script>alert(1)" not in page
