"""Kills processes while they save, and looks at what is left: `python killing.py STORE COUNT DIRECTORY`.

Each process is a fork of this one, which has imported all and started nothing. It saves one step after the other and
says so; at a random moment it is killed. Then every step that is there must be complete, and the last one that was said
to be saved must be there, or a later one. STORE is one of a `Checkpointer`, or `file` or `tensorbundle`: then each step
replaces the one before, under the same name.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from jscope.checkpoint import Checkpointer, safetensors, tensorbundle

KEEP = 3
FORMATS = {"file": safetensors, "tensorbundle": tensorbundle}


def params(step):
    """What is saved as a step: large enough for a kill to fall into the writing of it."""
    return {f"layer_{i}": np.full(100_000 + i, step, np.int32) for i in range(4)}


def save_forever(directory, store, first, say):
    """Saves one step after the other until the process is killed."""
    if store in FORMATS:
        directory.mkdir(exist_ok=True)
        for step in range(first, 10**9):
            FORMATS[store].save(directory / "x", params(step))
            os.write(say, b"%d\n" % step)
    checkpoints = Checkpointer(directory, keep=KEEP, store=store)
    for step in range(first, 10**9):
        checkpoints.save(step, params=params(step))
        if store == "safetensors":
            os.write(say, b"%d\n" % step)
        elif step > first:  # This save waited for the one before.
            os.write(say, b"%d\n" % (step - 1))


def look(directory, store, said):
    """Returns the last step, after making sure that no step is damaged and that none is lost."""
    if store in FORMATS:
        return look_at_one(directory, store, said)
    checkpoints = Checkpointer(directory)
    steps = checkpoints.steps()
    assert said is None or steps[-1] >= said, f"step {said} was saved, but there are {steps}"
    assert len(steps) <= KEEP + 1, steps
    for step in steps:
        saved = checkpoints.restore(step)["params"]
        assert all((saved[name] == value).all() for name, value in params(step).items()), step
    return steps[-1] if steps else -1


def look_at_one(directory, store, said):
    """Returns the step that is there, after making sure that it is one and that little else is left."""
    if said is None and not any(name in ("x", "x.index") for name in os.listdir(directory)):
        return -1  # Killed before anything was saved.
    saved = FORMATS[store].load(directory / "x")
    step = int(saved["layer_0"][0])
    assert said is None or step >= said, (step, said)
    assert all((saved[name] == value).all() for name, value in params(step).items()), step
    assert len(os.listdir(directory)) <= 8, os.listdir(directory)
    return step


def fork(function):
    """Runs a function in a process of its own, and returns its number."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def last_line(ear):
    """Returns the last step that was said to be saved, or None."""
    with os.fdopen(ear, "rb") as lines:
        said = lines.read().splitlines()
    return int(said[-1]) if said else None


def kill_once(directory, store, delay):
    """Kills one process; returns whether it had saved anything."""
    first = int((directory / "next").read_text()) if (directory / "next").exists() else 0
    ear, say = os.pipe()
    child = fork(lambda: save_forever(directory / "run", store, first, say))
    os.close(say)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    said = last_line(ear)
    looked = fork(lambda: (directory / "next").write_text(str(look(directory / "run", store, said) + 1)))
    assert os.waitpid(looked, 0)[1] == 0, f"after {delay:.3f} s"
    return said is not None


def main(store, count, directory):
    """Kills `count` processes at random moments, and prints how many had saved something."""
    if store == "orbax":
        import jscope.checkpoint._orbax._store  # noqa: F401 (before the forks)
    delays = random.Random(0)
    base = 1.0 if store == "orbax" else 0.1
    saved = sum(kill_once(Path(directory), store, base * delays.uniform(0.5, 2)) for _ in range(int(count)))
    sys.stdout.write(f"{saved} of {count} had saved, {(Path(directory) / 'next').read_text()} steps\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
