"""What `docs/porting.md` shows of other libraries runs there, has the arrays it says, and computes the same here.

    pip install -e ".[oracle,test]"
    python -m pytest -m oracle tests/checkpoint/oracle

PyTorch is not among what that installs; where it is, it is asked, too.
"""

from __future__ import annotations

import re
from pathlib import Path

import jax
import numpy as np
import pytest

pytestmark = pytest.mark.oracle

PAGE = (Path(__file__).parents[3] / "docs/porting.md").read_text("utf8")
START, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
PARTS = {text.partition("\n")[0]: text for text in SECTIONS}
LIBRARIES = {"Haiku": "haiku", "Flax Linen": "flax", "Flax NNX": "flax", "Equinox": "equinox", "PyTorch": "torch"}


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def shapes(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): (np.shape(leaf), np.asarray(leaf).dtype.kind) for path, leaf in leaves}


def test_all_sections_are_tested():
    """Each section that has code of a library."""
    assert [name for name, text in PARTS.items() if blocks(text, "py")] == list(LIBRARIES)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_and_its_port_give_the_same(name):
    """Its arrays have the names, shapes and kinds of dtypes that the page shows; from them come its logits."""
    pytest.importorskip(LIBRARIES[name])
    here = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for code in blocks(START, "python"):
            exec(code, here)
        there = {each: here[each] for each in ("jax", "jnp", "key", "images")}
        (shown,) = blocks(PARTS[name], "py")
        exec(shown, there)
        documented, port = blocks(PARTS[name], "python")
        exec(documented, here)
        assert shapes(here["theirs"]) == shapes(there["theirs"])
        here["theirs"] = there["theirs"]
        exec(port, here)
        logits, _ = here["model"].apply(here["params"], here["state"], here["images"], training=False)
    assert np.abs(there["logits"]).max() > 0.01
    np.testing.assert_allclose(logits, there["logits"], rtol=1e-4, atol=1e-5)
