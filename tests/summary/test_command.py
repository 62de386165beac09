"""`python -m jscope summary`: a model by the name of its module, inputs by their types."""

from __future__ import annotations

import json
import sys

import pytest

from jscope.cli import main

MODULE = """
import jax
from jscope import nn

SIZE = 10

def mlp(scope, x, size=2, training=False):
    x = nn.dropout(scope / "dropout", nn.dense(scope / "hidden", x, 64), 0.5, training=training)
    return nn.dense(scope / "out", jax.nn.relu(x), size)

def made():
    return mlp

def broken(scope, x):
    raise RuntimeError("mine, in its place")
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A function that runs a command beside a module, and returns its status and what it printed."""
    (tmp_path / "some_models.py").write_text(MODULE)
    (tmp_path / "half_a_module.py").write_text("import what_is_not_there")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*words):
        status = main(["summary", *words])
        return status, *capsys.readouterr()

    yield run
    sys.modules.pop("some_models", None)


def test_a_summary_is_a_table_a_dict_or_a_graph(run):
    """As asked for."""
    words = ("some_models:mlp", "--input", "float32[8,32]")
    status, out, err = run(*words)
    assert (status, err) == (0, "")
    assert out.splitlines()[1].split()[:2] == ["hidden", "float32[8,64]"]
    assert json.loads(run(*words, "--json")[1])["total"]["params"] == 32 * 64 + 64 + 64 * 2 + 2
    assert run(*words, "--dot")[1].startswith("digraph model {")
    assert len(run(*words, "--depth", "0")[1].splitlines()) == 2


def test_inputs_are_types_values_or_things_in_modules(run):
    """By position or by keyword."""
    x = ("--input", "float32[8,32]")
    assert "float32[8,5]" in run("some_models:mlp", *x, "--input", "5")[1]
    assert "float32[8,10]" in run("some_models:mlp", *x, "--input", "size=some_models:SIZE")[1]
    assert "float32[8,2]" in run("some_models:made()", *x, "--input", "training=true")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no_models:mlp"], "There is no module `no_models`"),
        (["some_models:mpl"], "There is no `mpl` in `some_models`. Did you mean `mlp`?"),
        (["some_models"], "`some_models` does not name a model"),
        (["some_models:SIZE"], "`some_models:SIZE` is not a model, but 10"),
        (["some_models:mlp", "--input", "float32[8"], "`--input float32[8` cannot be read"),
        (["some_models:mlp", "--input", "float33[8]"], "`--input float33[8]` cannot be read"),
        (["some_models:mlp", "--input", "x"], "`--input x` cannot be read"),
        (["some_models:mlp", "--input", "float32[8,3]", "--depth", "-1"], "must be a non-negative int"),
        (["half_a_module:mlp"], "No module named 'what_is_not_there'"),
    ],
)
def test_bad_input_is_told_in_one_paragraph(run, words, message):
    """On stderr, with exit status 2."""
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_errors_of_a_model_are_told_in_their_place(run):
    """With the line of code that raised them, and not as a difference, which has exit status 1."""
    status, out, err = run("some_models:broken", "--input", "float32[3]")
    assert (status, out) == (2, "")
    assert "RuntimeError: mine, in its place" in err
    assert 'raise RuntimeError("mine, in its place")' in err
