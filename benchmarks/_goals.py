"""What was promised, as data: the report fills in what was measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PEERS = ("raw", "equinox", "nnx", "linen", "haiku")


class Results:
    """The metrics of one run: `{key: {library: {"median", "ratio", ...}}}`, a key being `measure/part/model`.

    What its methods are asked for and a run did not measure is a `LookupError`.
    """

    def __init__(self, metrics: dict[str, Any]) -> None:
        self.metrics = metrics

    def all(self, prefix: str, library: str = "explicit") -> list[tuple[int, dict[str, Any]]]:
        """Returns the numbers of `library` by the keys that start so, each behind its size: from small to large."""
        keys = [key for key, found in self.metrics.items() if key.startswith(prefix) and library in found]
        return [(int("0" + re.search(r"\d*$", key)[0]), self.metrics[key][library]) for key in keys]

    def median(self, prefix: str, library: str = "explicit") -> float:
        """Returns what was measured of the largest model."""
        return self.all(prefix, library)[-1][1]["median"]

    def ratio(self, prefix: str, library: str = "explicit") -> float:
        """Returns its ratio to JAX by hand."""
        return self.all(prefix, library)[-1][1]["ratio"]

    def against(self, prefix: str, peers: tuple[str, ...] = PEERS) -> float:
        """Returns our time by that of the best of `peers`, as far as they were measured."""
        theirs = sorted(found["median"] for peer in peers for _, found in self.all(prefix, peer)[-1:])
        return self.median(prefix) / theirs[0]

    def growing(self, prefix: str) -> float:
        """Returns by what factor time per variable grew, from the second largest model to the largest."""
        found = self.all(prefix)
        (n, fewer), (m, more) = found[-2], found[-1]
        return (more["median"] / fewer["median"]) / (m / n)

    def worst_layer(self, part: str = "trace") -> float:
        """Returns the largest ratio among layers and networks to the same by hand."""
        return sorted(numbers["ratio"] for _, numbers in self.all(f"layers/{part}"))[-1]

    def slowest_lift(self, *names: str) -> float:
        """Returns the ratio of the slowest of some lifts that are called without `jit`."""
        return max(self.ratio(f"lifts/{name}/") for name in names)

    def more_programs(self) -> float:
        """Returns how many programs more than for 2 layers `init` compiles for many."""
        counts = sorted(found["median"] for _, found in self.all("init/compiles"))
        return counts[-1] - counts[-2]


@dataclass(frozen=True)
class Goal:
    """One promise.

    Attributes:
      what: In words.
      limit: The most that keeps it.
      measured: From results to a number of `unit`.
      unit: The unit of both.
    """

    what: str
    limit: float
    measured: Callable[[Results], float]
    unit: str = ""


LOOPS_AND_BRANCHES = ("cond", "switch", "while_loop", "fori_loop")

GOALS = (
    Goal("trace `apply`, 96 layers / by hand", 1.03, lambda r: r.ratio("trace/apply/transformer-96")),
    Goal("trace `jscope.nn`, the worst of its layers and networks / by hand", 1.03, Results.worst_layer),
    Goal("trace its gradients, the worst / by hand", 1.03, lambda r: r.worst_layer("grad")),
    Goal("reading a variable while tracing / by hand", 1.05, lambda r: r.ratio("trace/read/wide")),
    Goal("trace `apply` in `jscope.tf1`, wide / by hand", 1.25, lambda r: r.ratio("trace/apply/wide", "tf1")),
    Goal("eager `apply`, 12 layers / by hand", 1.1, lambda r: r.ratio("eager/apply/transformer")),
    Goal("eager `apply`, wide / by hand", 1.1, lambda r: r.ratio("eager/apply/wide")),
    Goal("eager `apply` in `jscope.tf1`, wide / by hand", 2.0, lambda r: r.ratio("eager/apply/wide", "tf1")),
    Goal("`scan` without `jit` / by hand", 1.25, lambda r: r.slowest_lift("scan")),
    Goal("`scan` of a lambda of the model without `jit` / by hand", 1.4, lambda r: r.slowest_lift("scan of a lambda")),
    Goal("`layers` and `map` without `jit` / by hand", 1.4, lambda r: r.slowest_lift("layers", "map")),
    Goal("branches and loops without `jit` / by hand", 1.3, lambda r: r.slowest_lift(*LOOPS_AND_BRANCHES)),
    Goal("`jscope.jit`, without `jit` around", 120, lambda r: 1e6 * r.median("lifts/jit/"), "µs"),
    Goal("`jscope.jit` of an inline lambda, without `jit` around", 180, lambda r: 1e6 * r.median("lifts/jit of"), "µs"),
    Goal("cold `init`, 96 layers / best peer", 0.55, lambda r: r.against("init/cold/transformer-96")),
    Goal("initial values from specs again / by hand", 1.1, lambda r: r.ratio("init/materialize")),
    Goal("`init`, most variables / by hand", 1.1, lambda r: r.ratio("growth/init")),
    Goal("memory of `init`, 96 layers / by hand", 1.1, lambda r: r.ratio("init/memory")),
    Goal("from `python` to the first step, 12 layers / best peer", 0.8, lambda r: r.against("start/unrolled")),
    Goal("the same, 96 scanned layers / best peer", 0.8, lambda r: r.against("start/scanned")),
    Goal("programs compiled by `init`: 96 layers - 2 layers", 0, Results.more_programs),
    Goal("sharded `init`, 96 layers / Linen's", 0.1, lambda r: r.against("init/sharded/transformer-96", ("linen",))),
    Goal("48 calls of a jitted block: trace / by hand", 1.05, lambda r: r.ratio("loop/jitted trace/transformer-48")),
    Goal(
        "48 calls of a jitted block: StableHLO / by hand",
        1.05,
        lambda r: r.ratio("loop/jitted StableHLO/transformer-48"),
    ),
    Goal("specs of 48 calls of a jitted block / without its `jit`", 0.1, lambda r: r.ratio("loop/jitted specs")),
    Goal("`init` under the user's `jit`, 24 layers / best peer", 0.5, lambda r: r.against("init/jit/transformer-24")),
    Goal("train steps compiled to another program than by hand", 0, lambda r: 1 - r.median("step/same HLO")),
    Goal("dispatch of a jitted function / by hand", 1.02, lambda r: r.ratio("dispatch/call")),
    Goal("trace `apply`, most variables / by hand", 1.3, lambda r: r.ratio("growth/trace")),
    Goal("specs: growth of time / of variables (quadratic: 10)", 2, lambda r: r.growing("growth/specs")),
    Goal("`init`: growth of time / of variables (quadratic: 10)", 2, lambda r: r.growing("growth/init")),
    Goal("trace `apply`: growth of time / of variables (quadratic: 10)", 2, lambda r: r.growing("growth/trace")),
    Goal("`import jscope` beyond `import jax`", 25, lambda r: 1e3 * r.median("import/beyond jax"), "ms"),
)
