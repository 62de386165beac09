"""What was promised, as data: the report fills in what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PEERS = ("raw", "equinox", "nnx", "linen", "flax_core", "haiku")


class Results:
    """The metrics of one run: `{key: {library: {"median", "ratio", ...}}}`, a key being `measure/part/model`."""

    def __init__(self, metrics: dict[str, Any]) -> None:
        self.metrics = metrics

    def keys(self, prefix: str, library: str = "explicit") -> list[str]:
        """Returns the keys that start so, where `library` was measured: from small models to large."""
        return [key for key, found in self.metrics.items() if key.startswith(prefix) and library in found]

    def median(self, prefix: str, library: str = "explicit") -> float | None:
        """Returns what was measured of the largest model."""
        keys = self.keys(prefix, library)
        return self.metrics[keys[-1]][library]["median"] if keys else None

    def ratio(self, prefix: str, library: str = "explicit") -> float | None:
        """Returns its ratio to JAX by hand."""
        keys = self.keys(prefix, library)
        return self.metrics[keys[-1]][library].get("ratio") if keys else None

    def added(self, prefix: str) -> float | None:
        """Returns microseconds per variable beyond JAX by hand."""
        median, ratio = self.median(prefix), self.ratio(prefix)
        if median is None or ratio is None:
            return None
        return 1e6 * median * (1 - 1 / ratio) / variables(self.keys(prefix)[-1])

    def against(self, prefix: str, peers: tuple[str, ...] = PEERS) -> float | None:
        """Returns our time by that of the best of `peers`."""
        ours, theirs = self.median(prefix), [self.median(prefix, peer) for peer in peers]
        known = [value for value in theirs if value is not None]
        return None if ours is None or not known else ours / min(known)

    def growing(self, prefix: str) -> float | None:
        """Returns by what factor time per variable grew, from the second largest model to the largest."""
        keys = self.keys(prefix)[-2:]
        if len(keys) < 2:
            return None
        (n, fewer), (m, more) = ((variables(k), self.metrics[k]["explicit"]["median"]) for k in keys)
        return (more / fewer) / (m / n)

    def more_programs(self) -> float | None:
        """Returns how many programs more than for 2 layers `init` compiles for many."""
        keys = self.keys("init/compiles")
        counts = [self.metrics[key]["explicit"]["median"] for key in keys]
        return max(counts) - min(counts) if len(counts) > 1 else None


@dataclass(frozen=True)
class Goal:
    """One promise.

    Attributes:
      what: In words.
      limit: The most that keeps it.
      measured: From results to a number of `unit`, or to None where a run did not measure it.
      unit: The unit of both.
    """

    what: str
    limit: float
    measured: Callable[[Results], float | None]
    unit: str = ""


def variables(key: str) -> int:
    """Returns how many variables the model of a key has: the number at its end."""
    return int(key.rpartition("-")[2])


def different(results: Results) -> float | None:
    """Returns 1 where the train step compiles to another program than by hand, 0 where not."""
    same = results.median("step/same HLO")
    return None if same is None else 1 - same


def import_time(results: Results) -> float | None:
    """Returns milliseconds."""
    seconds = results.median("import/beyond jax")
    return None if seconds is None else 1e3 * seconds


GOALS = (
    Goal("trace `apply`, 96 layers / by hand", 1.03, lambda r: r.ratio("trace/apply/transformer-96")),
    Goal("what reading a variable adds to a trace by hand", 2.0, lambda r: r.added("trace/read/wide"), "µs"),
    Goal("trace `apply` in `jscope.tf1` / by hand", 1.25, lambda r: r.ratio("trace/apply/transformer-96", "tf1")),
    Goal("eager `apply` / by hand", 1.10, lambda r: r.ratio("eager/apply/transformer")),
    Goal("cold `init`, 96 layers / best peer", 0.6, lambda r: r.against("init/cold/transformer-96")),
    Goal("programs compiled by `init`: 96 layers - 2 layers", 0, Results.more_programs),
    Goal("sharded `init`, 96 layers / Linen's", 0.1, lambda r: r.against("init/sharded/transformer-96", ("linen",))),
    Goal("48 calls of a jitted block: trace / by hand", 1.5, lambda r: r.ratio("loop/jitted trace/transformer-48")),
    Goal(
        "48 calls of a jitted block: StableHLO / by hand", 2, lambda r: r.ratio("loop/jitted StableHLO/transformer-48")
    ),
    Goal("`init` under the user's `jit`, 24 layers / best peer", 0.5, lambda r: r.against("init/jit/transformer-24")),
    Goal("train steps compiled to another program than by hand", 0, different),
    Goal("dispatch of a jitted function / by hand", 1.02, lambda r: r.ratio("dispatch/call")),
    Goal("trace `apply`, most variables / by hand", 1.3, lambda r: r.ratio("growth/trace")),
    Goal("specs: growth of time / of variables (quadratic: 10)", 2, lambda r: r.growing("growth/specs")),
    Goal("`init`: growth of time / of variables (quadratic: 10)", 2, lambda r: r.growing("growth/init")),
    Goal("trace `apply`: growth of time / of variables (quadratic: 10)", 2, lambda r: r.growing("growth/trace")),
    Goal("`import jscope` beyond `import jax`", 50, import_time, "ms"),
)
