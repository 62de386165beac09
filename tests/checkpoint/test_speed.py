"""Many small arrays, beside the safetensors library: it is written in Rust, and keeps no digests."""

from __future__ import annotations

import time

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from jscope.checkpoint import safetensors as files

pytestmark = pytest.mark.slow


def ratio(ours, theirs):
    """How many times as long `ours` takes: the least of several rounds in turns."""
    times = [], []
    for _ in range(5):
        for function, kept in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            function()
            kept.append(time.perf_counter() - start)
    return min(times[0]) / min(times[1])


def arrays(count):
    return {f"layer_{i // 10}/block_{i % 10}/w": np.full(16, i, np.float32) for i in range(count)}


def names(path):
    with safetensors.safe_open(path, "numpy") as file:
        return list(file.keys())


def test_many_names_are_opened_soon(tmp_path):
    """100,000 of them; measured at 1.3 to 1.5 times, and 7 times with a look at each by itself."""
    files.save(tmp_path / "x", arrays(100_000))
    assert ratio(lambda: files.open(tmp_path / "x"), lambda: names(tmp_path / "x")) < 3


def test_many_arrays_are_saved_soon(tmp_path):
    """10,000 of them, with digests, and synced; measured at 1.5 times, and 9 times with two headers and a collector."""
    tree = arrays(10_000)
    ours, theirs = tmp_path / "x", tmp_path / "y"
    assert ratio(lambda: files.save(ours, tree), lambda: safetensors.numpy.save_file(tree, theirs)) < 4
