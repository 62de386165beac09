"""Starts the processes: every library in its own, in turns, in several rounds, and condenses what they say."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from benchmarks._agree import agree
from benchmarks._describe import described
from benchmarks._libraries import LIBRARIES

ROOT = Path(__file__).parents[1]

# Units of what means more than its ratio to JAX by hand.
ABSOLUTE = ("bool", "%", "tokens/s", "nats")


class FailedError(Exception):
    """A process failed, or the libraries disagree."""


def run(libraries, measures, size, platforms="cpu"):
    """Returns the results of a run: what was measured, of what, and where.

    Raises:
      FailedError: The libraries disagree, or a process failed.
    """
    start, samples = time.monotonic(), []
    about = described("jax", "jaxlib", "numpy", *(LIBRARIES[name].distribution for name in libraries))
    start_process(",".join(libraries), [agree], size)
    print(f"{time.monotonic() - start:5.0f} s  the libraries agree: {', '.join(libraries)}", flush=True)
    for number, library, chosen in plan(libraries, measures, size.rounds):
        found = start_process(library, [measures[name].function for name in chosen], size, platforms)
        samples += [(library, number, sample) for sample in found]
        print(f"{time.monotonic() - start:5.0f} s  round {number + 1}: {library}: {', '.join(chosen)}", flush=True)
    seconds = round(time.monotonic() - start)
    return about | {"size": size.name, "seconds": seconds, "metrics": condensed(samples)}


def plan(libraries, measures, rounds):
    """Yields the round, the library and the measures of each process: libraries in turns, every second round backwards.

    >>> from benchmarks._measures import MEASURES
    >>> list(plan(["raw", "explicit"], {name: MEASURES[name] for name in ("init", "shallow")}, 2))[:3]
    [(0, 'raw', ['init']), (0, 'explicit', ['init']), (0, 'explicit', ['shallow'])]
    """
    for number in range(rounds):
        for process in dict.fromkeys(measure.process for measure in measures.values()):
            shared = [name for name, m in measures.items() if m.process == process and (m.every_round or not number)]
            for library in libraries if number % 2 == 0 else reversed(libraries):
                if chosen := [name for name in shared if library in measures[name].only]:
                    yield number, library, chosen


def start_process(library, measures, size, platforms="cpu"):
    """Runs measures of one library in a process of their own, and returns its samples.

    Raises:
      FailedError: It failed.
    """
    names = ",".join(f"{measure.__module__}:{measure.__name__}" for measure in measures)
    environment = {"JAX_PLATFORMS": platforms} | os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    told = json.dumps(dataclasses.asdict(size) | {"started": time.time()})
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "samples.json"
        command = [sys.executable, "-m", "benchmarks._run", library, names, told, str(out)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FailedError(f"{library}: {names} failed.\n{done.stderr[-4000:]}")
        return json.loads(out.read_text(encoding="utf8"))


def work(library, names, size, out):
    """What such a process does: measures, and writes samples as JSON."""
    samples, size = [], SimpleNamespace(**json.loads(size))
    for name in names.split(","):
        module, _, function = name.partition(":")
        samples += map(dataclasses.asdict, getattr(importlib.import_module(module), function)(library, size))
    Path(out).write_text(json.dumps(samples), encoding="utf8")


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
        elif number in raw_rounds and unit not in ABSOLUTE:
            ratios.append(statistics.median(sample["values"]) / statistics.median(raw_rounds[number]["values"]))
    return found | (quartiles("ratio_", ratios) if ratios else {})


def quartiles(prefix, values):
    """Returns the median and the quartiles of some numbers, and how many they are.

    >>> quartiles("", [1.0, 2.0, 3.0])
    {'median': 2.0, 'low': 1.5, 'high': 2.5, 'n': 3}
    """
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    numbers = {"median": median, "low": low, "high": high, "n": len(values)}
    return {f"{prefix}{name}".replace("ratio_median", "ratio"): number for name, number in numbers.items()}


def write(results, folder, suffix=""):
    """Writes results as JSON, and returns the path."""
    folder.mkdir(parents=True, exist_ok=True)
    device, number = results["device"].replace(" ", "_"), results["versions"]["jax"]
    path = folder / f"{results['date']}-{device}-jax{number}{suffix}.json"
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf8")
    return path


if __name__ == "__main__":
    work(*sys.argv[1:])
