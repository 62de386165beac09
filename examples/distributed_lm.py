"""Trains the transformer of char_lm.py on many devices in many processes, data-parallel and tensor-parallel.

The model does not change: the layers of `jscope.nn` name the axes of their variables, and rules say to which axis of a
mesh each name goes. Every variable is split over all devices, batches over one axis of the mesh, wide layers over the
other.

    python examples/distributed_lm.py --processes 4     starts four processes on this machine, on CPU
    srun python examples/distributed_lm.py --cluster    is one of the processes that a cluster's launcher starts

Each process makes, trains and saves its own parts of the params. Checkpoints are written while training goes on, and a
different number of processes can go on from them: run it again with more `--steps` and another number of `--processes`.
The losses are those of one process on one device, up to rounding.
"""

import argparse
import os
import subprocess
import sys
import time
from functools import partial
from itertools import islice
from pathlib import Path
from socket import socket

import jax
import jax.numpy as jnp
import optax
from char_lm import Config, batches, cross_entropy, load_text, make_train_step, transformer
from jax.sharding import AxisType, NamedSharding

import jscope
from jscope import sharding
from jscope.checkpoint import Checkpointer

COMPUTED = sharding.tensor_parallel()
STORED = COMPUTED | sharding.fsdp()
"""How variables are stored. A layer is put together over the data axis where it is used, and computed with as above."""


def gathering(scope, tokens_bt, config):
    """The transformer of char_lm.py, whose variables are put together as it reads them."""
    return transformer(scope.with_defaults(custom_getter=sharding.Gathered(COMPUTED)), tokens_bt, config)


model = jscope.transform(gathering)


def main():
    """Starts processes, or is one of them."""
    o = options()
    if o.processes and o.process_id is None:
        sys.exit(launch(o.processes, o.devices, sys.argv[1:]))
    if o.processes:
        bind = o.coordinator if o.process_id == 0 else None
        jax.distributed.initialize(o.coordinator, o.processes, o.process_id, coordinator_bind_address=bind)
    elif o.cluster:
        jax.distributed.initialize()
    with Checkpointer(o.out, keep=2, every=o.save_every, store="orbax") as checkpoints:
        train(o, checkpoints)


def train(o, checkpoints):
    """Goes on from the latest checkpoint, or starts anew; only the first process prints."""
    say = print if jax.process_index() == 0 else lambda *_, **__: None
    mesh = make_mesh(min(o.model, jax.device_count()))
    config = Config(o.layers, o.dim, o.heads)
    specs = model.specs(jax.ShapeDtypeStruct((o.batch, o.context), jnp.int32), config)
    optimizer = optax.adamw(optax.warmup_cosine_decay_schedule(0, 3e-3, 50, o.decay_steps), mask=specs.mask("kernel$"))
    params, opt_state, start = init_or_restore(o, specs, mesh, optimizer, checkpoints)
    # All that is trained stays where it is.
    shardings = (*jax.tree.map(lambda leaf: leaf.sharding, (params, opt_state)), None)
    train_step = make_train_step(model, optimizer, config, o.seed, shardings)
    say(sharding.show(params))
    say(f"{jax.process_count()} processes, {jax.device_count()} devices, mesh {dict(mesh.shape)}, from step {start}")

    train_text, held_out = load_text()
    with jax.set_mesh(mesh):
        for step, tokens_bt in islice(enumerate(batches(o.seed, train_text, o.batch, o.context)), start, o.steps):
            tokens_bt = put(tokens_bt, mesh)
            params, opt_state, loss = train_step(params, opt_state, step, tokens_bt)
            if step % o.print_every == 0:
                say(f"step {step:4}: loss {float(loss):.5f}", flush=True)
            checkpoints.save(step + 1, params=params, opt_state=opt_state, specs=specs, force=step + 1 == o.steps)
        if o.held_out:
            loss = jax.jit(partial(cross_entropy, model, config=config))
            pieces = islice(batches(o.seed, held_out, o.batch, o.context), o.held_out)
            mean = sum(float(loss(params, put(piece_bt, mesh))) for piece_bt in pieces) / o.held_out
            say(f"Held-out loss after {o.steps} steps: {mean:.5f}")


def make_mesh(model):
    """Returns a mesh of all devices of all processes; each row of `model` devices computes with a whole layer."""
    return jax.make_mesh((jax.device_count() // model, model), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def init_or_restore(o, specs, mesh, optimizer, checkpoints):
    """Returns params, optimizer state and step; every part is made or read by the process that holds it."""
    shardings = sharding.shardings(specs, mesh, STORED)
    params = sharding.shape_dtype(specs, shardings)
    opt_state = jax.eval_shape(optimizer.init, params)
    opt_shardings = sharding.like(opt_state, params)
    if start := checkpoints.latest_step():
        saved = checkpoints.restore(start, params=params, opt_state=sharding.shape_dtype(opt_state, opt_shardings))
        return saved["params"], saved["opt_state"], start
    params = specs.materialize(jax.random.key(o.seed), sharding=shardings)
    return params, jax.jit(optimizer.init, out_shardings=opt_shardings)(params), 0


def put(tokens_bt, mesh):
    """Returns a batch that is split over the mesh; all processes have drawn the same, and each keeps its part."""
    split = NamedSharding(mesh, STORED.partition(("batch", None), mesh, tokens_bt.shape))
    return jax.make_array_from_callback(tokens_bt.shape, split, lambda index: tokens_bt[index])


def launch(count, devices, arguments):
    """Runs this program in `count` processes on this machine; returns 0 if all of them end well."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, __file__, *arguments, "--coordinator", coordinator, "--process-id"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    running = [subprocess.Popen([*command, str(i)], env=environment) for i in range(count)]
    print(f"Started the processes {', '.join(str(process.pid) for process in running)}", flush=True)
    try:
        while None in (codes := [process.poll() for process in running]) and not any(codes):
            time.sleep(0.1)
    finally:
        # If one has failed, the others would wait for it. (To JAX, SIGTERM is a notice to save; it would go on.)
        for process in running:
            process.kill()
    return max(abs(process.wait()) for process in running)


def options():
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description="Trains a character transformer on many devices.")
    add = partial(parser.add_argument, type=int, help="(default: %(default)s)")
    add("--processes", default=0, help="start this many processes on this machine, on CPU")
    add("--devices", default=2, help="devices of each of them (default: %(default)s)")
    add("--process-id", help="be this one of them, instead of starting them")
    add("--coordinator", type=str, help="HOST:PORT of process 0, for --process-id")
    parser.add_argument("--cluster", action="store_true", help="ask JAX to find the other processes")
    add("--model", default=2, help="devices that share one layer (default: %(default)s)")
    add("--layers", default=4)
    add("--dim", default=128)
    add("--heads", default=4)
    add("--steps", default=200)
    add("--decay-steps", default=200, help="the step at which the learning rate reaches 0 (default: %(default)s)")
    add("--batch", default=16)
    add("--context", default=128)
    add("--seed", default=0)
    add("--save-every", default=50)
    add("--print-every", default=10)
    add("--held-out", default=16, help="batches of held-out text to test on at the end (default: %(default)s)")
    add("--out", type=Path, default=Path("build/distributed_lm"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
