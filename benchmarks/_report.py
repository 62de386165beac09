"""From results to tables: for people at a terminal, and for `docs/benchmarks.md`."""

from __future__ import annotations

import json
import os
import re

from rich.console import Console
from rich.table import Table

from benchmarks._goals import GOALS, Results
from benchmarks._grid import decoders, grid
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
    if library != "raw" and "ratio" in found:
        return f"{found['ratio']:.2f} ±{(found['ratio_high'] - found['ratio_low']) / 2:.2f}".removesuffix(" ±0.00")
    noise = (found.get("ratio_high", 0) - found.get("ratio_low", 0)) / 2
    return quantity(found["median"], found["unit"]) + (f" ±{noise:.0%}" if noise >= 0.005 else "")


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
        value = goal.measured(found)
        met = "not measured" if value is None else "yes" if value <= goal.limit else "**no**"
        asked = f"≤ {goal.limit:g} {goal.unit}".strip()
        rows.append([goal.what, asked, "-" if value is None else f"{value:.3g} {goal.unit}".strip(), met])
    return ["what", "goal", "measured", "met"], rows


def show(results):
    """Prints both tables."""
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=170)
    for heading, (titles, rows) in (("Ratios to JAX by hand", measurements(results)), ("Goals", goals(results))):
        table = Table(*titles, title=heading)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def where(results):
    """Returns what a result must say to mean anything: when, on what, and with what."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    machine = f"{results['processor']} ({results['cores']} cores, load {results['load']} at the start), "
    machine += f"Python {results['python']}, {versions}"
    if "decoder" in results:
        return f"{results['date']}, {results['device']}, {machine}."
    flag = "" if results["size"] == "full" else f" --{results['size']}"
    return f"`python -m benchmarks{flag}` on {results['date']}, {results['seconds'] / 60:.0f} minutes, {machine}."


def markdown(results):
    """Returns the tables of a run in Markdown."""
    if "decoder" in results:
        told = f"{results['parameters']:,} parameters, batch {results['batch']}, attention by {results['attention']}."
        return "\n\n".join([where(results), told, decoders(results["decoder"])])
    tables = ["### Goals", grid(*goals(results)), "### Measurements", grid(*measurements(results))]
    return "\n\n".join([where(results), *tables])


def rewrite(page, source):
    """Puts the tables of the run in `source`, and its figure if there is one, between the markers of a page.

    Raises:
      ValueError: There are no markers.
    """
    results, text = json.loads(source.read_text(encoding="utf8")), page.read_text(encoding="utf8")
    begin, end = (f"<!-- {'gpu' if 'decoder' in results else 'cpu'}: {edge} -->" for edge in ("begin", "end"))
    if begin not in text or end not in text:
        raise ValueError(f"{page} lacks the lines {begin} and {end}, between which the results go.")
    inside, figure = markdown(results), source.with_suffix(".png")
    if figure.exists():
        inside = f"![Ratios to JAX by hand]({os.path.relpath(figure, page.parent)})\n\n{inside}"
    between = re.compile(re.escape(begin) + ".*" + re.escape(end), re.DOTALL)
    page.write_text(between.sub(lambda _: f"{begin}\n\n{inside}\n\n{end}", text), encoding="utf8")
