"""Checkpoints beside the libraries that one would use directly: `python -m benchmarks.checkpoint [--quick]`.

Every comparison is of the same arrays, to and from the same directory, in one run: the two take turns, what was written
is flushed before each turn, and the ratio is that of the fastest turns. Reading is from memory as far as the operating
system keeps files there, for both. What ends in JAX arrays on one side does so on the other.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

import jscope
from benchmarks._describe import described
from benchmarks._timing import seconds
from jscope import checkpoint
from jscope.checkpoint import Checkpointer, tensorbundle

VERSIONS = ("jax", "numpy", "google-crc32c", "safetensors", "orbax-checkpoint", "tensorflow-cpu")
TURNS = 3

# The highest ratio of jscope's time to that of what it is compared with; of what is compared with nothing, seconds.
GOALS = {
    "1 GB, save: safetensors": 1.15,
    "1 GB, restore: safetensors": 1.15,
    "1 GB, one variable of a safetensors file": 0.05,
    "1 GB, save: step / Orbax": 1 / 3,
    "1 GB, restore: step / Orbax": 1 / 3,
    "10,000 leaves, save: safetensors": 1.5,
    "10,000 leaves, save: step / Orbax": 1 / 20,
    "10,000 leaves, restore: step / Orbax": 1 / 20,
    "1 GB, save: Orbax store / Orbax": 1.05,
    "1 GB, restore: Orbax store / Orbax": 1.05,
    "1 GB, read: tensorbundle / TensorFlow": 1.2,
}


def large(megabytes):
    """Random floats in leaves of 16 MB."""
    random = np.random.default_rng(0)
    return {f"layer_{i}": {"w": random.standard_normal((2048, 2048), np.float32)} for i in range(megabytes // 16)}


def small(count):
    """Many leaves of a few numbers."""
    return {
        f"layer_{i}": {"w": np.full((4, 4), i, np.float32), "b": np.zeros(3, np.float32)} for i in range(count // 2)
    }


def measured(name, ours, theirs=None, stale=()):
    """Returns a row: the times of two functions in turns, or of one; directories that are `stale` go before each."""
    functions = {"ours": ours} | ({} if theirs is None else {"theirs": theirs})
    times = {side: [] for side in functions}
    for _ in range(TURNS):
        for side, function in functions.items():
            for directory in stale:
                shutil.rmtree(directory, ignore_errors=True)
            os.sync()
            times[side].append(seconds(function))
    best = [min(each) for each in times.values()]
    ratio = {} if theirs is None else {"ratio": best[0] / best[1]}
    print(f"{name:45}", *(f"{number:10.4f}" for number in (*best, *ratio.values())), flush=True)
    return {"name": name} | times | ratio


def abstract(tree):
    """Returns what Orbax and jscope are told to restore: JAX arrays on one device."""
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def files(directory, title, tree):
    """Files of safetensors, by jscope and by the library."""
    import safetensors.numpy

    ours, theirs = str(directory / "ours.safetensors"), str(directory / "theirs.safetensors")
    flat, like = jscope.tree.flatten(tree), abstract(tree)
    yield measured(
        f"{title}, save: safetensors",
        lambda: checkpoint.safetensors.save(ours, tree),
        lambda: safetensors.numpy.save_file(flat, theirs),
    )
    yield measured(
        f"{title}, restore: safetensors",
        lambda: checkpoint.restore(like, ours),
        lambda: jax.device_put(safetensors.numpy.load_file(theirs)),
    )
    name = list(flat)[len(flat) // 2]
    yield measured(f"{title}, one variable of a safetensors file", lambda: checkpoint.load_variable(ours, name))


def steps(directory, title, tree):
    """Steps of a `Checkpointer`, in both stores, and Orbax."""
    import orbax.checkpoint.experimental.v1 as ocp

    arrays, like, direct = jax.block_until_ready(jax.device_put(tree)), abstract(tree), directory / "direct"
    for store, label in (("safetensors", "step"), ("orbax", "Orbax store")):
        ours = directory / store

        def save(ours=ours, store=store):
            with Checkpointer(ours, store=store) as checkpoints:
                checkpoints.save(0, params=arrays)

        yield measured(f"{title}, save: {label} / Orbax", save, lambda: ocp.save(direct, arrays), (ours, direct))
        # The last turn left only the other's.
        save()
        yield measured(
            f"{title}, restore: {label} / Orbax",
            lambda ours=ours: Checkpointer(ours).restore(params=like),
            lambda: ocp.load(direct, like),
        )
        shutil.rmtree(ours)
    shutil.rmtree(direct)


def bundles(directory, title, tree):
    """TensorFlow's format, by jscope and by TensorFlow."""
    import tensorflow as tf

    prefix = str(directory / "model.ckpt-1")
    tensorbundle.save(prefix, tree)

    def theirs():
        reader = tf.train.load_checkpoint(prefix)
        return [reader.get_tensor(name) for name in reader.get_variable_to_shape_map()]

    yield measured(f"{title}, read: tensorbundle / TensorFlow", lambda: tensorbundle.load(prefix), theirs)


def main(argv=None):
    """Measures, prints a table, and writes JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpoint", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="an eighth of the size; the goals are those of the full one"
    )
    parser.add_argument("--directory", help="where to write (default: the directory for temporary files)")
    parser.add_argument("--out", type=Path, help="a file for the results, as JSON")
    chosen = parser.parse_args(argv)
    titles = ("128 MB", "1,000 leaves") if chosen.quick else ("1 GB", "10,000 leaves")
    trees = (large(128), small(1_000)) if chosen.quick else (large(1024), small(10_000))
    rows = []
    print(f"{'':45} {'jscope, s':>10} {'other, s':>10} {'ratio':>10}")
    with tempfile.TemporaryDirectory(dir=chosen.directory) as directory:
        for title, tree in zip(titles, trees, strict=True):
            rows += [*files(Path(directory), title, tree), *steps(Path(directory), title, tree)]
        if importlib.util.find_spec("tensorflow"):
            rows += bundles(Path(directory), titles[0], trees[0])
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(described(*VERSIONS) | {"rows": rows}, indent=1) + "\n", encoding="utf8")
    slow = [row["name"] for row in rows if row.get("ratio", min(row["ours"])) > GOALS.get(row["name"], np.inf)]
    if slow:
        sys.exit(f"Slower than the goals: {', '.join(slow)}")


if __name__ == "__main__":
    main()
