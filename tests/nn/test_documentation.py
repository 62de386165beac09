"""What `docs/layers.md` and `docs/compare.md` say of other libraries is so, in those that are installed."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from benchmarks import lines, times

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "layers.md").read_text("utf8")
COMPARED = (DOCS / "compare.md").read_text("utf8")
ROWS = [
    [re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|")]
    for line in PAGE.partition("## All layers")[2].splitlines()
    if line.startswith("| `") and not line.startswith("| `jscope.nn`")
]
ELSEWHERE = {  # Column, what must be installed, where its layers are.
    "Keras": (1, "keras", ("layers", "")),
    "Flax Linen": (2, "flax.linen", ("",)),
    "Haiku": (3, "haiku", ("",)),
    "Equinox": (4, "equinox", ("nn",)),
    "TensorFlow": (5, "tensorflow", ("compat.v1.layers",)),
}
NEEDS = {"jscope": "jscope", "haiku": "haiku", "linen": "flax", "nnx": "flax", "equinox": "equinox"}


@pytest.fixture(autouse=True)
def promotion():
    """Models are written as users write them: `x + b` broadcasts."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def exists(root, name):
    """Whether `a.b` is there; an n may stand for 1, 2 or 3 dimensions."""
    name = name.partition("(")[0]
    names = [name[:i] + d + name[i + 1 :] for i, letter in enumerate(name) if letter == "n" for d in "123"]
    return any(find(root, each) is not None for each in [name, *names])


def find(value, name):
    """Returns what `a.b` is in a module, or None."""
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def test_the_table_has_each_layer_once():
    """Every function of `jscope.nn` stands in the first column, and nothing else that is not there."""
    ours = [name for row in ROWS for name in row[0]]
    layers = [name for name in vars(jscope.nn) if not name.startswith("_") and name != "KVCache"]
    assert sorted(name for name in ours if "." not in name) == sorted(layers)
    assert all(exists(jscope, name) for name in ours if "." in name)


@pytest.mark.parametrize("library", ELSEWHERE)
def test_the_table_names_what_other_libraries_have(library):
    """Each name can be imported."""
    column, package, homes = ELSEWHERE[library]
    pytest.importorskip(package)
    roots = [find(import_module(package), home) if home else import_module(package) for home in homes]
    missing = [name for row in ROWS for name in row[column] if not any(exists(root, name) for root in roots)]
    assert not missing


def test_the_page_has_the_table_of_lines():
    """It is the one that `python -m benchmarks.lines` prints, and the page shows all that is counted."""
    assert lines.table() in COMPARED
    written = re.findall(r"literalinclude\} \.\./benchmarks/written/(\w+)\.py", COMPARED)
    assert written == [f"{model}_{library}" for model in lines.MODELS for library in lines.LIBRARIES]


@pytest.mark.slow
@pytest.mark.parametrize("library", [library for library in lines.LIBRARIES if library != "jscope"])
@pytest.mark.parametrize("model", lines.MODELS)
def test_models_whose_lines_are_counted_run(model, library):
    """In training and in evaluation, with the parameters that ours has."""
    pytest.importorskip(NEEDS[library])
    sizes = lines.SMALL[model]
    expected, logits = lines.run(model, "jscope", False, **sizes)
    for training in (False, True):
        found, out = lines.run(model, library, training, **sizes)
        assert found == expected
        assert out.shape == logits.shape
        assert np.isfinite(out).all()


@pytest.mark.slow
def test_models_whose_lines_are_counted_are_timed():
    """By the program that printed the table on the page."""
    assert all(0 < seconds < 100 for seconds in times.measure("mlp", "jscope"))
    assert all(f"| first `init` of a {name} |" in COMPARED for name in lines.MODELS.values())


@pytest.mark.slow
@pytest.mark.parametrize("library", lines.LIBRARIES)
@pytest.mark.parametrize("model", lines.MODELS)
def test_models_whose_lines_are_counted_are_those_published(model, library):
    """They have the parameters that the page says, in the size that they have by default."""
    pytest.importorskip(NEEDS[library])
    sizes = []
    jax.eval_shape(lambda: sizes.append(lines.run(model, library, True)[0]) or jnp.zeros(()))
    assert f"{sizes[0]:,}" in COMPARED
