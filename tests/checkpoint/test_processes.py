"""Checkpoints and the ends of processes: killed ones, ones that are done too early, several at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jscope.checkpoint import Checkpointer
from tests import processes
from tests.crossed import mostly_slow

STORES = ["safetensors", "orbax"]
KILLS = {name: int(os.environ.get("JSCOPE_KILLS", "3")) for name in (*STORES, "file", "tensorbundle")}
"""How many processes to kill for each store and format; the environment variable asks for more."""

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}


def run(code, *args, **options):
    """Runs Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, env=ENV, timeout=120, **options
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("store", mostly_slow(KILLS, "safetensors", "file"))
def test_a_killed_process_loses_no_finished_step(tmp_path, store):
    """Killed at random moments while it saves: see `killing.py`, which looks at what is left each time."""
    program = Path(__file__).parent / "killing.py"
    command = [sys.executable, program, store, str(KILLS[store]), tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env=ENV, check=False)
    assert done.returncode == 0, done.stderr
    assert f"of {KILLS[store]} had saved" in done.stdout


@pytest.mark.slow
def test_damage_of_an_orbax_step_is_never_a_wrong_value(tmp_path):
    """Flipped bits, truncation, missing files. Orbax by itself gives wrong values then: it keeps no digests."""
    program = Path(__file__).parent / "damaging.py"
    command = [sys.executable, program, tmp_path, "60"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENV, check=False)
    assert done.returncode == 0, done.stderr
    assert "refused" in done.stdout
    assert "WRONG" not in done.stdout


ENDINGS = {"end": 0, "sys.exit": 3, "exception": 1, "fork": 0, "in atexit": 0, "SIGINT": -2, "SIGTERM": -15}
"""Ways for a process to end right after `save` returned, and the exit status of each."""


def test_a_process_that_ends_has_saved(tmp_path):
    """Right after `save` returned, with nobody waiting: the interpreter does, however it ends. See `exits.py`.

    A signal that kills leaves the old step, and the new one whole or not at all. What is begun when the interpreter has
    shut down fails at once, and says so.
    """
    program = Path(__file__).parent / "exits.py"
    command = [sys.executable, program, tmp_path, *ENDINGS]
    done = subprocess.run(command, capture_output=True, text=True, env=ENV, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{ending}: {status}" for ending, status in ENDINGS.items()], done.stderr
    assert "CheckpointWriteError" in done.stderr
    for ending in ENDINGS:
        steps = Checkpointer(tmp_path / ending).steps()
        assert steps == [1, 2] or (steps == [1] and ending in ("in atexit", "SIGTERM")), (ending, done.stderr)
        for step in steps:
            saved = Checkpointer(tmp_path / ending).restore(step)["params"]
            assert all((array == step).all() for array in saved.values()), ending


KERNEL = """
import numpy as np
from jscope.checkpoint import Checkpointer
checkpoints = Checkpointer({directory!r}, store={store!r})
checkpoints.save(1, w=np.full(1 << 21, 1))
checkpoints.wait()
checkpoints.save(2, w=np.full(1 << 21, 2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("now", [False, True])
def test_a_kernel_that_is_restarted_has_saved(tmp_path, store, now):
    """A kernel that is asked to end has saved; one that is killed leaves the new step whole or not at all."""
    client = pytest.importorskip("jupyter_client")
    pytest.importorskip("ipykernel")
    manager, kernel = client.manager.start_new_kernel(env=ENV)
    try:
        done = kernel.execute_interactive(KERNEL.format(directory=str(tmp_path), store=store), timeout=120)
        assert done["content"]["status"] == "ok", done
        manager.restart_kernel(now=now)
        steps = Checkpointer(tmp_path).steps()
        assert steps == [1, 2] or (now and store == "orbax" and steps == [1])
        for step in steps:
            assert (Checkpointer(tmp_path).restore(step)["w"] == step).all()
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)


FULL = """
import resource, sys, jax.numpy as jnp, numpy as np, pytest
from jscope import checkpoint
store, random = sys.argv[2], np.random.default_rng(0).random(1_000_000)
checkpoints = checkpoint.Checkpointer(sys.argv[1], store=store)
def save(step, x):
    checkpoints.save(step, x=x)
    checkpoints.wait()
save(0, jnp.ones(10))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
with pytest.raises(checkpoint.CheckpointWriteError, match="1`: File too large.* Make room"):
    save(1, random)
assert checkpoints.steps() == [0]
assert checkpoints.restore(x=jnp.zeros(10))["x"].tolist() == [1] * 10
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
save(1, random)
assert checkpoints.steps() == [0, 1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
if store == "orbax":
    try:
        checkpoints.save(2, x=random)
    except checkpoint.CheckpointWriteError as error:  # Where a save cannot go on after the program, it is over here.
        print(repr(error), file=sys.stderr)
"""


@pytest.mark.parametrize("store", mostly_slow(STORES, "safetensors"))
def test_a_full_disk_is_an_error_that_changes_nothing(tmp_path, store):
    """Here the limit is one of the process. What fails after its end is printed: it cannot be raised any more."""
    done = run(FULL, tmp_path, store)
    assert done.returncode == 0, done.stderr
    assert ("CheckpointWriteError" in done.stderr) == (store == "orbax")
    assert Checkpointer(tmp_path).steps() == [0, 1]


def test_two_processes_do_not_write_to_one_directory(tmp_path):
    """The second is told who the first is; when that has ended, however it did, it may."""
    code = "import sys\nfrom jscope.checkpoint import Checkpointer\nCheckpointer(sys.argv[1]).save(1, x=1)\n"
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(0, x=1)
        done = run(code, tmp_path)
        assert f"CheckpointLockedError: `{tmp_path}` is being written to by process {os.getpid()} on" in done.stderr
    assert run(code + "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", tmp_path).returncode == -9
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(2, x=1)
        assert checkpoints.steps() == [0, 1, 2]


FORKS = """
import os, sys, time
from jscope.checkpoint import Checkpointer
checkpoints = Checkpointer(sys.argv[1])
checkpoints.save(1, x=1)
if child := os.fork():
    print(child, flush=True)
    os._exit(0)
for each in (1, 2):
    os.close(each)
time.sleep(100)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_lock_ends_with_its_writer(tmp_path):
    """Also where children live that were forked from it, and have copies of what it had open."""
    child = int(run(FORKS, tmp_path).stdout)
    try:
        os.kill(child, 0)
        with Checkpointer(tmp_path) as checkpoints:
            assert checkpoints.save(2, x=1)
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_two_processes_save_and_one_restores(tmp_path):
    """Sharded arrays over both; then onto the devices of one. Files of one process are read by several, too."""
    program, port = Path(__file__).parent / "sharded.py", processes.free_port()
    processes.run(*([program, me, 2, port, tmp_path] for me in range(2)))
    processes.run([program, 0, 1, port, tmp_path])


def test_a_like_of_numpy_needs_no_device(tmp_path):
    """Saving and restoring on the host starts no backend: a process may fork, or let others have the devices."""
    code = (
        "import sys, jax, numpy as np\n"
        "from jscope.checkpoint import Checkpointer\n"
        "jax.config.update('jax_platforms', 'none such')\n"
        "with Checkpointer(sys.argv[1]) as checkpoints:\n"
        "    checkpoints.save(0, x=np.ones(3), n=4)\n"
        "    assert checkpoints.restore(x=np.zeros(3), n=0)['n'] == 4\n"
    )
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(Checkpointer(tmp_path).restore()["x"], np.ones(3))
