"""What treescope shows of our values."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import nn

treescope = pytest.importorskip("treescope")
# It looks for what NumPy 2.5 is about to remove.
pytestmark = pytest.mark.filterwarnings("ignore:The chararray class is deprecated:DeprecationWarning")
X = jnp.ones((2, 4))


def seen(within, render=treescope.render_to_text):
    """What treescope makes of the scope around layers: while collecting, and in `apply` with a key and without."""
    texts = []

    def model(scope, x):
        y = nn.dense(scope / "block" / "hidden", x, 3)
        y = nn.batch_norm(scope / "block" / "norm", y, training=False)
        scope.get_variable("beside", ())
        texts.append(render(scope / within if within else scope))
        return y

    transformed = jscope.transform_with_state(model)
    params, state = transformed.init(jax.random.key(0), X)
    transformed.with_rng(jax.random.key(0)).apply(params, state, X)
    transformed.apply(params, state, X)
    return texts


def test_specs_are_a_mapping_of_specs():
    """Each can be unfolded, and its place be copied."""
    specs = jscope.specs(lambda scope: nn.dense(scope / "hidden", X, 3))
    text = treescope.render_to_text(specs)
    assert text.startswith("Specs({")
    assert "'hidden/kernel':" in text
    assert "VariableSpec(" in text
    assert "shape=(4, 3)" in text
    assert "'hidden/bias':" in text
    assert "object at 0x" not in text
    assert """data-copy="['hidden/bias']\"""" in treescope.render_to_html(specs, compressed=False)


def test_a_scope_shows_its_path_and_what_is_below_it():
    """Specs while collecting, arrays in `apply`, by their names in this scope; nothing of how it works inside."""
    collected, applied, without_a_key = seen("block")
    assert "path='block'" in collected
    assert "'hidden/kernel': VariableSpec(" in collected.replace("\n", "").replace("  ", "")
    assert "'hidden/bias':" in applied
    assert "'norm/moving_mean':" in applied
    assert "has_rng=True" in applied
    assert "has_rng=False" in without_a_key
    assert not any("beside" in text or "None:" in text for text in (collected, applied))


def test_there_is_no_path_to_a_variable_of_a_scope_that_could_be_copied():
    """It is not an attribute."""
    assert all("data-copy" not in page for page in seen("block", partial(treescope.render_to_html, compressed=False)))


def test_the_root_has_full_names():
    """They are those of the params."""
    _, applied, _ = seen("")
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
