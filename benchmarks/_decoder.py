"""One library's train step of a language model, in a process of its own: what `benchmarks.gpu` starts.

    python -m benchmarks._decoder LIBRARY TINY BATCH KERNEL STEPS START OUT

The step is the same for all: parameters and Adam's moments in float32, everything else in bfloat16, layers scanned and
rematerialized.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks._libraries import LIBRARIES
from benchmarks.models import _math
from benchmarks.models._models import Decoder

NAMES = re.compile(r' *jax\.result_info = "[^"]*"')


def decoder(tiny, batch, kernel):
    """Returns the model: GPT-2 medium's sizes, with its vocabulary rounded up to a multiple of 128."""
    if tiny:
        return Decoder(layers=2, width=32, attend=_math.Attend(4, kernel), vocabulary=64, length=16, batch=batch)
    return Decoder(24, 1024, _math.Attend(16, kernel), vocabulary=50_304, length=1024, batch=batch)


def operations(model, parameters):
    """Returns the operations that one step needs, without what is computed twice."""
    tokens = model.batch * model.length
    counted = parameters - model.length * model.width
    return tokens * (6 * counted + 12 * model.layers * model.width * model.length)


def half(variables):
    """Returns the variables in bfloat16."""
    return jax.tree.map(lambda value: value.astype(jnp.bfloat16), variables)


def adam(built, rate=3e-4, b1=0.9, b2=0.95):
    """Returns `(variables, m, v, count), tokens -> (variables, m, v, count), loss`."""

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


def measure(library, model, steps, start):
    """Returns what one library does in a process that started at `start`."""
    built, tokens = LIBRARIES[library].build(model), model.x
    # Others trace the model to initialize it, and run it unless compiled; so they are given the faster way.
    init = built.init if library == "explicit" else jax.jit(built.init)
    variables = jax.block_until_ready(init(jax.random.key(0), tokens))
    found = {"library": library, "device": jax.devices()[0].device_kind, "initialized": time.time() - start}
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables))
    found |= {"parameters": parameters, "tokens": tokens.size, "operations": operations(model, parameters)}
    train = (variables, *(jax.tree.map(jnp.zeros_like, variables) for _ in range(2)), jnp.zeros(()))
    lowered = jax.jit(adam(built), donate_argnums=0).lower(train, tokens)
    # Compiled programs differ from run to run where kernels are chosen by trying them.
    found["program"] = hashlib.sha256(NAMES.sub("", lowered.as_text()).encode()).hexdigest()
    program = lowered.compile()
    train, loss = jax.block_until_ready(program(train, tokens))
    found["first_step"] = time.time() - start
    found["step"], losses = timed(program, train, tokens, steps)
    stats = jax.devices()[0].memory_stats() or {}
    return found | {"losses": [float(loss), *losses], "peak_bytes": stats.get("peak_bytes_in_use")}


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


def best_kernel():
    """Returns the fastest implementation of attention that works here."""
    if jax.default_backend() == "gpu":
        try:
            q = jnp.zeros((1, 128, 2, 64), jnp.bfloat16)
            jax.block_until_ready(jax.nn.dot_product_attention(q, q, q, is_causal=True, implementation="cudnn"))
        except Exception as error:  # cuDNN fails in many ways, and any is a reason to do without.
            print(f"Attention by XLA: cuDNN failed with {type(error).__name__}.", file=sys.stderr)
        else:
            return "cudnn"
    return "xla"


def main(library, tiny, batch, kernel, steps, start, out):
    """Measures one library and writes what it found as JSON; `kernel` as library only says which attention to use."""
    if library == "kernel":
        found = {"kernel": best_kernel()}
    else:
        found = measure(library, decoder(tiny == "tiny", int(batch), kernel), int(steps), float(start))
    Path(out).write_text(json.dumps(found), encoding="utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
