"""The programs in `examples/` run as a reader runs them: each in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).parents[1]


def run(program, *options):
    """Runs an example, which finds jscope where this process did; returns its exit code, output and errors."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / program, *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        # Each program runs once, so it is compiled soon rather than well, where other tests are not, too.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )
    return done.returncode, done.stdout, done.stderr


def test_quickstart_learns():
    """The loss that `quickstart.py` prints falls to less than a tenth, and is what `README.md` says."""
    code, printed, errors = run("quickstart.py")
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", printed)]
    assert code == 0, errors
    assert losses[-1] < losses[0] / 10
    shown = re.findall(r"^step +\d+: loss (\S+)$", (ROOT / "README.md").read_text("utf8"), re.MULTILINE)
    np.testing.assert_allclose(losses, [float(loss) for loss in shown], rtol=0.05)


def test_quickstart_is_the_first_screen_of_the_readme():
    """The first Python block of README.md is `quickstart.py` without its docstring, and has at most 15 lines."""
    readme, program = ((ROOT / name).read_text("utf8") for name in ("README.md", "examples/quickstart.py"))
    shown = readme.split("```python\n")[1].split("```")[0].strip()
    assert shown == program.split('"""\n', 1)[1].strip()
    assert sum(bool(line) for line in shown.splitlines()) <= 15


@pytest.mark.slow
def test_digits_trains_saves_and_restores(tmp_path):
    """A short run does all that the long one does."""
    # One test and not several, so that no two workers of xdist both train.
    printed = train_digits(tmp_path)
    assert_summarizes(printed)
    assert_restores_the_accuracy(printed)
    assert_wrote_its_files(tmp_path)


@pytest.mark.slow
def test_digits_restores_only_what_fits(tmp_path):
    """Another accuracy, or another network, ends the program with an error."""
    train_digits(tmp_path)
    assert_fails_where_the_accuracy_differs(tmp_path)
    assert_reports_the_checkpoint_of_another_network(tmp_path)


def train_digits(out):
    """Trains for a few steps; returns what was printed."""
    code, printed, errors = run("digits.py", "--steps", 20, "--seed", 1, "--out", out)
    assert code == 0, errors
    return printed


def assert_summarizes(printed):
    """The table has a row for every variable, params and state."""
    assert re.search(r"^out/kernel +192, 10 +float32 +param +he_normal", printed, re.MULTILINE)
    assert re.search(r"^block_0/norm_0/moving_mean +24 +float32 +state +zeros", printed, re.MULTILINE)
    assert "26 variables" in printed


def assert_restores_the_accuracy(printed):
    """The fresh process reports the step and the accuracy that the trained network had."""
    trained, restored = re.findall(r"Test accuracy at step 20: .*", printed)
    assert restored == trained


def assert_wrote_its_files(out):
    """Both figures and the checkpoint are there, and nothing temporary is left."""
    arrays = load_file(out / "checkpoint.safetensors")
    assert {"params/out/kernel", "state/block_1/norm_1/moving_variance", "optimizer/0/mu/out/kernel"} <= arrays.keys()
    assert arrays["step"].shape == ()
    assert arrays["step"] == arrays["optimizer/0/count"] == 20
    assert {path.name for path in out.iterdir()} == {"checkpoint.safetensors", "loss.png", "misclassified.png"}
    for name in ("loss.png", "misclassified.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def assert_fails_where_the_accuracy_differs(out):
    """A checkpoint that scores other than when it was saved ends the program with an error."""
    arrays = load_file(out / "checkpoint.safetensors")
    save_file(arrays | {"correct": np.asarray(7)}, out / "altered.safetensors")
    code, _, errors = run("digits.py", "--restore", out / "altered.safetensors")
    assert code == 1
    assert "It was 7 of 360 when it was saved." in errors


def assert_reports_the_checkpoint_of_another_network(out):
    """Names that do not fit the specs are reported, each with what it may have meant."""
    arrays = load_file(out / "checkpoint.safetensors")
    arrays["params/outs/kernel"] = arrays.pop("params/out/kernel")
    save_file(arrays, out / "altered.safetensors")
    code, _, errors = run("digits.py", "--restore", out / "altered.safetensors")
    assert code == 1
    assert "missing:    `params/out/kernel` float32[192, 10] (near: `params/outs/kernel`)" in errors


def test_digits_refuses_to_train_no_steps():
    """Zero steps are an error of usage."""
    code, _, errors = run("digits.py", "--steps", 0)
    assert code == 2
    assert "--steps must be at least 1" in errors
