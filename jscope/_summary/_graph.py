"""The scopes of a model and what flows between them, as a picture."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from jscope import _path
from jscope._summary._flow import Edges
from jscope._summary._names import Place
from jscope._summary._units import short
from jscope._util import _plain


@dataclass(frozen=True, slots=True)
class Graph:
    """A picture of a model: Graphviz text, and an SVG image made of it.

    >>> graph = jscope.summary(lambda scope, x: jscope.nn.dense(scope / "out", x, 2), jnp.ones((4, 3))).graph()
    >>> graph.dot.startswith("digraph")
    True

    Attributes:
      dot: The text, which any program that reads Graphviz's language draws.
    """

    dot: str

    def svg(self) -> str:
        """Returns an SVG image.

        Raises:
          ImportError: The package `graphviz`, or the program `dot` that it runs, is not installed.
        """
        # By name, so that only who wants an image needs the package.
        return importlib.import_module("jscope._summary._graphviz").svg(self.dot)

    def __str__(self) -> str:
        return self.dot

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        try:
            return {"image/svg+xml": self.svg(), "text/plain": self.dot}
        except ImportError:
            return {"text/plain": self.dot}


def graph_of(scopes: Sequence[tuple[Place, str, int]], edges: Edges) -> Graph:
    """Returns the picture of these scopes, each with a label and its number of params.

    An edge that ends in a scope that is not shown ends in the scope around it.
    """
    shown = {path: f"n{i}" for i, (path, _, _) in enumerate(scopes)}
    lines = [
        "digraph model {",
        '  node [shape=box, fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=10];',
    ]
    for path, label, params in scopes:
        size = [f"{short(params)} params"] if params else []
        lines.append(f"  {shown[path]} [label={_quoted(label, *size)}];")
    merged: dict[tuple[str, str], dict[str, None]] = {}
    for (maker, reader), types in edges.items():
        ends = _node(maker, shown), _node(reader, shown)
        if None not in ends and ends[0] != ends[1]:
            merged.setdefault((str(ends[0]), str(ends[1])), {}).update(types)
    for (maker, reader), types in merged.items():
        # A loop may hand on dozens, and Graphviz would make room for all.
        lines.append(f"  {maker} -> {reader} [label={_quoted(*list(types)[:3])}];")
    return Graph("\n".join([*lines, "}"]) + "\n")


def _node(place: Place, shown: dict[Place, str]) -> str | None:
    while place not in shown:
        if not place:
            return None
        place = _path.parent(place)
    return shown[place]


def _quoted(*lines: str) -> str:
    """Returns lines of text as Graphviz's language has them: names are shown as they are, and never read as markup."""
    # In a quoted string of Graphviz, a backslash begins an escape, of which `\n` is one, and `&` one of HTML's.
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})
    return '"' + "\\n".join(_plain.printable(line).translate(escapes) for line in lines) + '"'
