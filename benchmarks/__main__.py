"""`python -m benchmarks`: jscope beside JAX by hand and beside the other libraries. `--help` tells the options."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import _report, _run
from benchmarks._libraries import LIBRARIES
from benchmarks._measures import MEASURES
from benchmarks._sizes import SIZES


def arguments(argv=None):
    """Returns what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    told = {"quick": "shallow models: 3 minutes instead of 20", "tiny": "to see that everything runs"}
    for name, meaning in told.items():
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name, default="full", help=meaning)
    parser.add_argument("--only", type=among(MEASURES), default=list(MEASURES), help=", ".join(MEASURES))
    add_common(parser, LIBRARIES)
    parser.add_argument("--docs", type=Path, metavar="JSON", help="put these results into docs/benchmarks.md, and stop")
    chosen = parser.parse_args(argv)
    # Whatever is compared, is compared to JAX by hand.
    chosen.libraries = ["raw", *(name for name in chosen.libraries if name != "raw")]
    return chosen


def add_common(parser, libraries):
    """Adds the options that `benchmarks.gpu` has as well."""
    installed = [name for name in libraries if LIBRARIES[name].installed]
    parser.add_argument("--libraries", type=among(libraries), default=installed, help=", ".join(libraries))
    parser.add_argument("--out", type=Path, default=_run.ROOT / "benchmarks" / "results", help="folder for the results")


def among(known):
    """Returns what reads names with commas between them, of those that are known."""

    def read(text):
        if strangers := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(strangers)}; known: {', '.join(known)}")
        return text.split(",")

    return read


def main(argv=None):
    """Measures, prints, and writes; or puts what was measured before into the documentation."""
    chosen = arguments(argv)
    if chosen.docs is not None:
        _report.rewrite(_run.ROOT / "docs" / "benchmarks.md", chosen.docs)
        return
    measures = {name: measure for name, measure in MEASURES.items() if name in chosen.only}
    results = _run.run(chosen.libraries, measures, SIZES[chosen.size])
    path = _run.write(results, chosen.out)
    _report.draw(results, path.with_suffix(".png"))
    _report.show(results)
    print(f"Written: {path} and .png")


if __name__ == "__main__":
    main()
