"""Starts the processes: every library in its own, in turns, in several rounds, and condenses what they say."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._describe import described
from benchmarks._libraries import LIBRARIES

ROOT = Path(__file__).parents[1]

# Measures that share a process. `init` is cold only once in a process, and 8 devices change everything else.
GROUPS = (
    ("trace", "eager", "dispatch", "loop", "train", "depth", "growth"),
    ("init", "jit_init"),
    ("shallow",),
    ("sharded",),
    ("import",),
)
NAMES = tuple(name for names in GROUPS for name in names)

# What a process can measure only once takes part in every round; the rest has its turns with JAX by hand in the first.
EVERY_ROUND = ("init",)

# What only some libraries are asked for: the others would take minutes to no purpose.
ONLY = {"shallow": ("explicit", "tf1"), "sharded": ("explicit", "linen")}


class FailedError(Exception):
    """A process failed, or the libraries disagree."""


def run(libraries, names, size, say=print):
    """Returns the results of a run: what was measured, of what, and where.

    Raises:
      FailedError: The libraries disagree, or a process failed.
    """
    start, samples, about = time.monotonic(), [], described(libraries) | {"size": size.name}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start_process(",".join(libraries), ("agree",), size, folder)
        say(f"{time.monotonic() - start:5.0f} s  the libraries agree: {', '.join(libraries)}")
        for number, group, library in order(libraries, size.rounds):
            chosen = [
                name
                for name in group
                if name in names and library in ONLY.get(name, libraries) and (number == 0 or name in EVERY_ROUND)
            ]
            if not chosen:
                continue
            found = (
                imported(library, folder, size.imports)
                if chosen == ["import"]
                else start_process(library, chosen, size, folder)
            )
            samples += [(library, number, sample) for sample in found]
            say(f"{time.monotonic() - start:5.0f} s  round {number + 1}: {library}: {', '.join(chosen)}")
    return about | {"seconds": round(time.monotonic() - start), "metrics": condensed(samples)}


def order(libraries, rounds):
    """Yields round, group of measures and library: libraries in turns, every second round backwards."""
    for number in range(rounds):
        for group in GROUPS:
            for library in libraries if number % 2 == 0 else reversed(libraries):
                yield number, group, library


def environment(folder):
    """Returns what a process sees: no cache of compiled programs, and modules that were compiled before."""
    own = {"PYTHONPYCACHEPREFIX": str(folder / "pycache"), "JAX_ENABLE_COMPILATION_CACHE": "false"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {"JAX_PLATFORMS": "cpu"} | inherited | own


def start_process(library, names, size, folder):
    """Runs measures of one library in a process of their own, and returns its samples.

    Raises:
      FailedError: It failed.
    """
    out = folder / "samples.json"
    command = [sys.executable, "-m", "benchmarks._worker", library, ",".join(names), size.name, str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedError(f"{library}: {', '.join(names)} failed.\n{done.stderr[-4000:]}")
    return json.loads(out.read_text(encoding="utf8"))


def imported(library, folder, times):
    """Returns how long a library's import takes after that of jax. Its modules are compiled before."""
    code = "import time; a = time.perf_counter(); import jax; b = time.perf_counter(); "
    code += f"import {LIBRARIES[library].package}; c = time.perf_counter(); print(b - a, c - b)"
    command, found = [sys.executable, "-c", code], []
    for _ in range(times):
        done = subprocess.run(command, cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=True)
        found.append([float(part) for part in done.stdout.split()])
    jax_alone, beyond = zip(*found[1:], strict=True)
    if library == "raw":
        return [{"key": "import/jax", "unit": "s", "values": jax_alone, "raw": []}]
    return [{"key": "import/beyond jax", "unit": "s", "values": beyond, "raw": []}]


def condensed(samples):
    """Returns `{key: {library: numbers}}`, from triples of library, round and sample. See `summary`."""
    rounds = {}
    for library, number, sample in samples:
        rounds.setdefault(sample["key"], {}).setdefault(library, {})[number] = sample
    measures = [key.partition("/")[0] for key in rounds]
    return {
        key: {library: summary(found, rounds[key].get("raw", {})) for library, found in rounds[key].items()}
        for key in sorted(rounds, key=lambda key: measures.index(key.partition("/")[0]))
    }


def summary(rounds, raw_rounds):
    """Returns the numbers of one metric of one library: medians and quartiles, of values and of ratios to JAX by hand.

    >>> summary({0: {"unit": "s", "values": [2.0, 8.0, 4.4], "raw": [1.0, 4.0, 2.0]}}, {})["ratio"]
    2.0
    """
    samples = rounds.values()
    unit = next(iter(samples))["unit"]
    found = {"unit": unit, **quartiles("", [value for sample in samples for value in sample["values"]])}
    ratios = []
    for number, sample in rounds.items():
        if sample["raw"]:
            ratios += [value / raw for value, raw in zip(sample["values"], sample["raw"], strict=True)]
        elif number in raw_rounds:
            ratios.append(statistics.median(sample["values"]) / statistics.median(raw_rounds[number]["values"]))
    return found | (quartiles("ratio_", ratios) if ratios and unit != "bool" else {})


def quartiles(prefix, values):
    """Returns the median and the quartiles of some numbers, and how many they are.

    >>> quartiles("", [1.0, 2.0, 3.0])
    {'median': 2.0, 'low': 1.5, 'high': 2.5, 'n': 3}
    """
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    numbers = {"median": median, "low": low, "high": high, "n": len(values)}
    return {f"{prefix}{name}".replace("ratio_median", "ratio"): number for name, number in numbers.items()}
