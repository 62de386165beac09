"""Checkpoints beside the libraries that one would use directly: `python benchmarks/checkpoint.py [--quick]`.

Every comparison is of the same arrays, to and from the same directory, in one run: the two take turns, what was written
is flushed before each turn, and the ratio is that of the fastest turns. Reading is from memory as far as the operating
system keeps files there, for both. What ends in JAX arrays on one side does so on the other.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
import numpy as np

import jscope
from jscope import checkpoint
from jscope.checkpoint import Checkpointer, tensorbundle

GOALS = {
    "1 GB, save: safetensors": 1.15,
    "1 GB, restore: safetensors": 1.15,
    "1 GB, save: step / Orbax": 1 / 3,
    "1 GB, restore: step / Orbax": 1 / 3,
    "10,000 leaves, save: step / Orbax": 1 / 20,
    "10,000 leaves, restore: step / Orbax": 1 / 20,
    "1 GB, save: Orbax store / Orbax": 1.05,
    "1 GB, restore: Orbax store / Orbax": 1.05,
    "1 GB, read: tensorbundle / TensorFlow": 1.2,
}
"""The highest ratio of jscope's time to that of what it is compared with."""

ONE_VARIABLE = 0.05
"""The most seconds that reading one variable out of the large file may take."""


def large(megabytes):
    """Random floats in leaves of 16 MB."""
    random = np.random.default_rng(0)
    return {f"layer_{i}": {"w": random.standard_normal((2048, 2048), np.float32)} for i in range(megabytes // 16)}


def small(count):
    """Many leaves of a few numbers."""
    return {
        f"layer_{i}": {"w": np.full((4, 4), i, np.float32), "b": np.zeros(3, np.float32)} for i in range(count // 2)
    }


class Bench:
    """Takes the times, and keeps them."""

    def __init__(self, directory, turns):
        self.directory, self.turns, self.rows = Path(directory), turns, []

    def compare(self, name, ours, theirs, clean=None):
        """Times two functions in turns; `clean` is called before each."""
        times = ([], [])
        for _ in range(self.turns):
            for function, column in zip((ours, theirs), times, strict=True):
                (clean or (lambda: None))()
                os.sync()
                column.append(seconds(function))
        self.rows.append({"name": name, "ours": times[0], "theirs": times[1], "ratio": min(times[0]) / min(times[1])})
        print(f"{name:45} {min(times[0]):8.3f} s {min(times[1]):8.3f} s {self.rows[-1]['ratio']:8.3f}", flush=True)

    def measure(self, name, function):
        """Times one function."""
        times = [seconds(function) for _ in range(max(self.turns, 5))]
        self.rows.append({"name": name, "ours": times})
        print(f"{name:45} {min(times):8.4f} s", flush=True)

    def clean(self, *names):
        """Returns a function that removes these from the directory."""

        def remove():
            for name in names:
                shutil.rmtree(self.directory / name, ignore_errors=True)

        return remove


def seconds(function):
    """Returns how long a call takes, with all arrays computed."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def abstract(tree):
    """Returns what Orbax and jscope are told to restore: JAX arrays on one device."""
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def files(bench, title, tree):
    """Files of safetensors, by jscope and by the library."""
    import safetensors.numpy

    ours, theirs = str(bench.directory / "ours.safetensors"), str(bench.directory / "theirs.safetensors")
    flat, like = jscope.tree.flatten(tree), abstract(tree)
    bench.compare(
        f"{title}, save: safetensors",
        lambda: checkpoint.safetensors.save(ours, tree),
        lambda: safetensors.numpy.save_file(flat, theirs),
    )
    bench.compare(
        f"{title}, restore: safetensors",
        lambda: checkpoint.restore(like, ours),
        lambda: jax.device_put(safetensors.numpy.load_file(theirs)),
    )
    name = list(flat)[len(flat) // 2]
    bench.measure(f"{title}, one variable of a safetensors file", lambda: checkpoint.load_variable(ours, name))


def step_save(directory, store, tree):
    """Saves a step, and waits for it."""
    with Checkpointer(directory, store=store) as checkpoints:
        checkpoints.save(0, params=tree)


def steps(bench, title, tree):
    """Steps of a `Checkpointer`, in both stores, and Orbax."""
    import orbax.checkpoint.experimental.v1 as ocp

    arrays, like = jax.block_until_ready(jax.device_put(tree)), abstract(tree)
    direct = str(bench.directory / "direct")
    for store, label in (("safetensors", "step"), ("orbax", "Orbax store")):
        ours = bench.directory / store
        bench.compare(
            f"{title}, save: {label} / Orbax",
            lambda ours=ours, store=store: step_save(ours, store, arrays),
            lambda: ocp.save(direct, arrays),
            bench.clean(store, "direct"),
        )
        step_save(ours, store, arrays) if not ours.exists() else None
        ocp.save(direct, arrays, overwrite=True)
        bench.compare(
            f"{title}, restore: {label} / Orbax",
            lambda ours=ours: Checkpointer(ours).restore(params=like),
            lambda: ocp.load(direct, like),
        )
    bench.clean("safetensors", "orbax", "direct")()


def bundles(bench, title, tree):
    """TensorFlow's format, by jscope and by TensorFlow."""
    import tensorflow as tf

    prefix = str(bench.directory / "model.ckpt-1")
    tensorbundle.save(prefix, tree)

    def theirs():
        reader = tf.train.load_checkpoint(prefix)
        return [reader.get_tensor(name) for name in reader.get_variable_to_shape_map()]

    bench.compare(f"{title}, read: tensorbundle / TensorFlow", lambda: tensorbundle.load(prefix), theirs)


def about():
    """Returns what the numbers depend on."""
    versions = {}
    for name in ("jax", "numpy", "google-crc32c", "safetensors", "orbax-checkpoint", "tensorflow-cpu"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": versions,
    }


def failures(rows):
    """Returns what was slower than the goals."""
    slow = [row["name"] for row in rows if row.get("ratio", 0) > GOALS.get(row["name"], np.inf)]
    return slow + [
        row["name"] for row in rows if row["name"].startswith("1 GB, one") and min(row["ours"]) > ONE_VARIABLE
    ]


def main():
    """Measures, prints a table, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the size; the goals are those of the full one")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--directory", help="where to write (default: the directory for temporary files)")
    parser.add_argument("--out", type=Path, help="a file for the results, as JSON")
    parser.add_argument("--only", choices=("large", "small", "tensorflow"))
    options = parser.parse_args()
    megabytes, count = (128, 1_000) if options.quick else (1024, 10_000)
    sizes = {"large": ("1 GB", large(megabytes)), "small": ("10,000 leaves", small(count))}
    print(f"{'':45} {'jscope':>10} {'other':>10} {'ratio':>8}")
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        bench = Bench(directory, options.turns)
        for size, (title, tree) in sizes.items():
            if options.only in (size, None):
                shown = title if not options.quick else f"{title} / {1024 // megabytes if size == 'large' else 10}"
                files(bench, shown, tree)
                steps(bench, shown, tree)
        if importlib.util.find_spec("tensorflow") and options.only in ("tensorflow", None):
            bundles(bench, "1 GB", sizes["large"][1])
    if options.out is not None:
        options.out.write_text(json.dumps(about() | {"rows": bench.rows}, indent=1) + "\n", encoding="utf8")
    if not options.quick and (slow := failures(bench.rows)):
        sys.exit(f"Slower than the goals: {', '.join(slow)}")


if __name__ == "__main__":
    main()
