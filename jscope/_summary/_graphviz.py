"""SVG by Graphviz: `pip install jscope[graph]`, and the program `dot`."""

from __future__ import annotations

try:
    import graphviz
except ImportError as e:
    raise ImportError("SVG images of a model need `pip install jscope[graph]`.") from e


def svg(dot: str) -> str:
    """Returns the image of a text in Graphviz's language."""
    try:
        return graphviz.Source(dot).pipe(format="svg", encoding="utf-8")
    except graphviz.ExecutableNotFound as e:
        raise ImportError("SVG images of a model need the program `dot`: https://graphviz.org/download/.") from e
