"""What Graphviz itself makes of the pictures of models: it is asked where its program `dot` is installed."""

from __future__ import annotations

import re
import shutil
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import nn

pytest.importorskip("graphviz")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("dot") is None, reason="there is no `dot` here")]

SVG = "{http://www.w3.org/2000/svg}"
X = jax.ShapeDtypeStruct((2, 4), jnp.float32)
HOSTILE = [
    "<script>alert(1)</script>",
    '"]; evil [URL="javascript:alert(1)"',
    r"\N\G\L back\slash",
    "&lt;b&gt; &#60;",
    "<<b>html</b>>",
    "ünïcødé 模型",
]


def drawn(model):
    """The picture of a model: its text, and what is in the image."""
    graph = jscope.summary(model, X).graph()
    return graph, ElementTree.fromstring(graph.svg())


def parts(image, kind):
    """The texts of each node or edge."""
    groups = [group for group in image.iter(f"{SVG}g") if group.get("class") == kind]
    return [[text.text for text in group.iter(f"{SVG}text")] for group in groups]


def test_all_scopes_and_edges_are_drawn():
    """Each with its name and size, and with the types of what flows."""

    def model(scope, x):
        x = nn.dense(scope / "hidden", x, 8)
        return nn.dense(scope / "out", x, 3)

    graph, image = drawn(model)
    assert parts(image, "node") == [["hidden", "40 params"], ["out", "27 params"]]
    assert parts(image, "edge") == [["float32[2,8]"]]
    assert graph._repr_mimebundle_()["image/svg+xml"] == graph.svg()


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_only_text(name):
    """Whatever they are, they are shown as they are: no scripts, no links, no other nodes."""
    _, image = drawn(lambda scope, x: nn.dense(scope / name.replace("/", "|"), x, 3))
    assert parts(image, "node") == [[name.replace("/", "|"), "15 params"]]
    found = {element.tag.removeprefix(SVG) for element in image.iter()}
    assert found <= {"svg", "g", "title", "polygon", "text", "path", "ellipse"}
    attributes = {attribute for element in image.iter() for attribute in element.attrib}
    assert not [each for each in attributes if re.search(r"href|^on", each)]
