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
    "errors": 0,
    "_types": 0,
    "_path": 1,
    "_util": 2,
    "_chain": 3,
    "_defaults": 3,
    "_rng": 3,
    "initializers": 3,
    "regularizers": 3,
    "constraints": 3,
    "partitioners": 3,
    "_spec": 4,
    "_uses": 4,
    "getters": 4,
    "_context": 5,
    "_check": 5,
    "_json": 5,
    "tree": 5,
    "_frame": 6,
    "_read": 6,
    "_materialize": 6,
    "_create": 7,
    "_write": 7,
    "_specs": 7,
    "_scope": 8,
    "_collect": 9,
    "_transform": 10,
    "lift": 11,
    "_contract": 11,
    "nn": 12,
    "sharding": 13,
    "_rich": 11,
    "_treescope": 11,
    "_summary": 12,
    "tf1": 13,
    "testing": 14,
    "checkpoint": 14,
    "interop": 14,
    "cli": 15,
    "": 15,
    "__main__": 16,
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
    "graphviz",
    "treescope",
    "h5py",
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


NOT_A_SEPARATOR = {
    "/.ATTRIBUTES/VARIABLE_VALUE": "the end of a key in TensorFlow's object-based checkpoints",
    "/.ATTRIBUTES/": "the same, where a key is searched for it",
    "/.OPTIMIZER_SLOT/": "what stands between variable and slot in such a key",
    "1/{}": "a fraction",
}
"""Strings of code that look as if they made or split a path, with the reason why they may; `{}` is a placeholder."""


def strings(tree):
    """Yields the lines and the texts of the strings in code: no docstrings, f-strings whole, with `{}` for values."""
    nodes = list(ast.walk(tree))
    standing_alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            texts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield node.lineno, "".join(texts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in standing_alone | parts:
            yield node.lineno, node.value


def test_only_one_module_knows_the_separator():
    """Only `_path` joins and splits names: elsewhere no string has a `/` at one of its ends or by a value."""
    knowing = [
        f"{name}:{line}: {text!r}"
        for name, tree in TREES.items()
        for line, text in strings(tree)
        if name != "_path" and text not in NOT_A_SEPARATOR
        if text.startswith("/") or text.endswith("/") or "{}/" in text or "/{}" in text
    ]
    assert not knowing, "use `_path`:\n" + "\n".join(knowing)


def test_an_optional_dependency_has_a_module_to_itself():
    """No two modules import one, and nothing of the core does."""
    users = {}
    for name, tree in TREES.items():
        for full in imported(tree):
            if (package := full.partition(".")[0]) in OPTIONAL:
                users.setdefault(package, set()).add(name)
    crowded = {package: names for package, names in users.items() if len(names) > 1 or any(floor(n) < 9 for n in names)}
    assert not crowded, crowded


def test_no_generic_class_asks_for_a_slot_for_weak_references():
    """Python 3.12.3 leaves it out (gh-118033), and JAX cannot keep what it was given."""
    asked = [
        f"{name}.{node.name}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        if any("weakref_slot" in ast.unparse(decorator) for decorator in node.decorator_list)
        if any(ast.unparse(base).partition("[")[0] in ("Generic", "Protocol") for base in node.bases)
    ]
    assert not asked, f"these need a `__dict__`, so no slots: {asked}"


def text_lines(tree):
    """The lines of the strings that stand alone: docstrings, and what documents a name."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, node.end_lineno + 1)
    }


def code_lines(name):
    """The numbers of the lines of a module that hold code: no blank lines, no comments, no docstrings."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(MODULES[name].read_text(encoding="utf8")).readline):
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            lines.update(range(token.start[0], token.end[0] + 1) if token.string else ())
    return lines - text_lines(TREES[name])


CODE = {name: code_lines(name) for name in MODULES}
"""What the laws of size count: comments and docstrings are free."""


@pytest.mark.parametrize("name", MODULES)
def test_a_file_is_one_idea(name):
    """At most 350 lines of code, with a docstring that says what to believe."""
    assert len(CODE[name]) <= 350
    assert ast.get_docstring(TREES[name])


def test_functions_are_short():
    """At most 30 lines of code in a body."""
    long = [
        f"{name}.{node.name}: {size} lines"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (size := len(CODE[name].intersection(range(node.body[0].lineno, node.end_lineno + 1)))) > 30
    ]
    assert not long, "\n".join(long)


def test_the_core_is_small():
    """All of it, from the errors to `transform` and the helpers in `_util`: under 2,700 lines of code."""
    core = [name for name in MODULES if name.startswith("_") and floor(name) <= floor("_transform")] + ["errors"]
    sizes = {name: len(CODE[name]) for name in core}
    assert sum(sizes.values()) < 2700, (sum(sizes.values()), sizes)
