"""How much memory initial values take on their way to a file: `python initial.py DIRECTORY (file | shards | stacked)`.

Prints the most anonymous memory (which mapped files are not) beyond what there was before, and the bytes of one
variable, of which there are 16; `stacked`, they become one array.
"""

import sys
import threading
import time
from pathlib import Path

import jax

import jscope
from jscope.checkpoint import Conversion, Rule

LAYERS, ROWS, COLUMNS = 16, 4096, 2048


def anonymous():
    """The anonymous memory of this process, in bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text("utf8").splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


def model(scope, layers, rows):
    for i in range(layers):
        (scope / f"layer_{i}").get_variable("w", (rows, COLUMNS))


def main(directory, way):
    specs = jscope.specs(model, LAYERS, ROWS)
    to = {
        "file": {"to": directory / "x.safetensors"},
        "shards": {"to": directory / "x", "shard_bytes": 70_000_000},
        "stacked": {
            "to": directory / "x.safetensors",
            "conversion": Conversion([Rule("w", "layer_{i}/w", "r c -> i r c")]),
        },
    }[way]
    jscope.specs(model, 1, 8).materialize(jax.random.key(0), to=directory / "small.safetensors")
    before, peak, done = anonymous(), [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], anonymous())
            time.sleep(0.001)

    watching = threading.Thread(target=watch)
    watching.start()
    specs.materialize(jax.random.key(0), **to)
    done.set()
    watching.join()
    sys.stdout.write(f"{peak[0] - before} {ROWS * COLUMNS * 4}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
