"""What is measured: one function for each row, or a few rows, of the results.

A measure runs in a process that imports one library beside JAX. It takes that library's name and a `Size`, and yields
`Sample`s. Where it can, it runs the library in turns with JAX by hand (a `Pair`); what compiles for long, or can be had
only once in a process, is compared between processes. `@measure` is all it takes for a run to have it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from benchmarks import _timing
from benchmarks._agree import weights
from benchmarks._layers import LAYERS, gradient
from benchmarks._libraries import LIBRARIES
from benchmarks.models import _math
from benchmarks.models._models import Transformer, UnsupportedError, Wide


@dataclass(frozen=True)
class Sample:
    """What one process found.

    Attributes:
      key: `measure/part/model`.
      unit: What the number is of: seconds ("s"), "MiB", "bool", or "" for a count. `_run.ABSOLUTE` has no ratios.
      values: One number per repetition.
      raw: Those of JAX by hand in the same process, in turns with `values`; empty where it was not run there.
    """

    key: str
    unit: str
    values: list[float]
    raw: list[float] | tuple[()] = ()


@dataclass(frozen=True)
class Measure:
    """How a measure is run.

    Attributes:
      function: `function(library, size)` yields samples.
      process: Measures that name the same one share it.
      only: The libraries that are asked for it, where not all are.
      every_round: Whether it takes part in every round, since a process can measure it only once.
    """

    function: Callable
    process: str
    only: tuple[str, ...]
    every_round: bool


MEASURES: dict[str, Measure] = {}


def measure(process="turns", *, only=tuple(LIBRARIES), every_round=False):
    """Registers a measure under its name: the command line and every run know it from then on."""

    def register(function):
        MEASURES[function.__name__.rstrip("_")] = Measure(function, process, only, every_round)
        return function

    return register


class Pair:
    """A model of a library beside the same model by hand, on the same weights."""

    def __init__(self, library, model):
        self.model, self.x = model, model.x
        params = weights(model)
        self.built, self.raw = LIBRARIES[library].build(model), LIBRARIES["raw"].build(model)
        self.sides = ((self.built, self.built.load(params)), (self.raw, params))

    def time(self, part, make, size, **limits):
        """Returns a sample of `make(built, variables)()`, in turns with the same by hand."""
        calls = [make(built, variables) for built, variables in self.sides]
        return self.sample(part, "s", *_timing.paired(*calls, **{"budget": size.seconds, "least": size.least} | limits))

    def trace(self, part, size, transform=lambda function: function, **limits):
        """Returns a sample of tracing the model after `transform`: a new function each time, for JAX to trace anew."""

        def make(built, variables):
            return lambda: jax.make_jaxpr(transform(lambda v: _math.loss(built.apply(v, self.x))))(variables) and None

        return self.time(part, make, size, clock=time.thread_time, **limits)

    def sample(self, part, unit, values, raw=()):
        """Returns a sample about this model."""
        return Sample(f"{part}/{self.model.label}", unit, values, raw)


def pairs(library, models):
    """Yields a `Pair` for each model that the library has."""
    for model in models:
        try:
            yield Pair(library, model)
        except UnsupportedError:
            continue


def ready(library, model):
    """Returns what initializes a model: the model built, a key and an input, computed before any time is taken."""
    return LIBRARIES[library].build(model), *jax.block_until_ready((jax.random.key(0), model.x))


@measure()
def trace(library, size):
    """Traces `apply` and `value_and_grad`."""
    for pair in pairs(library, (Transformer(size.shallow), Transformer(size.deep), Wide(size.wide))):
        yield pair.trace("trace/apply", size)
        if pair.model != Transformer(size.deep):
            yield pair.trace("trace/grad", size, jax.value_and_grad)
    yield Pair(library, Wide(size.wide, compute=_math.nothing)).trace("trace/read", size, budget=4 * size.seconds)


@measure()
def eager(library, size):
    """Calls the model without `jit`."""
    for pair in pairs(library, (Transformer(size.shallow), Wide(size.wide), Transformer(size.shallow, form="scanned"))):

        def make(built, variables, x=pair.x):
            bound = built.bound(variables)
            return lambda: bound(x)

        # A scan of a function of the model: who compiles it in each call takes seconds, and no more than this tells.
        scanned = pair.model == Transformer(size.shallow, form="scanned")
        yield pair.time("eager/scanned", make, size, least=2) if scanned else pair.time("eager/apply", make, size)


@measure(only=("explicit",))
def layers(library, size):
    """Traces layers of `jscope.nn`, and networks of them, in turns with the same by hand in the same scopes."""
    limits = {"budget": 2 * size.seconds, "least": size.least, "clock": time.thread_time}
    for part, transform in (("trace", lambda function: function), ("grad", gradient)):
        for name, twice in LAYERS.items():
            traces = twice.traced(repeated=size.shallow, transform=transform)
            calls = [lambda trace=trace: trace() and None for trace in traces]
            yield Sample(f"layers/{part}/{name}", "s", *_timing.paired(*calls, **limits))


@measure("lifts", only=("explicit",))
def lifts(library, size):
    """Calls a model without `jit` that is one lift, in turns with JAX's own transform of a function of its module."""
    x = jax.numpy.ones((4, 64))
    params = {"w": jax.numpy.stack([jax.numpy.eye(64)] * 8)}
    ours, theirs = (importlib.import_module(f"benchmarks.models.{name}").LIFTS for name in (library, "raw"))
    for name, lift in ours.items():
        apply, by_hand = lift, theirs[name.partition(" ")[0]]
        calls = [functools.partial(each, params, x) for each in (apply, by_hand)]
        jax.block_until_ready([call() for call in calls])
        yield Sample(f"lifts/{name}/blocks-8", "s", *_timing.paired(*calls, budget=size.seconds, least=size.least))


