"""One of several processes that save arrays sharded over them: `python sharded.py NUMBER COUNT PORT DIRECTORY`.

With COUNT 1, it restores what several have saved. Each has two devices.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils

from jscope import checkpoint
from jscope.checkpoint import Checkpointer

GRID = np.arange(1024.0, dtype=np.float32).reshape(16, 64)
GOOD, BAD = (np.float32([x, 2 * 62]).tobytes() for x in (2 * 61, 2 * 61.5))
"""What is stored of two neighbours in the last step, and the same with one bit flipped."""


def save_all(me, items, directory):
    """Saves three steps together. What one process may not do, the others do not wait for."""
    with pytest.raises(checkpoint.UnsupportedCheckpointError, match=r'2 processes.*store="orbax"'):
        Checkpointer(directory / "plain").save(0, **items)
    with Checkpointer(directory, keep=2, store="orbax") as checkpoints:
        for step in range(3):
            params = items["params"]
            checkpoints.save(step, **items | {"params": params | {"w": params["w"] * step}})
        checkpoints.wait()
        assert checkpoints.steps()[-2:] == [1, 2], checkpoints.steps()  # The first process deletes the others.
        with pytest.raises(
            checkpoint.CheckpointError, match="process 0 of 2 cannot" if me else "written to by another"
        ):
            Checkpointer(directory, store="orbax").save(7, **items)
        with pytest.raises(checkpoint.CheckpointError, match="neither an array" if me else "process 1 of 2 cannot"):
            checkpoints.save(7, odd=object() if me else 1, **items)


def damage(me, items, directory):
    """Flips a bit that one process reads, which all notice."""
    (file,) = [path for path in (directory / "2").rglob("*") if path.is_file() and GOOD in path.read_bytes()]
    multihost_utils.sync_global_devices("found")
    if me == 0:
        file.write_bytes(file.read_bytes().replace(GOOD, BAD))
    multihost_utils.sync_global_devices("damaged")
    with pytest.raises(checkpoint.CorruptCheckpointError, match=r"params/w.*digest"):
        Checkpointer(directory).restore(params=items["params"])
    multihost_utils.sync_global_devices("noticed")
    if me == 0:
        file.write_bytes(file.read_bytes().replace(BAD, GOOD))
    multihost_utils.sync_global_devices("repaired")


def check(items, directory):
    """Restores the last step onto the devices that there are."""
    back = Checkpointer(directory).restore(**items)
    w, key = back["params"]["w"], back["shared"]
    assert w.sharding == items["params"]["w"].sharding
    assert key.sharding == items["shared"].sharding
    for shard in w.addressable_shards:
        np.testing.assert_array_equal(shard.data, 2 * GRID[shard.index])
    for array, values in ((back["params"]["u"], np.arange(8)), (back["params"]["i"], np.arange(-8, 8))):
        for shard in array.addressable_shards:
            np.testing.assert_array_equal(np.asarray(shard.data).astype(int), values[shard.index])
    np.testing.assert_array_equal(*(jax.random.key_data(x.addressable_data(0)) for x in (key, items["shared"])))
    assert (int(back["count"]), back["host"].tolist(), back["epoch"]) == (5, [0, 1, 2], 2)


def check_safetensors(me, rows, directory):
    """A file that one process wrote is read by all, each its part."""
    file = directory / "w.safetensors"
    if me == 0 and not file.exists():
        checkpoint.safetensors.save(file, {"w": GRID})
    multihost_utils.sync_global_devices("written")
    back = checkpoint.restore({"w": jax.ShapeDtypeStruct(GRID.shape, GRID.dtype, sharding=rows)}, file)
    for shard in back["w"].addressable_shards:
        np.testing.assert_array_equal(shard.data, GRID[shard.index])


def main(me, count, port, directory):
    """Makes arrays on a mesh of all devices; saves, damages, restores."""
    if count > 1:
        address = f"127.0.0.1:{port}"
        jax.distributed.initialize(address, count, me, coordinator_bind_address=address)
    mesh = jax.make_mesh((2 * count,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, whole = (jax.NamedSharding(mesh, spec) for spec in (jax.P("d"), jax.P()))

    def make():
        params = {"w": jnp.asarray(GRID), "b": jnp.ones(3, jnp.bfloat16), "u": jnp.arange(8).astype("uint4")}
        params["i"] = jnp.arange(-8, 8).astype("int4")
        return {"params": params, "shared": jax.random.key(4)}

    items = jax.jit(make, out_shardings={"params": {"w": rows, "b": whole, "u": rows, "i": rows}, "shared": whole})()
    items |= {"count": jnp.int32(5), "key": jax.random.key(3), "host": np.arange(3), "epoch": 2}
    if count > 1:
        save_all(me, items, directory)
        damage(me, items, directory)
    check(items, directory)
    check_safetensors(me, rows, directory)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
