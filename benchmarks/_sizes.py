"""How much of everything a run measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """One choice of effort.

    Attributes:
      name: What the command line calls it.
      seconds: How long to repeat a pair of calls.
      least: How often at least.
      rounds: How often a process is started for what it can measure only once.
      trace: Depths at which `apply` is traced.
      grad: Depths at which `value_and_grad` is traced.
      eager: Depths that run without `jit`.
      init: The depth of what is initialized.
      jit_init: The depth of what is initialized under `jit`.
      sharded: The depth of what is initialized over 8 devices.
      step: The depth of the train step that is compiled.
      depths: Depths that are traced and compiled.
      growth: Numbers of variables.
      wide: Number of variables of the wide model that runs without `jit`; libraries beside jscope grow up to it.
      read: Number of variables that are read.
      imports: How often a library is imported.
      loop: How often the jitted block is called.
      convnet: Whether the convnet takes part.
    """

    name: str
    seconds: float
    least: int
    rounds: int
    trace: tuple[int, ...]
    grad: tuple[int, ...]
    eager: tuple[int, ...]
    init: int
    jit_init: int
    sharded: int
    step: int
    depths: tuple[int, ...]
    growth: tuple[int, ...]
    wide: int
    read: int = 1000
    imports: int = 4
    loop: int = 48
    convnet: bool = True


TINY = Size(
    name="tiny",
    seconds=0.0,
    least=2,
    rounds=1,
    trace=(2,),
    grad=(2,),
    eager=(2,),
    init=2,
    jit_init=2,
    sharded=2,
    step=2,
    depths=(1, 2),
    growth=(10, 20),
    wide=20,
    read=20,
    imports=2,
    loop=2,
    convnet=False,
)
QUICK = Size(
    name="quick",
    seconds=0.1,
    least=2,
    rounds=1,
    trace=(4,),
    grad=(4,),
    eager=(4,),
    init=12,
    jit_init=2,
    sharded=2,
    step=2,
    depths=(2,),
    growth=(30, 300),
    wide=300,
    read=300,
    imports=2,
    loop=12,
    convnet=False,
)
FULL = Size(
    name="full",
    seconds=0.6,
    least=4,
    rounds=3,
    trace=(12, 96),
    grad=(12,),
    eager=(12,),
    init=96,
    jit_init=24,
    sharded=96,
    step=4,
    depths=(2, 12, 48, 96),
    growth=(100, 1000, 10_000, 100_000),
    wide=1000,
)
SIZES = {size.name: size for size in (TINY, QUICK, FULL)}