@measure()
def dispatch(library, size):
    """Calls of a jitted function that does next to nothing with many variables: flattening, checking, returning."""
    pair = Pair(library, Wide(1000))
    call = jax.jit(lambda variables, x: (jax.tree.map(lambda value: value + 1.0, variables), x))
    yield pair.time("dispatch/call", lambda _, v: lambda: call(v, pair.x), size, least=20, most=2000)


@measure()
def loop(library, size):
    """A block under `jit`, called once per layer: how long it takes to trace, and how large the program is."""
    for pair in pairs(library, (Transformer(size.loop, form=form) for form in ("jitted", "native"))):
        yield pair.trace(f"loop/{pair.model.form} trace", size)
        lengths = [len(jax.jit(b.apply).lower(v, pair.x).as_text()) for b, v in pair.sides]
        yield pair.sample(f"loop/{pair.model.form} StableHLO", "", lengths[:1], lengths[1:])
        if pair.built.specs is not None and pair.model.form == "jitted":
            builts = [LIBRARIES[library].build(Transformer(size.loop, form=form)) for form in ("shared", "unrolled")]
            calls = [lambda built=built, x=pair.x: built.specs(x) and None for built in builts]
            limits = {"budget": size.seconds, "least": size.least, "clock": time.thread_time}
            yield pair.sample("loop/jitted specs", "s", *_timing.paired(*calls, **limits))


@measure()
def train(library, size):
    """Whether a train step is the same program, and whether at least its operations are the same."""
    pair = Pair(library, Transformer(size.step, width=32))
    ours, theirs = (program(jax.jit(step(built)).lower(variables, pair.x)) for built, variables in pair.sides)
    yield pair.sample("step/same HLO", "bool", [ours == theirs])
    yield pair.sample("step/same operations", "bool", [operations(ours) == operations(theirs)])


def step(built):
    """Returns one step of gradient descent: `(variables, x) -> (variables, loss)`."""

    def descend(variables, x):
        loss, grads = jax.value_and_grad(lambda variables: _math.loss(built.apply(variables, x)))(variables)
        return jax.tree.map(lambda value, grad: value - 0.01 * grad, variables, grads), loss

    return descend


def program(lowered):
    r"""Returns the StableHLO that XLA compiles, without the names of results: where it is the same, all else is.

    >>> program(jax.jit(lambda x: {"name": x}).lower(1.0)) == program(jax.jit(lambda x: [x]).lower(1.0))
    True
    """
    return re.sub(r' *jax\.result_info = "[^"]*"', "", lowered.as_text())


def operations(text):
    """Returns how often each operation stands in a program.

    >>> operations("%0 = stablehlo.sine %arg0 : tensor<f32>")
    Counter({'stablehlo.sine': 1})
    """
    return Counter(re.findall(r"stablehlo\.\w+", text))


@measure()
def growth(library, size):
    """From hundreds of variables to 100,000: specs, initial values, and tracing `apply`."""
    # The last takes minutes; JAX by hand runs beside jscope.
    most = size.growth[-1] if library == "explicit" else size.wide
    key = jax.random.key(0)
    for pair in pairs(library, (Wide(number) for number in size.growth if number <= most)):
        inits = [lambda init=built.init, x=pair.x: init(key, x) for built, _ in pair.sides]
        if pair.model.variables == size.growth[0]:
            jax.block_until_ready([init() for init in inits])
        if pair.built.specs is not None:
            found = _timing.seconds(lambda pair=pair: pair.built.specs(pair.x) and None)
            yield pair.sample("growth/specs", "s", [found])
        ours, theirs = (_timing.seconds(init) for init in inits)
        yield pair.sample("growth/init", "s", [ours], [theirs])
        yield pair.trace("growth/trace", size, least=1, most=20)


