"""One word, one thing: a function or class of the core is the only one of its name.

A reader who meets `describe` in one file and remembers it from another must be right about what it does. The law is for
the modules in `jscope/` itself, in `_util/`, `lift/` and `tree/`. Facades and formats repeat names by their nature.
"""

import ast
from collections import defaultdict

from tests.laws.test_architecture import TREES

CORE = [name for name in TREES if name.rpartition(".")[0] in ("", "_util", "lift", "tree")]

ALLOWED = {
    "names": "`tree.names` and `partitioners.names` are read with their namespaces: of leaves, of axes",
    "items": "`tree.items` lists what `_path.items` yields, after checking that it is a tree",
    "orthogonal": "Keras has both: a matrix to start from, and a penalty on being far from one",
}
"""Names that several namespaces have on purpose, each with its reason."""


def homes():
    """The modules in which each name of a function or class is defined, once for each definition."""
    homes = defaultdict(list)
    for module in CORE:
        for node in TREES[module].body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                homes[node.name].append(module)
    return homes


def test_no_name_is_defined_twice():
    """Private names count, too: those are the ones that a reader meets without a namespace."""
    repeated = {name: modules for name, modules in homes().items() if len(modules) > 1}
    unexplained = {name: modules for name, modules in repeated.items() if name not in ALLOWED}
    assert not unexplained, "\n".join(f"{name}: {', '.join(modules)}" for name, modules in unexplained.items())


def test_what_is_allowed_is_there():
    """An exception goes when its reason has gone."""
    assert {name for name, modules in homes().items() if len(modules) > 1} >= set(ALLOWED)
