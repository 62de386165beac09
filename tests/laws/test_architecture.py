"""The floors of jscope, and the sizes of its rooms.

Imports go down the floors, at the top of the file. Modules are found through `jscope.__path__`, so that the laws hold
for an installed wheel, too.
"""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

import jscope

# A package stands for its modules, which may also import each other, without cycles.
FLOOR = {
    "_errors": 0,
    "_types": 0,
    "_stack": 0,
    "_text": 1,
    "_diff": 1,
    "_same": 0,
    "_lazy": 0,
    "_pause": 0,
    "_placed": 0,
    "_threefry": 0,
    "_path": 1,
    "_show": 2,
    "_getter": 1,
    "_defaults": 1,
    "initializers": 1,
    "regularizers": 1,
    "constraints": 1,
    "partitioners": 1,
    "_rng": 2,
    "_spec": 2,
    "tree": 2,
    "getters": 2,
    "_frame": 3,
    "_request": 3,
    "_json": 3,
    "_check": 3,
    "_lookup": 4,
    "_materialize": 4,
    "_write": 4,
    "_record": 5,
    "_specs": 5,
    "_scope": 6,
    "_collect": 7,
    "_transform": 8,
    "lift": 9,
    "sharding": 9,
    "summary": 9,
    "tf1": 9,
    "nn": 9,
    "checkpoint": 10,
    "interop": 10,
    "cli": 11,
    "__main__": 12,
    "": 11,
}
"""The floor of each module; `""` is `jscope/__init__.py`."""

OPTIONAL = {
    "safetensors",
    "optax",
    "flax",
    "haiku",
    "orbax",
    "tensorflow",
    "sklearn",
    "matplotlib",
    "tqdm",
    "rich",
    "equinox",
    "scipy",
    "google_crc32c",
    "ml_dtypes",
}
# What prints, words, encodes and compares knows nothing of scopes; `_getter` belongs to the getters, `_diff` to trees.
HELPERS = {
    "_diff",
    "_text",
    "_show",
    "_json",
    "_check",
    "_same",
    "_stack",
    "_getter",
    "_lazy",
    "_pause",
    "_placed",
    "_threefry",
}

ROOT = Path(next(iter(jscope.__path__)))
FILES = {path.relative_to(ROOT).with_suffix("").as_posix(): path for path in sorted(ROOT.rglob("*.py"))}
MODULES = {name.removesuffix("__init__").removesuffix("/").replace("/", "."): path for name, path in FILES.items()}
TREES = {name: ast.parse(path.read_text(encoding="utf8")) for name, path in MODULES.items()}


def imported(tree):
    """Yields the full names of what a module imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("jscope.") in MODULES else node.module


def own_imports(name):
    """The modules of jscope that a module imports."""
    names = {full for full in imported(TREES[name]) if full.partition(".")[0] == "jscope"}
    return {full.removeprefix("jscope").removeprefix(".") for full in names}


def floor(name):
    """The floor of a module, or of the package that it is in."""
    return FLOOR[name] if name in FLOOR else FLOOR[name.partition(".")[0]]


def same_package(name, other):
    return "." in name + other and name.partition(".")[0] == other.partition(".")[0]


def test_every_module_has_a_floor():
    """A new module says where it belongs."""
    homeless = [name for name in MODULES if name not in FLOOR and name.partition(".")[0] not in FLOOR]
    assert not homeless, f"give these a floor in {__file__}: {homeless}"


def test_imports_go_down_the_floors():
    """Never up, and never sideways, but within a package."""
    climbs = [
        f"{name} (floor {floor(name)}) imports {other} (floor {floor(other)})"
        for name in MODULES
        for other in own_imports(name)
        if floor(other) >= floor(name) and not same_package(name, other)
    ]
    assert not climbs, "\n".join(climbs)


def test_there_is_no_import_cycle():
    """Packages included."""
    done, path = set(), []

    def visit(name):
        assert name not in path, " imports ".join([*path[path.index(name) :], name])
        if name not in done:
            path.append(name)
            for other in own_imports(name):
                visit(other)
            done.add(path.pop())

    for name in MODULES:
        visit(name)


def test_imports_stand_at_the_top():
    """No function hides one."""
    hidden = [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not hidden, hidden


def test_only_public_jax_is_used():
    """Neither imported nor reached by attribute, and `jax.experimental` in no core module."""
    private = [name for name in MODULES for full in imported(TREES[name]) if full.startswith(("jax._src", "jaxlib"))]
    private += [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "_src"
    ]
    assert not private, private


def test_an_optional_dependency_has_a_module_to_itself():
    """No two modules import one, and nothing of the core does."""
    users = {}
    for name, tree in TREES.items():
        for full in imported(tree):
            if (package := full.partition(".")[0]) in OPTIONAL:
                users.setdefault(package, set()).add(name)
    crowded = {package: names for package, names in users.items() if len(names) > 1 or any(floor(n) < 9 for n in names)}
    assert not crowded, crowded


@pytest.mark.parametrize("name", MODULES)
def test_a_file_is_one_idea(name):
    """At most 350 lines, with a docstring that says what to believe."""
    assert len(MODULES[name].read_text(encoding="utf8").splitlines()) <= 350
    assert ast.get_docstring(TREES[name])


def body_lines(function):
    """The number of lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_functions_are_short():
    """At most 30 lines of body, the docstring not counted."""
    long = [
        f"{name}.{node.name}: {body_lines(node)} lines"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > 30
    ]
    assert not long, "\n".join(long)


def code_lines(path):
    """The lines of a file that hold code: no blank lines, no comments, no docstrings."""
    source = path.read_text(encoding="utf8")
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            lines.update(range(token.start[0], token.end[0] + 1) if token.string else ())
    for node in ast.walk(ast.parse(source)):
        # A string that stands alone documents what it stands under.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def test_the_core_is_small():
    """From `_errors` to `_transform`: under 1,500 lines of code."""
    sizes = {
        name: code_lines(path)
        for name, path in MODULES.items()
        if name.startswith("_") and not name.startswith("__") and "." not in name and name not in HELPERS
    }
    assert sum(sizes.values()) < 1500, sizes
