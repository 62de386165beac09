"""Processes that end right after `save`, each in another way: `python exits.py DIRECTORY ENDING ...`.

Each is a fork of this one, which has imported all and started nothing, and ends as the interpreter does: it falls off
the end of this file. What it has saved is left to be looked at; a process that hangs is killed after a minute.
"""

import atexit
import os
import signal
import sys
from pathlib import Path

import numpy as np

import jscope.checkpoint._orbax._store  # noqa: F401 (before the forks)
from jscope.checkpoint import Checkpointer

OLD, NEW = 1, 2


def params(step):
    """What is saved as a step: enough for the saving to go on for a while."""
    return {f"w{i}": np.full(1 << 18, step, np.float32) for i in range(8)}


def save(directory, step):
    """Begins to save a step, and returns the writer."""
    checkpoints = Checkpointer(directory, store="orbax")
    checkpoints.save(step, params=params(step))
    return checkpoints


def fork_and_wait(directory):
    """A child has nothing to wait for: neither when it is asked to, nor when it ends."""
    checkpoints = save(directory, NEW)
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        # TensorStore's threads are gone in the child, which may crash when it frees what they had.
        assert os.waitstatus_to_exitcode(status) != -signal.SIGALRM
    else:
        signal.alarm(60)
        checkpoints.wait()
        sys.exit()


def end_by(ending, directory):
    """Saves a step, and ends the process."""
    if ending == "fork":
        fork_and_wait(directory)
        return
    if ending == "in atexit":
        atexit.register(save, directory, NEW)
        return
    kept = save(directory, NEW)  # As a variable of a notebook would keep it.
    globals()["kept"] = kept
    if ending == "sys.exit":
        sys.exit(3)
    elif ending == "exception":
        raise ValueError("unhandled")
    elif ending.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[ending])


def main(directory, *endings):
    """Forks a process for each ending; returns which of them this one is, or None after all have ended."""
    # What a shell runs in the background ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    children = []
    for ending in endings:
        children.append(os.fork())
        if not children[-1]:
            signal.alarm(60)
            return ending
    for ending, child in zip(endings, children, strict=True):
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{ending}: {os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    return None


if __name__ == "__main__" and (mine := main(*sys.argv[1:])):
    where = Path(sys.argv[1]) / mine
    with Checkpointer(where) as first:
        first.save(OLD, params=params(OLD))
    end_by(mine, where)
