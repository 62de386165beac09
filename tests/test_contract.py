"""Specs in a file: what has changed, which checkpoints load, how to convert the others, which values start anew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import Specs, initializers, nn
from jscope._contract import compare_specs
from jscope.cli import main

X = jax.ShapeDtypeStruct((8, 4), jnp.float32)
CONTRACTS = Path(__file__).parent / "golden/contracts"
TEXT = ("--input", "int32[1,8]")
MODELS = {
    "bert": ("pretraining", *TEXT, *TEXT, "--input", "bool[1,8]", "--input", "config=examples.models.bert:Config()"),
    "gpt2": ("gpt2", *TEXT, "--input", "config=examples.models.gpt2:Config()"),
    "llama": ("llama", *TEXT, "--input", "config=examples.models.llama:Config()"),
    "resnet": (
        *("resnet", "--input", "float32[1,224,224,3]", "--input", "config=examples.models.resnet:Config()"),
        *("--input", "training=false"),
    ),
    "unet": ("unet", "--input", "float32[1,256,256,1]", "--input", "config=examples.models.unet:Config()"),
    "vit": ("vit", "--input", "float32[1,224,224,3]", "--input", "config=examples.models.vit:Config()"),
}
"""The models in `examples/models/`, as words for the command line; `--out` makes their contracts."""


@pytest.mark.parametrize("name", MODELS)
def test_the_examples_keep_their_contracts(name, capsys):
    """Names, shapes and initializers of the models in `examples/models/` are what they were."""
    model, *inputs = MODELS[name]
    status = main(["specs", f"examples.models.{name}:{model}", *inputs, "--check", str(CONTRACTS / f"{name}.json")])
    assert status == 0, capsys.readouterr().out


def mlp(scope, x, hidden="hidden", size=3, **options):
    return nn.dense(scope / "out", nn.dense(scope / hidden, x, 5, **options), size)


def changes(new, old=mlp, x=X):
    was, now = jscope.specs(old, x), jscope.specs(new, x)
    return compare_specs(Specs.from_json(was.to_json()), now)


def test_nothing_has_changed():
    """What was written and what is are equal, and the answer is false."""
    assert not changes(mlp)
    assert str(changes(mlp)) == "No difference."


def test_a_scope_that_was_renamed():
    """Its checkpoints are converted by one rule; its variables start anew, as names make initial values."""
    found = changes(lambda s, x: mlp(s, x, "first"))
    assert found.renamed == (("hidden", "first"),)
    assert found.restarted == ("first/bias", "first/kernel")
    assert "python -m jscope rename OLD NEW --map hidden=first" in str(found)


def test_the_draft_converts(tmp_path):
    """The command that the report prints makes a checkpoint that loads."""
    old, new = jscope.specs(mlp, X), jscope.specs(lambda s, x: mlp(s, x, "a/first"), X)
    path, converted = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    jscope.checkpoint.safetensors.save(path, old.materialize(jax.random.key(0)))
    command = str(compare_specs(old, new)).partition("python -m jscope rename OLD NEW ")[2].splitlines()[0]
    assert main(["rename", str(path), str(converted), *command.split()]) == 0
    new.check(jscope.checkpoint.restore(new, converted))


def test_a_variable_that_was_renamed():
    """Where not all of a scope has moved, the rule is for the variable."""

    def model(name):
        return lambda s, x: [(s / "a").get_variable(*each) for each in ((name, (4,)), ("other", (3, 1)))]

    assert changes(model("v"), model("w")).renamed == (("a/w", "a/v"),)


def test_what_could_be_several():
    """Is said, and not guessed."""

    def model(*names):
        return lambda s, x: [s.get_variable(name, (4,)) for name in names]

    found = changes(model("zzz"), model("a", "b"))
    assert found.undecided == {"zzz": ("a", "b")}
    assert "`zzz` may be `a` or `b`" in str(found)


def test_a_shape_that_has_changed():
    """No checkpoint loads, and the variable starts anew; the others do not."""
    found = changes(lambda s, x: mlp(s, x, size=7))
    assert found.changed["out/kernel"] == {"shape": ("[5, 3]", "[5, 7]")}
    assert any("`out/kernel`" in line for line in found.unfit)
    assert found.restarted == ("out/bias", "out/kernel")


def test_an_initializer_that_has_changed():
    """Checkpoints load as before, but training starts elsewhere."""
    found = changes(lambda s, x: mlp(s, x, kernel_initializer=initializers.zeros))
    assert not found.unfit
    assert found.restarted == ("hidden/kernel",)
    assert "Checkpoints still load." in str(found)


def test_a_dtype_that_has_changed(tmp_path):
    """Checkpoints load if they may be cast, as the report says."""

    def model(dtype):
        return lambda s, x: s.get_variable("w", (4,), dtype)

    told = str(changes(model(jnp.bfloat16), model(jnp.float32)))
    assert "`restore(..., cast=True)` converts" in told
    assert "still load" not in told
    specs = jscope.specs(model(jnp.bfloat16), X)
    jscope.checkpoint.safetensors.save(tmp_path / "x.safetensors", {"w": np.ones(4, np.float32)})
    with pytest.raises(jscope.errors.StructureMismatchError, match="cast=True"):
        jscope.checkpoint.restore(specs, tmp_path / "x.safetensors")
    assert jscope.checkpoint.restore(specs, tmp_path / "x.safetensors", cast=True)["w"].dtype == jnp.bfloat16


def test_what_matters_neither_to_checkpoints_nor_to_values():
    """A regularizer is a difference, and that is all."""

    def model(regularizer):
        return lambda s, x: s.get_variable("w", (4,), regularizer=regularizer)

    found = changes(model(jscope.regularizers.l2(0.1)), model(None))
    assert found
    assert not found.unfit
    assert not found.restarted
    assert "regularizer None -> l2(" in str(found)


def test_a_param_that_became_state():
    """Is looked for elsewhere."""

    def model(trainable):
        return lambda s, x: s.get_variable("w", (4,), trainable=trainable)

    assert any("kind:" in line for line in changes(model(False), model(True)).unfit)


def test_layers_that_are_stacked_now():
    """The report says by which function the params are stacked."""

    def model(scanned):
        layer = lambda s, x: nn.dense(s, x, 4)  # noqa: E731
        return lambda s, x: jscope.layers(layer, 3, scanned=scanned)(s / "layers", x)

    assert 'jscope.tree.stack(params, at="layers")' in str(changes(model(True), model(False)))
    assert 'jscope.tree.unstack(params, at="layers")' in str(changes(model(False), model(True)))


def test_the_text_does_not_depend_on_the_process():
    """Two processes with other hashes and addresses write the same, in another order of creation, too."""
    code = (
        "import jscope, functools\n"
        "def f(key, shape, dtype, o=None): return jscope.initializers.zeros(key, shape, dtype)\n"
        "g = functools.partial(f, o=object())\n"
        "make = lambda names: jscope.specs(lambda s: [s.get_variable(n, (2,), initializer=g) for n in names])\n"
        "assert make('ab').to_json() == make('ba').to_json()\n"
        "print(make('ab').to_json())\n"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    assert __file__ not in runs[0].stdout
    assert len(runs[0].stdout.splitlines()) == 7


def test_the_command_writes_and_checks(tmp_path, capsys):
    """Status 0 where nothing differs, 1 with the report, 2 where the file is none."""
    path = tmp_path / "specs.json"
    words = ["specs", "jscope.nn:dense", "--input", "float32[8,4]", "--input"]
    assert main([*words, "5", "--out", str(path)]) == 0
    assert main([*words, "5", "--check", str(path)]) == 0
    assert "no difference in 2 variables" in capsys.readouterr().out
    assert main([*words, "6", "--check", str(path)]) == 1
    out, err = capsys.readouterr()
    assert "changed: `kernel`: shape [4, 5] -> [4, 6]" in out
    assert "`--out" in err
    path.write_text("{}")
    assert main([*words, "5", "--check", str(path)]) == 2
    assert main([*words, "5", "--check", str(tmp_path / "none")]) == 2
    capsys.readouterr()
    assert main([*words, "5"]) == 0
    assert capsys.readouterr().out.startswith("name     shape   dtype")
