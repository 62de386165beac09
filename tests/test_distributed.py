"""Laws that need several processes: two of them on this machine, with two fake devices each.

This file is also the program that they run: `python tests/test_distributed.py PORT PROCESS OUT`.
"""

import gc
import os
import re
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jscope
from jscope import initializers, sharding
from tests.processes import TIMEOUT, free_port, run, start

ROOT = Path(__file__).parents[1]

TABLE = np.arange(4096, dtype=np.float32).reshape(64, 64) / 4096


def layer(scope, x_bd, _):
    """A dense layer with state."""
    n = scope.get_variable("n", (4,), trainable=False, initializer=initializers.zeros)
    return jnp.tanh(x_bd @ scope.get_variable("w", (64, 64), axes=("embed", "mlp"))) + n.sum(), None


def network(scope, x_bd):
    """Scanned layers, a table that is a value, and a scalar."""
    x_bd *= scope.get_variable("table", axes=("embed", "mlp"), initializer=TABLE)[:1]
    x_bd *= scope.get_variable("scale", initializer=1.0)
    return jscope.scan(layer, scope / "layers", x_bd, length=3, axis="layers")[0]


MODEL = jscope.transform_with_state(network)
X = jax.ShapeDtypeStruct((8, 64), jnp.float32)
RULES = sharding.Rules({"layers": None, "embed": "data", "mlp": "model"})


def work(port, process, out):
    """What each process does: makes its parts, looks at them, trains on them, and saves them."""
    address = f"127.0.0.1:{port}"
    bind = address if process == 0 else None
    jax.distributed.initialize(address, num_processes=2, process_id=process, coordinator_bind_address=bind)
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    placed = sharding.shardings(MODEL.specs(X), mesh, RULES)
    params, state = MODEL.sharded(placed).init(jax.random.key(0), X)
    gc.collect()
    held = [shard.data.nbytes for array in jax.live_arrays() for shard in array.addressable_shards]
    np.save(out / f"{process}.held.npy", max(held))
    for name, array in jscope.tree.flatten(jscope.tree.merge(params, state)).items():
        for i, shard in enumerate(array.addressable_shards):
            start = [index.start or 0 for index in shard.index]
            np.savez(out / f"{process}.{name.replace('/', '.')}.{i}.npz", data=shard.data, start=start)
    (out / f"{process}.txt").write_text(
        "\n".join([sharding.show(params), sharding.picture(params["table"]), repr(sharding.bytes_per_device(params))])
    )
    with jax.set_mesh(mesh):
        x = jax.make_array_from_callback((8, 64), NamedSharding(mesh, PartitionSpec("data")), lambda i: inputs()[i])
        loss, grads = jax.jit(jax.value_and_grad(loss_of), out_shardings=(None, as_placed(params)))(params, state, x)
    assert as_placed(grads) == as_placed(params)
    np.save(out / f"{process}.loss.npy", float(loss))


def inputs():
    return np.linspace(-1.0, 1.0, 512, dtype=np.float32).reshape(8, 64)


def loss_of(params, state, x_bd):
    return jnp.mean(MODEL.apply(params, state, x_bd)[0] ** 2)


def as_placed(tree):
    return jax.tree.map(lambda x: x.sharding, tree)


def interrupt(command, step, **environment):
    """Runs a program that starts others, one of which is killed after a step; returns its exit code."""
    with start(command, **environment) as process:
        lines = iter(process.stdout.readline, "")
        try:
            started = next(line for line in lines if line.startswith("Started the processes "))
            next(line for line in lines if line.startswith(f"step {step:4}: "))
            os.kill(int(started.split()[-1]), signal.SIGKILL)
            process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    return process.returncode


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """What two processes have left."""
    out = tmp_path_factory.mktemp("processes")
    port = free_port()
    run(*([__file__, port, process, out] for process in range(2)))
    return out


