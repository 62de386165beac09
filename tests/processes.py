"""Programs in processes of their own, several at the same time."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time

TIMEOUT = 300
"""Seconds after which processes that do not end are killed."""


def free_port():
    """Returns a port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(command, devices=2, stdout=subprocess.PIPE, **environment):
    """Starts a program of Python, which finds jscope where this process did."""
    paths = os.pathsep.join(path for path in sys.path if path)
    own = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": paths}
    pipes = {"stdout": stdout, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, *map(str, command)], env=os.environ | own | environment, **pipes)


def run(*commands, devices=2, timeout=TIMEOUT, **environment):
    """Runs programs at the same time; returns what each has printed, after checking that all have ended well.

    Where one fails, the others may wait for it, and are killed; so are all after `timeout` seconds.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in commands]
        running = []
        for command, file in zip(commands, files, strict=True):
            running.append(stack.enter_context(start(command, devices, file, **environment)))
            stack.callback(running[-1].kill)
        until = time.monotonic() + timeout
        while None in (codes := [each.poll() for each in running]) and not any(codes) and time.monotonic() < until:
            time.sleep(0.05)
        printed = [file.seek(0) or file.read() for file in files]
    # A signal makes a negative code.
    assert codes == [0] * len(running), "\n".join(printed)
    return printed
