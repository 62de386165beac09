"""A train step of a language model: the measures of `benchmarks.gpu`.

The step is the same for all libraries: parameters and Adam's moments in float32, everything else in bfloat16, layers
scanned and rematerialized.
"""

from __future__ import annotations

import statistics
import time

import jax
import jax.numpy as jnp

from benchmarks._libraries import LIBRARIES
from benchmarks._measures import Sample, program
from benchmarks.models import _math
from benchmarks.models._models import Decoder

# Dense bfloat16 operations per second, by how `device_kind` starts.
PEAKS = {
    "NVIDIA A100": 312e12,
    "NVIDIA B200": 2250e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}


def peak_of(device):
    """Returns the most bfloat16 operations per second of a chip, or None if that is not known here.

    >>> peak_of("NVIDIA A100-SXM4-80GB") / 1e12, peak_of("cpu")
    (312.0, None)
    """
    return next((peak for name, peak in PEAKS.items() if device.startswith(name)), None)


def cudnn(library, size):
    """Whether attention by cuDNN works here. The key ends with the name of the device."""
    q = jnp.zeros((1, 128, 2, 64), jnp.bfloat16)
    try:
        jax.block_until_ready(jax.nn.dot_product_attention(q, q, q, is_causal=True, implementation="cudnn"))
        works = True
    except Exception:  # cuDNN fails in many ways, and any is a reason to do without.
        works = False
    yield Sample(f"gpu/cudnn/{jax.devices()[0].device_kind}", "bool", [works])


def decoder(library, size):
    """What one library does, in a process that started at `size.started`."""
    heads = _math.Attend(size.heads, size.attention)
    model = Decoder(size.layers, size.width, heads, size.vocabulary, size.length, size.batch)
    built, tokens, device = LIBRARIES[library].build(model), model.x, jax.devices()[0]
    # Others trace the model to initialize it, and run it unless compiled; so they are given the faster way.
    init = built.init if library == "explicit" else jax.jit(built.init)
    variables = jax.block_until_ready(init(jax.random.key(0), tokens))
    initialized = time.time() - size.started
    lowered = lowered_step(built, variables, tokens)
    compiled, parameters = lowered.compile(), sum(leaf.size for leaf in jax.tree.leaves(variables))
    train, loss = jax.block_until_ready(compiled(state(variables), tokens))
    first_step = time.time() - size.started
    steps, losses = timed(compiled, train, tokens, size.steps)
    peak, memory = peak_of(device.device_kind), (device.memory_stats() or {}).get("peak_bytes_in_use")

    def sample(part, unit, *values):
        return Sample(f"gpu/{part}/{model.label}", unit, values)

    step = statistics.median(steps)
    yield sample("step", "s", *steps)
    yield sample("spread of steps", "%", 50 * (max(steps) - min(steps)) / step)
    yield sample("tokens per second", "tokens/s", tokens.size / step)
    if peak:
        yield sample("of peak", "%", 100 * operations(model, parameters) / step / peak)
    if memory:
        yield sample("peak memory", "MiB", memory / 2**20)
    yield sample("initialized after", "s", initialized)
    yield sample("first step after", "s", first_step)
    yield sample("first loss", "nats", float(loss))
    yield sample("last loss", "nats", losses[-1])
    yield sample("parameters", "", parameters)
    by_hand = LIBRARIES["raw"].build(model)
    theirs = lowered_step(by_hand, jax.eval_shape(by_hand.init, jax.random.key(0), tokens), tokens)
    # Compiled programs differ from run to run where kernels are chosen by trying them; what is compiled does not.
    yield sample("same program", "bool", program(lowered) == program(theirs))


def operations(model, parameters):
    """Returns the operations that one step needs, without what is computed twice."""
    counted = parameters - model.length * model.width
    return model.batch * model.length * (6 * counted + 12 * model.layers * model.width * model.length)


def state(variables):
    """Returns what a step goes on from: variables, Adam's moments, and how many steps there were."""
    return (variables, *(jax.tree.map(jnp.zeros_like, variables) for _ in range(2)), jnp.zeros(()))


def lowered_step(built, variables, tokens):
    """Returns a train step in StableHLO."""
    return jax.jit(adam(built), donate_argnums=0).lower(jax.eval_shape(state, variables), tokens)


def adam(built, rate=3e-4, b1=0.9, b2=0.95):
    """Returns `(variables, m, v, count), tokens -> (variables, m, v, count), loss`."""

    def half(variables):
        return jax.tree.map(lambda value: value.astype(jnp.bfloat16), variables)

    def update(value, m, v, count):
        return value - rate * (m / (1 - b1**count)) / (jnp.sqrt(v / (1 - b2**count)) + 1e-8)

    def step(train, tokens):
        variables, m, v, count = train
        count = count + 1
        loss, grads = jax.value_and_grad(lambda v: _math.cross_entropy(built.apply(half(v), tokens), tokens))(variables)
        m = jax.tree.map(lambda m, grad: b1 * m + (1 - b1) * grad, m, grads)
        v = jax.tree.map(lambda v, grad: b2 * v + (1 - b2) * grad * grad, v, grads)
        return (jax.tree.map(lambda *each: update(*each, count), variables, m, v), m, v, count), loss

    return step


def timed(program, train, tokens, steps):
    """Returns the seconds that a step takes and the loss after it, of five times `steps`."""
    times, losses = [], []
    for _ in range(5):
        before = time.perf_counter()
        for _ in range(steps):
            train, loss = program(train, tokens)
        losses.append(float(loss))
        times.append((time.perf_counter() - before) / steps)
    return times, losses