def test_two_processes_make_the_values_of_one(out):
    """Each its own parts, which together are all: params and state, stacked, and a value."""
    params, state = MODEL.init(jax.random.key(0), X)
    for name, expected in jscope.tree.flatten(jscope.tree.merge(params, state)).items():
        found = np.full(expected.shape, np.nan, expected.dtype)
        for file in out.glob(f"?.{name.replace('/', '.')}.?.npz"):
            part = np.load(file)
            found[tuple(slice(s, s + n) for s, n in zip(part["start"], part["data"].shape, strict=True))] = part["data"]
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_no_process_holds_a_whole_copy(out):
    """Of what is split, every live buffer is a quarter."""
    assert [np.load(out / f"{process}.held.npy") for process in range(2)] == [3 * 64 * 64 * 4 // 4] * 2


def test_every_process_sees_who_holds_what(out):
    """The same table and picture everywhere, though no process has all values; devices of process 1 are `1:`."""
    first, second = ((out / f"{process}.txt").read_text() for process in range(2))
    assert first == second
    assert "3 arrays of 65,540 bytes: 16,388 bytes on each of 4 devices" in first
    assert re.search(
        r"^axis 0   axis 1: 0:32   axis 1: 32:64\n0:32 +0:0 +0:1 *\n32:64 +1:\d+ +1:\d+$", first, re.MULTILINE
    )


def test_two_processes_compute_what_one_does(out):
    """The loss of a batch of which each process has a half."""
    expected = loss_of(*MODEL.init(jax.random.key(0), X), jnp.asarray(inputs()))
    for process in range(2):
        np.testing.assert_allclose(np.load(out / f"{process}.loss.npy"), expected, rtol=1e-5)


def losses(printed):
    """The loss of each step that a program has printed."""
    return {int(step): float(loss) for step, loss in re.findall(r"^step +(\d+): loss (\S+)$", printed, re.MULTILINE)}


LM = [ROOT / "examples" / "distributed_lm.py", "--layers", 2, "--dim", 32, "--heads", 2, "--batch", 4]
LM += ["--context", 16, "--print-every", 1, "--decay-steps", 51]


@pytest.mark.slow
def test_distributed_lm_trains_in_one_process(tmp_path):
    """The example runs, on two devices, and the loss is that of guessing at first."""
    pytest.importorskip("orbax.checkpoint")
    (printed,) = run([*LM, "--layers", 1, "--steps", 2, "--held-out", 0, "--out", tmp_path])
    assert "1 processes, 2 devices, mesh {'data': 1, 'model': 2}, from step 0" in printed
    assert list(losses(printed)) == [0, 1]
    assert 3 < losses(printed)[0] < 6


@pytest.mark.slow
def test_distributed_lm_survives_a_lost_process_and_goes_on_with_fewer(tmp_path):
    """Two processes; two that go on until one is killed, while it saves; one: the losses of one, never interrupted."""
    pytest.importorskip("orbax.checkpoint")
    program = [*LM, "--save-every", 1, "--out", tmp_path / "parts"]
    (first,) = run([*program, "--processes", 2, "--steps", 3, "--held-out", 0])
    assert "2 processes, 4 devices, mesh {'data': 2, 'model': 2}, from step 0" in first
    assert interrupt([*program, "--processes", 2, "--steps", 1000], step=4) != 0
    saved = max(int(path.name) for path in (tmp_path / "parts").iterdir() if path.name.isdecimal())
    (second,) = run([*program, "--steps", saved + 2], devices=1)
    assert f"1 processes, 1 devices, mesh {{'data': 1, 'model': 1}}, from step {saved}" in second
    (whole,) = run([*LM, "--save-every", 1000, "--steps", saved + 2, "--out", tmp_path / "whole"], devices=1)
    expected, found = losses(whole), losses(first) | losses(second)
    assert list(found) == [0, 1, 2, saved, saved + 1]
    np.testing.assert_allclose(list(found.values()), [expected[step] for step in found], rtol=1e-3)
    held_out = [float(re.search(r"Held-out loss after \d+ steps: (\S+)", printed)[1]) for printed in (whole, second)]
    np.testing.assert_allclose(*held_out, rtol=1e-3)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
