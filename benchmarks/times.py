"""What the same three models cost in each library: `python -m benchmarks.times` prints the table of the docs.

Each library has a process of its own for each model. It measures the first initialization, which compiles, and, three
times, how long JAX takes to trace the gradient of a training step, in the thread's own time.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp

from benchmarks import lines


def measure(model, library):
    """Returns how long a model takes to be initialized and traced, in seconds."""
    init, _, apply = lines.made(model, library, True)
    x = jax.block_until_ready(lines.inputs(model))
    jax.block_until_ready(jnp.sin(jax.random.normal(jax.random.key(1), (2,))))
    start = time.perf_counter()
    variables = init()
    jax.block_until_ready([leaf for leaf in jax.tree.leaves(variables) if isinstance(leaf, jax.Array)])
    initialized = time.perf_counter() - start
    floats, rest = _partition(variables)

    def loss(floats):
        return apply(_merged(floats, rest), x).astype(jnp.float32).sum()

    traced = []
    for _ in range(4):
        start = time.thread_time()
        jax.make_jaxpr(jax.grad(lambda floats: loss(floats)))(floats)
        traced.append(time.thread_time() - start)
    # The first one fills caches of JAX's own, which all programs share.
    return initialized, statistics.median(traced[1:])


def _partition(variables):
    leaves, structure = jax.tree.flatten(variables)
    floats = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array) and leaf.dtype == jnp.float32}
    return floats, (structure, leaves)


def _merged(floats, rest):
    structure, leaves = rest
    return jax.tree.unflatten(structure, [floats.get(i, leaf) for i, leaf in enumerate(leaves)])


def table():
    """Returns the table in Markdown."""
    found = {}
    for model in lines.MODELS:
        for library in lines.LIBRARIES:
            command = [sys.executable, "-m", "benchmarks.times", model, library]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[model, library] = [float(each) for each in done.stdout.split()]
    rows = [["", *lines.LIBRARIES.values()], ["---", *("--:" for _ in lines.LIBRARIES)]]
    for number, what, form in ((0, "first `init` of", "{:.2f} s"), (1, "trace the gradient of", "{:.3f} s")):
        for model, name in lines.MODELS.items():
            cells = (form.format(found[model, library][number]) for library in lines.LIBRARIES)
            rows.append([f"{what} a {name}", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(*measure(*sys.argv[1:])) if sys.argv[1:] else print(table())
