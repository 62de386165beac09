"""`python -m benchmarks.gpu`: a train step of a language model of 350 million parameters, on one accelerator.

jscope beside JAX by hand and the other libraries, as far as they are installed: JAX and jscope are all that is needed.
Each runs in processes of its own, in turns. `--tiny` runs anywhere in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._describe import described
from benchmarks._grid import decoders
from benchmarks._libraries import LIBRARIES

ROOT = Path(__file__).parents[1]
PARTICIPANTS = ("raw", "explicit", "equinox", "nnx", "linen")

# Dense bfloat16 operations per second, by how `device_kind` starts; the longest that fits counts.
PEAKS = {
    "NVIDIA A100": 312e12,
    "NVIDIA B200": 2250e12,
    "NVIDIA GH200": 989e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40S": 362e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}


def peak_of(device):
    """Returns the most bfloat16 operations per second of a chip, or None if that is not known here.

    >>> peak_of("NVIDIA H100 80GB HBM3") / 1e12, peak_of("NVIDIA H100 PCIe") / 1e12, peak_of("cpu")
    (989.0, 756.0, None)
    """
    fitting = [name for name in PEAKS if device.startswith(name)]
    return PEAKS[max(fitting, key=len)] if fitting else None


def arguments(argv=None):
    """Returns what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a toy model, on any device, to see that everything runs")
    parser.add_argument("--libraries", type=lambda text: text.split(","), help=", ".join(PARTICIPANTS))
    parser.add_argument("--batch", type=int, help="sequences per step (8)")
    parser.add_argument("--steps", type=int, help="steps that are timed at once, five times (20)")
    parser.add_argument("--rounds", type=int, help="processes per library (2)")
    parser.add_argument("--attention", choices=("cudnn", "xla"), help="who computes attention (what works)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder for the JSON")
    chosen = parser.parse_args(argv)
    chosen.libraries = chosen.libraries or [name for name in PARTICIPANTS if LIBRARIES[name].installed]
    if strangers := set(chosen.libraries) - set(PARTICIPANTS):
        parser.error(f"unknown: {', '.join(strangers)}; known: {', '.join(PARTICIPANTS)}")
    for name, tiny, full in (("batch", 2, 8), ("steps", 2, 20), ("rounds", 1, 2)):
        setattr(chosen, name, getattr(chosen, name) or (tiny if chosen.tiny else full))
    return chosen


def start(library, chosen, kernel):
    """Runs one process and returns what it found.

    Raises:
      RuntimeError: It failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        size = "tiny" if chosen.tiny else "full"
        told = (library, size, chosen.batch, kernel, chosen.steps, time.time(), out)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks._decoder", *map(str, told)],
            cwd=ROOT,
            env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{library} failed.\n{done.stderr[-4000:]}")
        return json.loads(out.read_text(encoding="utf8"))


def condensed(found):
    """Returns the numbers of each library, from what its processes found."""
    by_library = {}
    for one in found:
        by_library.setdefault(one["library"], []).append(one)
    summaries = {name: summary(ones) for name, ones in by_library.items()}
    raw = summaries.get("raw")
    for each in summaries.values():
        each["ratio"] = each["step_ms"] / raw["step_ms"] if raw else None
        each["same_program"] = ("yes" if each["program"] == raw["program"] else "no") if raw else None
    return summaries


def summary(ones):
    """Returns the numbers of one library."""
    first, times = ones[0], [seconds for one in ones for seconds in one["step"]]
    step, peak = statistics.median(times), peak_of(first["device"])
    memory = [one["peak_bytes"] for one in ones if one["peak_bytes"]]
    return {
        "step_ms": 1e3 * step,
        "spread_ms": 1e3 * (max(times) - min(times)) / 2,
        "tokens_per_second": first["tokens"] / step,
        "utilization": first["operations"] / step / peak if peak else None,
        "peak_gib": statistics.median(memory) / 2**30 if memory else None,
        "initialized": statistics.median(one["initialized"] for one in ones),
        "first_step": statistics.median(one["first_step"] for one in ones),
        "losses": first["losses"],
        "program": first["program"],
    }


def main(argv=None):
    """Measures, prints a table, and writes JSON."""
    chosen = arguments(argv)
    kernel = chosen.attention or start("kernel", chosen, "")["kernel"]
    found = []
    for number in range(chosen.rounds):
        for library in chosen.libraries if number % 2 == 0 else reversed(chosen.libraries):
            found.append(start(library, chosen, kernel))
            step = 1e3 * statistics.median(found[-1]["step"])
            print(f"round {number + 1}, {LIBRARIES[library].title}: {step:.2f} ms", flush=True)
    results = {**described(chosen.libraries), "device": found[0]["device"], "attention": kernel, "tiny": chosen.tiny}
    results |= {"parameters": found[0]["parameters"], "batch": chosen.batch, "decoder": condensed(found)}
    show(results)
    chosen.out.mkdir(parents=True, exist_ok=True)
    device, number = results["device"].replace(" ", "_"), results["versions"]["jax"]
    path = chosen.out / f"{results['date']}-{device}-jax{number}-decoder.json"
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf8")
    print(f"Written: {path}")


def show(results):
    """Prints the table, and what is needed to read it."""
    device, millions = results["device"], results["parameters"] / 1e6
    print(
        f"\n{device}: {millions:,.2f} million parameters, batch {results['batch']}, attention by {results['attention']}"
    )
    if peak_of(device) is None:
        print(f"What {device} can do at most is not known here; `PEAKS` in benchmarks/gpu.py is the place for it.")
    print(decoders(results["decoder"]))


if __name__ == "__main__":
    main()
