"""Every byte of small checkpoints, flipped in turn: what was saved, or an error that names the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jscope
from jscope import errors
from jscope.checkpoint import Checkpointer, CheckpointError, safetensors, tensorbundle

pytestmark = pytest.mark.slow

TREE = {"enc": {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(3, np.float16)}, "n": np.arange(5)}
SPECS = jscope.specs(lambda scope: scope.get_variable("w", (2,)))


def save_step(root):
    with Checkpointer(root) as checkpoints:
        checkpoints.save(1, specs=SPECS, **TREE)


def load_step(root):
    checkpoints = Checkpointer(root)
    assert checkpoints.specs().to_json() == SPECS.to_json()
    return checkpoints.restore()


FORMATS = {
    "file": (lambda root: safetensors.save(root / "x", TREE), lambda root: safetensors.load(root / "x")),
    "step": (save_step, load_step),
    "bundle": (lambda root: tensorbundle.save(root / "m", TREE), lambda root: tensorbundle.load(root / "m")),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mask", [0xFF, 0x01, 0x80])
def test_no_flipped_byte_is_a_wrong_value(tmp_path, kind, mask):
    """Nor is it an error that does not say that it is the checkpoint's."""
    save, load = FORMATS[kind]
    save(tmp_path)
    flipped = 0
    for path in [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in (".lock", "checkpoint")]:
        good = path.read_bytes()
        for at in range(len(good)):
            path.write_bytes(good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :])
            flipped += 1
            try:
                found = load(tmp_path)
            except (CheckpointError, errors.InvalidNameError, errors.NameConflictError):
                continue
            assert sorted(jscope.tree.names(found)) == sorted(jscope.tree.names(TREE)), (path.name, at)
            assert not jscope.tree.diff(found, TREE), (path.name, at)
        path.write_bytes(good)
    assert flipped > 200
    sys.stdout.write(f"{flipped} bytes of {kind} flipped\n")


def test_no_flipped_byte_of_an_orbax_step_is_a_wrong_value(tmp_path):
    """Of all its files, in a process of its own: see `damaging.py`."""
    program = Path(__file__).parent / "damaging.py"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, program, tmp_path, "400"], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WRONG" not in done.stdout
    sys.stdout.write(done.stdout)
