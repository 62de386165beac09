"""One figure of a run: for a few metrics, a group of bars of ratios to JAX by hand."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from benchmarks._libraries import LIBRARIES

SHOWN = (
    "trace/apply/transformer",
    "trace/grad/transformer",
    "eager/apply/transformer",
    "init/cold",
    "init/jit",
    "init/sharded",
    "dispatch/call",
    "loop/jitted trace",
    "growth/trace",
)


def deepest(results):
    """Returns, for each metric that is shown, what was found for the last model: the deepest."""
    metrics = results["metrics"]
    last = {prefix: key for prefix in SHOWN for key in metrics if key.startswith(prefix)}
    return {key: metrics[key] for key in last.values() if any("ratio" in found for found in metrics[key].values())}


def draw(results, path):
    """Writes the figure as PNG."""
    shown = deepest(results)
    names = [name for name in LIBRARIES if name != "raw" and any(name in found for found in shown.values())]
    figure, width = Figure(figsize=(14, 5), layout="constrained"), 0.8 / len(names)
    axes = figure.subplots()
    for i, name in enumerate(names):
        bars = [(x, found[name]) for x, found in enumerate(shown.values()) if "ratio" in found.get(name, {})]
        places = [x + (i - (len(names) - 1) / 2) * width for x, _ in bars]
        spread = [[f["ratio"] - f["ratio_low"] for _, f in bars], [f["ratio_high"] - f["ratio"] for _, f in bars]]
        heights = [found["ratio"] - 1 for _, found in bars]
        axes.bar(places, heights, width, bottom=1, yerr=spread, label=LIBRARIES[name].title)
    axes.axhline(1, color="black", linewidth=1)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter())
    axes.set_xticks(range(len(shown)), [key.replace("/", "\n") for key in shown], fontsize=8)
    axes.set_ylabel("time / JAX by hand")
    axes.set_title(f"{results['processor']}, JAX {results['versions']['jax']}, {results['date']}")
    axes.legend(ncols=len(names), fontsize=8)
    figure.savefig(path, dpi=120)
