"""One process, one library: `python -m benchmarks._worker LIBRARY MEASURE,MEASURE SIZE OUT`.

The measure `agree` takes several libraries, and says nothing unless they disagree.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import jax

from benchmarks._agree import check, small
from benchmarks._measures import MEASURES
from benchmarks._sizes import SIZES
from benchmarks.models._models import UnsupportedError


def main(library, names, size, out):
    """Runs the measures and writes their samples as JSON."""
    if names == "sharded":
        jax.config.update("jax_num_cpu_devices", 8)
    samples = []
    for name in names.split(","):
        if name == "agree":
            # These programs run once.
            jax.config.update("jax_disable_most_optimizations", True)
            check(library.split(","), small(SIZES[size]))
            continue
        try:
            samples += [dataclasses.asdict(sample) for sample in MEASURES[name](library, SIZES[size])]
        except UnsupportedError:
            continue
    Path(out).write_text(json.dumps(samples), encoding="utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