@measure("init", every_round=True)
def init(library, size):
    """The first `init` of a process: time, and programs compiled; then later ones."""
    model = Transformer(size.deep)
    built, key, x = ready(library, model)
    with _timing.compiles() as durations:
        cold = _timing.seconds(lambda: built.init(key, x))
    yield Sample(f"init/cold/{model.label}", "s", [cold])
    yield Sample(f"init/compiles/{model.label}", "", [len(durations)])
    yield Sample(f"init/warm/{model.label}", "s", [_timing.seconds(lambda: built.init(key, x)) for _ in range(3)])


@measure("init")
def jit_init(library, size):
    """Traces and compiles `init` under the user's own `jit`."""
    model = Transformer(size.jit_init)
    built, key, x = ready(library, model)
    seconds = _timing.seconds(lambda: jax.jit(lambda key: built.init(key, x)).lower(key).compile() and None)
    yield Sample(f"init/jit/{model.label}", "s", [seconds])


@measure("init", only=("explicit",))
def materialize(library, size):
    """Initial values from specs again, in turns with the same programs by hand, on keys that are known."""
    model = Transformer(size.deep)
    built, key, x = ready(library, model)
    specs = built.specs(x)

    @functools.cache
    def drawing(initializer, shape, dtype):
        return jax.jit(lambda data: initializer(jax.random.wrap_key_data(data), shape, dtype))

    plan = [(name, spec.initializer, spec.shape, spec.dtype) for name, spec in specs.flat().items()]
    rows = np.random.default_rng(0).integers(2**32, size=(len(plan), 2), dtype=np.uint32)
    by_hand = lambda: {name: drawing(*of)(row) for (name, *of), row in zip(plan, rows, strict=True)}  # noqa: E731
    ours, theirs = _timing.paired(lambda: specs.materialize(key), by_hand, budget=size.seconds, least=size.least)
    yield Sample(f"init/materialize/{model.label}", "s", ours, theirs)


@measure("shallow", only=("explicit", "tf1"))
def shallow(library, size):
    """How many programs `init` compiles for two layers."""
    model = Transformer(2)
    built, key, x = ready(library, model)
    with _timing.compiles() as durations:
        jax.block_until_ready(built.init(key, x))
    yield Sample(f"init/compiles/{model.label}", "", [len(durations)])


# The others would take minutes, as Linen does, to no purpose.
@measure("sharded", only=("explicit", "linen"))
def sharded(library, size):
    """Initial values cut over 8 (fake) devices by their last axis: each computed where it stays."""
    jax.config.update("jax_num_cpu_devices", 8)
    mesh = jax.make_mesh((8,), ("m",), axis_types=(jax.sharding.AxisType.Auto,))
    model, made = Transformer(size.deep), []
    built, key, x = ready(library, model)

    def rule(shape):
        axes = (*[None] * (len(shape) - 1), "m") if len(shape) > 1 and shape[-1] % 8 == 0 else ()
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))

    seconds = _timing.seconds(lambda: made.append(built.init_sharded(key, x, rule)) or made)
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(made))
    yield Sample(f"init/sharded/{model.label}", "s", [seconds])


@measure("memory", every_round=True)
def memory(library, size):
    """By how much the first `init` raises the peak of the process's memory."""
    model = Transformer(size.deep)
    built, key, x = ready(library, model)
    before = peak()
    jax.block_until_ready(built.init(key, x))
    yield Sample(f"init/memory/{model.label}", "MiB", [peak() - before])


def peak():
    """Returns the most memory that this process had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@measure("first step", every_round=True)
def first_step(library, size):
    """From `python` to the first step of training that is done: imports, `init`, tracing, compiling."""
    yield started(library, Transformer(size.shallow), size)


@measure("first scanned step", every_round=True)
def first_scanned_step(library, size):
    """The same with scanned layers, where the library has them."""
    with contextlib.suppress(UnsupportedError):
        yield started(library, Transformer(size.deep, form="scanned"), size)


def started(library, model, size):
    """Returns a sample of the seconds since this process was started, once a step is done."""
    built, key, x = ready(library, model)
    jax.block_until_ready(jax.jit(step(built))(built.init(key, x), x))
    return Sample(f"start/{model.form}/{model.label}", "s", [time.time() - size.started])


@measure("import")
def import_(library, size):
    """How long the import of jax takes, and then that of the library."""
    code = "import time; a = time.perf_counter(); import jax; b = time.perf_counter(); "
    code += f"import {LIBRARIES[library].package}; c = time.perf_counter(); print(b - a, c - b)"
    # The first import writes bytecode, and does not count.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        for _ in range(size.imports)
    ]
    jax_alone, beyond = zip(*(map(float, done.stdout.split()) for done in found[1:]), strict=True)
    yield Sample("import/jax", "s", jax_alone) if library == "raw" else Sample("import/beyond jax", "s", beyond)
