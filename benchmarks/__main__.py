"""`python -m benchmarks`: jscope beside JAX by hand and beside the other libraries. `--help` tells the options."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import _plot, _report
from benchmarks._libraries import LIBRARIES
from benchmarks._run import NAMES, ROOT, run
from benchmarks._sizes import SIZES


def arguments(argv=None):
    """Returns what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", dest="size", action="store_const", const="quick", help="shallow models: 3 minutes instead of 20"
    )
    size.add_argument("--tiny", dest="size", action="store_const", const="tiny", help="to see that everything runs")
    parser.set_defaults(size="full")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(NAMES), help=", ".join(NAMES))
    parser.add_argument("--libraries", type=lambda text: text.split(","), help=", ".join(LIBRARIES))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder for JSON and PNG")
    parser.add_argument("--docs", type=Path, metavar="JSON", help="put these results into docs/benchmarks.md, and stop")
    chosen = parser.parse_args(argv)
    for asked, known in ((chosen.only, NAMES), (chosen.libraries or [], LIBRARIES)):
        if strangers := set(asked) - set(known):
            parser.error(f"unknown: {', '.join(strangers)}; known: {', '.join(known)}")
    if chosen.libraries is None:
        chosen.libraries = [name for name, library in LIBRARIES.items() if library.installed]
    # Whatever is compared, is compared to JAX by hand.
    chosen.libraries = ["raw", *(name for name in chosen.libraries if name != "raw")]
    return chosen


def main(argv=None):
    """Measures, prints, and writes; or puts what was measured before into the documentation."""
    chosen = arguments(argv)
    if chosen.docs is not None:
        _report.rewrite(ROOT / "docs" / "benchmarks.md", chosen.docs)
        return
    results = run(chosen.libraries, chosen.only, SIZES[chosen.size], say=lambda text: print(text, flush=True))
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / f"{results['date']}-{results['device']}-jax{results['versions']['jax']}.json"
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf8")
    _plot.draw(results, path.with_suffix(".png"))
    _report.show(results)
    print(f"Written: {path} and .png")


if __name__ == "__main__":
    main()
