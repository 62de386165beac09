"""Tables in Markdown."""

from __future__ import annotations

from benchmarks._libraries import LIBRARIES

COLUMNS = (
    ("step", "step_ms", "{:.2f} ms"),
    ("±", "spread_ms", "{:.2f} ms"),
    ("/ JAX by hand", "ratio", "{:.3f}"),
    ("tokens/s", "tokens_per_second", "{:,.0f}"),
    ("of peak", "utilization", "{:.1%}"),
    ("peak memory", "peak_gib", "{:.2f} GiB"),
    ("initialized after", "initialized", "{:.1f} s"),
    ("first step after", "first_step", "{:.1f} s"),
    ("same program", "same_program", "{}"),
)


def grid(titles, rows):
    """Returns a table in Markdown.

    >>> print(grid(["", "a"], [["x", "1"]]))
    |  | a |
    | --- | --: |
    | x | 1 |
    """
    lines = [titles, ["---"] + ["--:"] * (len(titles) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def decoders(summaries):
    """Returns what `benchmarks.gpu` measured as a table."""
    rows = []
    for name, numbers in summaries.items():
        cells = ["unknown" if numbers[key] is None else form.format(numbers[key]) for _, key, form in COLUMNS]
        rows.append([LIBRARIES[name].title, *cells])
    return grid(["", *(title for title, _, _ in COLUMNS)], rows)
