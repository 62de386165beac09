"""What is measured: one function each, run in a process that imports one library beside JAX.

A measure takes a library's name and a `Size`, and yields `Sample`s. Where it can, it runs the library in turns with JAX
by hand; what compiles for long, or can be had only once in a process, is compared between processes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import jax

from benchmarks import _timing
from benchmarks._agree import weights
from benchmarks._hlo import bare, operations
from benchmarks._libraries import LIBRARIES
from benchmarks.models import _math
from benchmarks.models._models import Mlp, ResNet, Transformer, UnsupportedError, Wide, step


@dataclass(frozen=True)
class Sample:
    """What one process found.

    Attributes:
      key: `measure/part/model`.
      unit: "s", "MiB", "bool", or "" for a number.
      values: One number per repetition.
      raw: Those of JAX by hand in the same process, in turns with `values`; empty where it was not run there.
    """

    key: str
    unit: str
    values: list[float]
    raw: list[float] | tuple[()] = ()


class Pair:
    """A model of a library beside the same model by hand, on the same weights."""

    def __init__(self, library, model):
        self.model, self.x = model, model.x
        params = weights(model)
        self.built, self.raw = LIBRARIES[library].build(model), LIBRARIES["raw"].build(model)
        self.variables = self.built.load(params)
        self.sides = ((self.built, self.variables), (self.raw, params))

    def time(self, part, make, size, **limits):
        """Returns a sample of `make(built, variables)()`, in turns with the same by hand."""
        calls = [make(built, variables) for built, variables in self.sides]
        return self.sample(part, "s", *_timing.paired(*calls, **{"budget": size.seconds, "least": size.least} | limits))

    def sample(self, part, unit, values, raw=()):
        """Returns a sample about this model."""
        return Sample(f"{part}/{label(self.model)}", unit, values, raw)


def label(model):
    """Returns what a key calls a model.

    >>> label(Transformer(12)), label(Wide(1000)), label(ResNet())
    ('transformer-12', 'wide-1000', 'resnet-50')
    """
    match model:
        case Mlp():
            return "mlp"
        case ResNet():
            return "resnet-50"
        case Wide():
            return f"wide-{model.variables}"
        case _:
            return f"transformer-{model.layers}"


def zoo(size, depths, wide):
    """Yields the models that are traced and run."""
    yield Mlp()
    yield from (Transformer(depth) for depth in depths)
    yield from [ResNet()] * size.convnet
    yield Wide(wide)


def pairs(library, models):
    """Yields a `Pair` for each model that the library has."""
    for model in models:
        try:
            yield Pair(library, model)
        except UnsupportedError:
            continue


def trace(library, size):
    """Traces `apply` and `value_and_grad`. Functions are made anew each time, for JAX to trace them anew."""
    for pair in pairs(library, zoo(size, size.trace, size.growth[1])):
        yield time_tracing(pair, "trace/apply", size)
        if not isinstance(pair.model, Transformer) or pair.model.layers in size.grad:
            yield time_tracing(pair, "trace/grad", size, jax.value_and_grad)
    with _math.nothing_computed():
        yield time_tracing(Pair(library, Wide(size.read)), "trace/read", size, budget=4 * size.seconds)


def time_tracing(pair, part, size, transform=lambda function: function, **limits):
    """Returns a sample of tracing the model, after `transform`."""
    return pair.time(part, tracing(pair.x, transform), size, clock=time.thread_time, **limits)


def tracing(x, transform):
    """Returns what makes, of a model and its variables, a function that traces it."""

    def make(built, variables):
        return lambda: jax.make_jaxpr(transform(lambda v: _math.loss(built.apply(v, x))))(variables) and None

    return make


def eager(library, size):
    """Calls the model without `jit`."""

    def calling(x):
        def make(built, variables):
            bound = built.bound(variables)
            return lambda: bound(x)

        return make

    for pair in pairs(library, zoo(size, size.eager, size.wide)):
        yield pair.time("eager/apply", calling(pair.x), size)


def init(library, size):
    """The first `init` of a process: time, programs compiled, and memory; then later ones."""
    model = Transformer(size.init)
    built, key, x = LIBRARIES[library].build(model), jax.random.key(0), model.x
    jax.block_until_ready((key, x))
    peak = _timing.Peak()
    with _timing.compiles() as durations:
        cold = _timing.seconds(lambda: built.init(key, x))
    yield Sample(f"init/cold/{label(model)}", "s", [cold])
    yield Sample(f"init/compiles/{label(model)}", "", [len(durations)])
    if peak.known:
        yield Sample(f"init/memory/{label(model)}", "MiB", [peak.mebibytes])
    yield Sample(f"init/warm/{label(model)}", "s", [_timing.seconds(lambda: built.init(key, x)) for _ in range(3)])


def shallow(library, size):
    """How many programs `init` compiles for two layers."""
    model = Transformer(2)
    built, key, x = LIBRARIES[library].build(model), jax.random.key(0), model.x
    with _timing.compiles() as durations:
        jax.block_until_ready(built.init(key, x))
    yield Sample(f"init/compiles/{label(model)}", "", [len(durations)])


def jit_init(library, size):
    """Traces and compiles `init` under the user's own `jit`."""
    model = Transformer(size.jit_init)
    built, key, x = LIBRARIES[library].build(model), jax.random.key(0), model.x
    seconds = _timing.seconds(lambda: jax.jit(lambda key: built.init(key, x)).lower(key).compile() and None)
    yield Sample(f"init/jit/{label(model)}", "s", [seconds])


