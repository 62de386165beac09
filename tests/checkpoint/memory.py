"""How much memory a conversion takes beyond its result: `python memory.py WHAT DIRECTORY`.

Prints the most anonymous memory (which mapped files are not) beyond what there was before and the result, and the bytes
of the largest array that is not stacked.
"""

import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np

from jscope import checkpoint
from jscope.checkpoint import Conversion, Rule, safetensors

LAYERS, ROWS, COLUMNS = 16, 2048, 2048
TABLE = Conversion([Rule("layers/w", "h.{i}.w", "o d -> i d o")])


def anonymous():
    """The anonymous memory of this process, in bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text("utf8").splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


def main(what, directory):
    layers = {f"h.{i}.w": jax.ShapeDtypeStruct((ROWS, COLUMNS), np.float32) for i in range(LAYERS)}
    stack = {"layers/w": jax.ShapeDtypeStruct((LAYERS, COLUMNS, ROWS), np.float32)}
    table, source, result = (TABLE, layers, stack) if what in ("stack", "file") else (TABLE.inverse, stack, layers)
    random = np.random.default_rng(0)
    for name, each in source.items():
        source[name] = random.random(each.shape, np.float32)
    safetensors.save(directory / "x.safetensors", source)
    del source, each
    small = {"a": np.ones((8, 8), np.float32)}
    safetensors.save(directory / "small.safetensors", small)
    checkpoint.restore(jax.tree.map(jax.numpy.asarray, small), directory / "small.safetensors")
    before, peak, done = anonymous(), [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], anonymous())
            time.sleep(0.001)

    watching = threading.Thread(target=watch)
    watching.start()
    if what in ("stack", "unstack"):
        kept = checkpoint.restore(result, directory / "x.safetensors", conversion=table)
        jax.block_until_ready(kept)
        size = sum(each.nbytes for each in jax.tree.leaves(kept))
    else:
        reader = checkpoint.load_checkpoint(directory / "x.safetensors")
        arrays = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        safetensors.save(directory / "y.safetensors", arrays, conversion=table)
        size = 0
    done.set()
    watching.join()
    sys.stdout.write(f"{peak[0] - before - size} {ROWS * COLUMNS * 4}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
