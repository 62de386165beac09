"""The public face: what `import jscope` gives."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import jscope
from jscope._util import _lazy

SOURCE = Path(jscope.__file__).read_text(encoding="utf8")
_docstring, _typing, *EAGER, _if_type_checking = ast.parse(SOURCE).body
LAZY, AT_RUN_TIME = _if_type_checking.body, _if_type_checking.orelse
SPACES = [statement for statement in LAZY if statement.module == "jscope"]
STATEMENTS = [*EAGER, *LAZY]
PUBLIC = [statement.names[0].name for statement in STATEMENTS]
MODULES = {info.name for info in pkgutil.iter_modules(jscope.__path__)}
PROGRAMS = {"cli", "lift"}
"""The command line, and the lifts, which are public under `jscope` itself."""


def test_init_only_re_exports():
    """A docstring, then `from module import x as x`, one name a line; namespaces at the end, for type checkers."""
    assert ast.unparse(_typing) == "from typing import TYPE_CHECKING"
    assert ast.unparse(_if_type_checking.test) == "TYPE_CHECKING"
    for statement in (*EAGER, *LAZY, *AT_RUN_TIME):
        assert isinstance(statement, ast.ImportFrom), ast.unparse(statement)
        (alias,) = statement.names
        assert alias.asname == alias.name


def test_init_is_sorted():
    """By module and name."""
    for part in (EAGER, LAZY):
        lines = [(s.module, s.names[0].name) for s in part]
        assert lines == sorted(lines, key=lambda line: (line[0], line[1].isupper() is False, line[1]))


def test_every_namespace_is_public():
    """A module without an underscore is an attribute of `jscope`, known to type checkers and to `dir`."""
    names = [statement.names[0].name for statement in SPACES]
    assert set(names) == {name for name in MODULES if not name.startswith("_")} - PROGRAMS
    assert set(names) <= set(dir(jscope))
    assert names == list(_lazy.NAMESPACES)


def test_functions_that_are_imported_on_first_use_are_public():
    """Those that are not in a namespace: known to type checkers and to `dir`."""
    functions = {s.names[0].name: s.module for s in LAZY if s not in SPACES}
    assert functions == _lazy.FUNCTIONS
    assert set(functions) <= set(dir(jscope))


def test_namespaces_are_imported_on_first_use():
    """`import jscope` imports neither the facade nor any other that the core does not need, nor Pallas."""
    code = "import jax, sys; before = {*sys.modules}; import jscope; print(*sorted({*sys.modules} - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    spaces = {name for name in run.stdout.split() if name.partition(".")[2] in _lazy.NAMESPACES}
    assert spaces == {"jscope.errors", "jscope.initializers"}
    assert not [name for name in run.stdout.split() if "pallas" in name or name.startswith("jax.")]


def test_a_name_that_is_not_there_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="`jscope` has no attribute `get_varable`"):
        jscope.get_varable  # noqa: B018


def test_what_is_exported_is_what_the_modules_define():
    """The very same objects."""
    for statement in STATEMENTS:
        module, name = importlib.import_module(statement.module), statement.names[0].name
        found = getattr(module, name, None) or importlib.import_module(f"jscope.{name}")
        assert getattr(jscope, name) is found


def test_nothing_else_is_public():
    """`dir(jscope)` has the names of the file, modules, and nothing by accident."""
    extra = {name for name in dir(jscope) if not name.startswith("__")} - set(PUBLIC) - MODULES
    assert extra == {"TYPE_CHECKING"}


def documented(name):
    """Whether a public name has a docstring of its own: as an object, or below its assignment."""
    value = getattr(jscope, name)
    if callable(value) or inspect.ismodule(value):
        return bool((value.__doc__ or "").strip())
    (module,) = (s.module for s in STATEMENTS if s.names[0].name == name)
    body = ast.parse(inspect.getsource(importlib.import_module(module))).body
    pairs = itertools.pairwise(body)
    return any(
        isinstance(statement, ast.AnnAssign) and statement.target.id == name and isinstance(below, ast.Expr)
        for statement, below in pairs
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name):
    """With a docstring of one sentence at least."""
    assert documented(name)


def members():
    for name in ("Scope", "Specs", "VariableSpec"):
        for member, value in vars(getattr(jscope, name)).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property | classmethod)):
                yield f"{name}.{member}", value
    for space in ("constraints", "errors", "getters", "initializers", "regularizers", "tree"):
        module = getattr(jscope, space)
        for member, value in vars(module).items():
            home = str(getattr(value, "__module__", ""))
            if not member.startswith("_") and home.startswith(module.__name__) and callable(value):
                yield f"{space}.{member}", value


MEMBERS = dict(members())


@pytest.mark.parametrize("name", MEMBERS)
def test_every_public_member_is_documented(name):
    """Methods, properties, and what the namespaces define."""
    assert (MEMBERS[name].__doc__ or "").strip()
    assert not MEMBERS[name].__doc__.startswith(f"{name.partition('.')[2]}("), "only the dataclass's own signature"


def test_models_have_documented_options():
    """`init`, `apply`, `specs`, `with_rng`, `with_axes`, `capture`, `sharded`, with and without state."""
    for model in (jscope.transform(lambda s: None), jscope.transform_with_state(lambda s: None)):
        for option in ("init", "apply", "specs", "with_rng", "with_axes", "capture", "sharded"):
            assert getattr(type(model), option).__doc__
