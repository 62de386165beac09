"""From results to tables and a figure: for people at a terminal, and for `docs/benchmarks.md`."""

from __future__ import annotations

import json
import os
import re

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter
from rich.console import Console
from rich.table import Table

from benchmarks._goals import GOALS, Results
from benchmarks._libraries import LIBRARIES

SECONDS = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"))


def quantity(value, unit):
    """Returns a number in three digits, with its unit.

    >>> quantity(0.0123, "s"), quantity(12.0, "MiB"), quantity(57020, ""), quantity(True, "bool")
    ('12.3 ms', '12.0 MiB', '57,020', 'yes')
    """
    if unit == "bool":
        return "yes" if value else "no"
    if unit == "s":
        scale, unit = next((pair for pair in SECONDS if value >= pair[0]), SECONDS[-1])
        value /= scale
    digits = max(0, 3 - len(str(int(abs(value))))) if value != int(value) or unit else 0
    return f"{value:,.{digits}f} {unit}".rstrip()


def cell(found, library):
    """Returns what one library did: for JAX by hand the number, for others the ratio to it, where there is one.

    The spread is half of what the middle half of all ratios covers; for JAX by hand that is the noise.
    """
    if found is None:
        return "-"
    spread = (found.get("ratio_high", 0) - found.get("ratio_low", 0)) / 2
    if library != "raw" and "ratio" in found:
        digits = 2 if found["ratio"] >= 0.1 else 4
        return f"{found['ratio']:.{digits}f} ±{spread:.2f}".removesuffix(" ±0.00")
    return quantity(found["median"], found["unit"]) + (f" ±{spread:.0%}" if spread >= 0.005 else "")


def measurements(results):
    """Returns the titles of columns, and a row of cells for each metric."""
    metrics = results["metrics"]
    libraries = [name for name in LIBRARIES if any(name in found for found in metrics.values())]
    rows = [
        [key.replace("/", ", "), *(cell(found.get(name), name) for name in libraries)] for key, found in metrics.items()
    ]
    return ["", *(LIBRARIES[name].title for name in libraries)], rows


def goals(results):
    """Returns the titles of columns, and a row for each goal."""
    found, rows = Results(results["metrics"]), []
    for goal in GOALS:
        try:
            value = goal.measured(found)
        except LookupError:
            told, met = "-", "not measured"
        else:
            told, met = f"{value:.3g} {goal.unit}".strip(), "yes" if value <= goal.limit else "**no**"
        rows.append([goal.what, f"≤ {goal.limit:g} {goal.unit}".strip(), told, met])
    return ["what", "goal", "measured", "met"], rows


def tables(results):
    """Returns both tables by their headings; without goals where a run is about none of them."""
    titles, rows = goals(results)
    told = {"Goals": (titles, rows)} if any(met != "not measured" for *_, met in rows) else {}
    return told | {"Measurements": measurements(results)}


def show(results):
    """Prints the tables."""
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=170)
    for heading, (titles, rows) in tables(results).items():
        table = Table(*titles, title=heading)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def where(results):
    """Returns what a result must say to mean anything: when, on what, and with what."""
    command = "python -m benchmarks.gpu" if part(results) == "gpu" else "python -m benchmarks"
    flag = "" if results["size"] == "full" else f" --{results['size']}"
    machine = f"{results['processor']} ({results['cores']} cores, load {results['load']} at the start)"
    versions = (f"{name} {number}" for name, number in results["versions"].items())
    told = [*results.get("told", ()), machine, f"Python {results['python']}", *versions]
    return f"`{command}{flag}` on {results['date']}, {results['seconds'] / 60:.0f} minutes, {', '.join(told)}."


def part(results):
    """Returns which part of the page results belong to: "cpu" or "gpu"."""
    return "gpu" if any(key.startswith("gpu/") for key in results["metrics"]) else "cpu"


def grid(titles, rows):
    """Returns a table in Markdown.

    >>> print(grid(["", "a"], [["x", "1"]]))
    |  | a |
    | --- | --: |
    | x | 1 |
    """
    lines = [titles, ["---"] + ["--:"] * (len(titles) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rewrite(page, source):
    """Puts the tables of the run in `source`, and its figure if there is one, between the markers of a page.

    Raises:
      ValueError: There are no markers.
    """
    results, text = json.loads(source.read_text(encoding="utf8")), page.read_text(encoding="utf8")
    begin, end = (f"<!-- {part(results)}: {edge} -->" for edge in ("begin", "end"))
    if begin not in text or end not in text:
        raise ValueError(f"{page} lacks the lines {begin} and {end}, between which the results go.")
    inside, figure = [where(results)], source.with_suffix(".png")
    if figure.exists():
        inside.insert(0, f"![Ratios to JAX by hand]({os.path.relpath(figure, page.parent)})")
    for heading, (titles, rows) in tables(results).items():
        inside += [f"### {heading}", grid(titles, rows)]
    between = re.compile(re.escape(begin) + ".*" + re.escape(end), re.DOTALL)
    page.write_text(between.sub(lambda _: "\n\n".join([begin, *inside, end]), text), encoding="utf8")


def draw(results, path):
    """Writes a figure as PNG: for each metric a line of dots, the ratios of the libraries to JAX by hand."""
    rows = [key for key, found in results["metrics"].items() if any("ratio" in each for each in found.values())]
    figure = Figure(figsize=(10, 2 + len(rows) / 5), layout="constrained")
    axes, dots = figure.subplots(), []
    for name, library in LIBRARIES.items():
        shown = {key: found[name] for key, found in results["metrics"].items() if "ratio" in found.get(name, {})}
        if shown and name != "raw":
            ratio, low, high = ([found[f] for found in shown.values()] for f in ("ratio", "ratio_low", "ratio_high"))
            dots += axes.plot(ratio, list(shown), "o", alpha=0.7, label=library.title)
            axes.hlines(list(shown), low, high, color=dots[-1].get_color())
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xscale="log", xlabel="jscope and others / JAX by hand: less is better")
    axes.set_title(f"{results['processor']}, JAX {results['versions']['jax']}, {results['date']}")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.legend(handles=dots)
    figure.savefig(path, dpi=100)
