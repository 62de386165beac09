"""`python -m benchmarks.gpu`: a train step of a language model of 350 million parameters, on one accelerator.

jscope beside JAX by hand and the other libraries, as far as they are installed: JAX and jscope are all that is needed.
Each runs in processes of its own, in turns. `--tiny` runs anywhere in seconds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

from benchmarks import _report, _run
from benchmarks.__main__ import add_common
from benchmarks._decoder import cudnn, decoder, peak_of
from benchmarks._measures import Measure

PARTICIPANTS = ("raw", "explicit", "equinox", "nnx", "linen")


@dataclass(frozen=True)
class Size:
    """A model and how long to train it; without arguments, GPT-2 medium, its vocabulary a multiple of 128.

    Attributes:
      steps: Steps that are timed at once, five times.
      rounds: Processes per library.
      attention: Who computes it: "cudnn" or "xla".
    """

    name: str = "full"
    layers: int = 24
    width: int = 1024
    heads: int = 16
    vocabulary: int = 50_304
    length: int = 1024
    batch: int = 8
    steps: int = 20
    rounds: int = 2
    attention: str = "xla"


FULL = Size()
TINY = Size("tiny", layers=2, width=32, heads=4, vocabulary=64, length=16, batch=2, steps=2, rounds=1)


def arguments(argv=None):
    """Returns what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a toy model, on any device, to see that everything runs")
    parser.add_argument("--batch", type=int, help="sequences per step (8)")
    parser.add_argument("--attention", choices=("cudnn", "xla"), help="who computes attention (what works)")
    add_common(parser, PARTICIPANTS)
    return parser.parse_args(argv)


def main(argv=None):
    """Measures, prints a table, and writes JSON."""
    chosen = arguments(argv)
    size = TINY if chosen.tiny else FULL
    (tried,) = _run.start_process("raw", [cudnn], size, platforms="")
    device, attention = tried["key"].rpartition("/")[2], chosen.attention or ("cudnn" if tried["values"][0] else "xla")
    size = replace(size, attention=attention, batch=chosen.batch or size.batch)
    measures = {"decoder": Measure(decoder, "decoder", PARTICIPANTS, every_round=True)}
    told = [device, f"batch {size.batch}", f"attention by {attention}"]
    results = _run.run(chosen.libraries, measures, size, platforms="") | {"device": device, "told": told}
    _report.show(results)
    if peak_of(device) is None:
        print(f"What {device} can do at most is not known here; `PEAKS` in benchmarks/_decoder.py is the place for it.")
    print(f"Written: {_run.write(results, chosen.out, '-decoder')}")


if __name__ == "__main__":
    main()
