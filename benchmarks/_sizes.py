"""How much of everything a run measures."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Size:
    """One choice of effort; without arguments, that of the record.

    Attributes:
      name: What the command line calls it.
      seconds: How long to repeat a pair of calls.
      least: How often at least.
      rounds: How often a process is started for what it can measure only once.
      shallow: The depth of what is traced with its gradient, and of what runs without `jit`.
      deep: The depth of what is traced and initialized, also over 8 devices.
      jit_init: The depth of what is initialized under `jit`.
      step: The depth of the train step that is compiled.
      loop: How often the jitted block is called.
      growth: Numbers of variables.
      wide: The one of them up to which every library goes; jscope goes up to the last.
      imports: How often a library is imported.
    """

    name: str = "full"
    seconds: float = 0.6
    least: int = 4
    rounds: int = 3
    shallow: int = 12
    deep: int = 96
    jit_init: int = 24
    step: int = 4
    loop: int = 48
    growth: tuple[int, ...] = (100, 1000, 10_000, 100_000)
    wide: int = 1000
    imports: int = 4


FULL = Size()
FEW = Size(least=2, rounds=1, jit_init=2, step=2, imports=2)
QUICK = replace(FEW, name="quick", seconds=0.1, shallow=4, deep=12, loop=12, growth=(30, 300), wide=300)
TINY = replace(FEW, name="tiny", seconds=0.0, shallow=2, deep=3, loop=2, growth=(10, 20), wide=20)
SIZES = {size.name: size for size in (FULL, QUICK, TINY)}
