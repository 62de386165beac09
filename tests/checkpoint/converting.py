"""One of several processes that restore through a conversion: `python converting.py NUMBER COUNT PORT DIRECTORY`."""

import sys
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jscope import checkpoint
from jscope.checkpoint import Conversion, Rule, safetensors

WHOLE = np.arange(4 * 6 * 8, dtype=np.float32).reshape(4, 6, 8)
TABLE = Conversion(
    [Rule("w", "h.{i}.w", "(d e) -> i e d", where={"e": 8}), Rule("v/{p}", "v", "(p d) -> d", where={"p": 3})]
)


def main(me, count, port, directory):
    jax.distributed.initialize(f"localhost:{port}", count, me)
    file = directory / "x.safetensors"
    if me == 0:
        safetensors.save(file, {f"h.{i}.w": WHOLE[i].reshape(-1) for i in range(4)} | {"v": np.arange(12)})
    multihost_utils.sync_global_devices("written")
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("x", "y"))
    ours = WHOLE.transpose(0, 2, 1)
    for spec in (("x", "y"), (None, ("x", "y")), ("y", None, "x")):
        read = []
        sharding = NamedSharding(mesh, PartitionSpec(*spec))
        likes = {
            "w": jax.ShapeDtypeStruct(ours.shape, ours.dtype, sharding=sharding),
            "v": {
                str(p): jax.ShapeDtypeStruct((4,), np.int32, sharding=NamedSharding(mesh, PartitionSpec("x")))
                for p in range(3)
            },
        }
        reader = checkpoint.load_checkpoint(file)
        get, read = reader.get_tensor, []
        reader.get_tensor = lambda name, get=get, read=read: read.append(name) or get(name)
        back = checkpoint.restore(likes, reader, conversion=TABLE, cast=True)
        for shard in back["w"].addressable_shards:
            np.testing.assert_array_equal(shard.data, ours[shard.index])
        for p in range(3):
            for shard in back["v"][str(p)].addressable_shards:
                np.testing.assert_array_equal(shard.data, np.arange(12)[4 * p : 4 * p + 4][shard.index])
        if spec[0] == "x":  # Each process has two layers: of the others nothing is read.
            assert {name for name in read if name != "v"} == {f"h.{2 * me + i}.w" for i in range(2)}, read


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