def sharded(library, size):
    """Initial values cut over 8 (fake) devices by their last axis: each computed where it stays."""
    mesh = jax.make_mesh((8,), ("m",), axis_types=(jax.sharding.AxisType.Auto,))
    model = Transformer(size.sharded)
    built, key, x = LIBRARIES[library].build(model), jax.random.key(0), model.x
    made = []

    def rule(shape):
        axes = (*[None] * (len(shape) - 1), "m") if len(shape) > 1 and shape[-1] % 8 == 0 else ()
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))

    seconds = _timing.seconds(lambda: made.append(built.init_sharded(key, x, rule)) or made)
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(made))
    yield Sample(f"init/sharded/{label(model)}", "s", [seconds])


def train(library, size):
    """A train step: whether it is compiled to the same program, and how long it runs."""
    pair = Pair(library, Transformer(size.step, width=32))
    compiled = [jax.jit(step(built)).lower(variables, pair.x).compile() for built, variables in pair.sides]
    ours, theirs = (bare(program.as_text()) for program in compiled)
    yield pair.sample("step/same HLO", "bool", [ours == theirs])
    yield pair.sample("step/same operations", "bool", [operations(ours) == operations(theirs)])
    yield pair.time("step/run", lambda b, v: lambda: compiled[b is pair.raw](v, pair.x), size, most=2000)


def dispatch(library, size):
    """Calls of a jitted function that does next to nothing with many variables: flattening, checking, returning."""
    pair = Pair(library, Wide(1000))
    call = jax.jit(lambda variables, x: (jax.tree.map(lambda value: value + 1.0, variables), x))
    yield pair.time("dispatch/call", lambda _, v: lambda: call(v, pair.x), size, least=20, most=2000)


def depth(library, size):
    """Traces and compiles `apply` of ever deeper models, unrolled and scanned."""
    for form in ("unrolled", "scanned"):
        for pair in pairs(library, (Transformer(layers, form=form) for layers in size.depths)):
            # What is traced is the same for all, and compiling it, unrolled, takes minutes.
            compiles = form == "scanned" or library in ("raw", "explicit")
            try:
                seconds = trace_and_compile(pair, compiles)
            except UnsupportedError:
                break
            yield pair.sample(f"depth/{form} trace", "s", seconds[:1])
            if compiles:
                yield pair.sample(f"depth/{form} compile", "s", seconds[1:])


def trace_and_compile(pair, compiles):
    """Returns the seconds that `lower` takes, and those of `compile` if it `compiles`."""
    lowered = []
    apply, variables = pair.built.apply, pair.variables
    traced = _timing.seconds(lambda: lowered.append(jax.jit(lambda v, x: apply(v, x)).lower(variables, pair.x)))
    return [traced, _timing.seconds(lambda: lowered[0].compile() and None)] if compiles else [traced]


def growth(library, size):
    """From hundreds of variables to 100,000: specs, initial values, and tracing `apply`."""
    # The last takes minutes; JAX by hand runs beside jscope.
    most = size.growth[-1] if library == "explicit" else size.wide
    key = jax.random.key(0)
    for pair in pairs(library, (Wide(number) for number in size.growth if number <= most)):
        inits = [built.init for built, _ in pair.sides]
        if pair.model.variables == size.growth[0]:
            jax.block_until_ready([init(key, pair.x) for init in inits])
        if pair.built.specs is not None:
            yield pair.sample(
                "growth/specs", "s", [_timing.seconds(lambda pair=pair: pair.built.specs(pair.x) and None)]
            )
        seconds = [_timing.seconds(lambda init=init, x=pair.x: init(key, x)) for init in inits]
        yield pair.sample("growth/init", "s", seconds[:1], seconds[1:])
        yield time_tracing(pair, "growth/trace", size, least=1, most=20)


def loop(library, size):
    """A block under `jit`, called once per layer: how long it takes to trace, and how large the program is."""
    for form in ("jitted", "native") if library == "explicit" else ("jitted",):
        for pair in pairs(library, [Transformer(size.loop, form=form)]):
            try:
                yield time_tracing(pair, f"loop/{form} trace", size)
            except UnsupportedError:
                break
            lengths = [len(jax.jit(b.apply).lower(v, pair.x).as_text()) for b, v in pair.sides]
            yield pair.sample(f"loop/{form} StableHLO", "", lengths[:1], lengths[1:])


MEASURES = {
    function.__name__: function
    for function in (trace, eager, init, shallow, jit_init, sharded, train, dispatch, depth, growth, loop)
}
