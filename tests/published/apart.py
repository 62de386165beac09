"""One of several processes to which tables take files, and back: `python apart.py NUMBER COUNT PORT DIRECTORY`.

All tables that ship, those of layers and those of published models, and some random ones, in one start. Each process
has two devices, and of each array only the part that these have.
"""

import os
import sys
from pathlib import Path

import jax
import numpy as np
from hypothesis import given, settings
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jscope import checkpoint
from jscope.checkpoint import safetensors
from tests.checkpoint.layer_tables import CASES, ours, theirs
from tests.checkpoint.tables import conversions
from tests.published.cases import load
from tests.published.models import PUBLISHED, QUICK

RANDOM = int(os.environ.get("JSCOPE_TABLES", "60"))
"""How many random tables: 3,000 take ten minutes on two cores."""


def spread(array, mesh):
    """A sharding over as many axes as can be divided over the devices, the last ones first: these are of all kinds."""
    left = ["x", "y"]
    axes = [left.pop() if left and size % 2 == 0 and size else None for size in array.shape[::-1]]
    return NamedSharding(mesh, PartitionSpec(*axes[::-1]))


def check(table, arrays, me, mesh, directory):
    """Both ways, a file that one process has written becomes what the table makes in memory, part by part."""
    made = table.arrays(arrays)
    for conversion, source, expected in ((table, arrays, made), (table.inverse, made, table.inverse.arrays(made))):
        # What is counted in int64 devices do not have; reading leaves it out anyway.
        expected = {name: np.asarray(each) for name, each in expected.items() if each.dtype != np.int64}
        if me == 0:
            safetensors.save(directory / "x.safetensors", source)
        multihost_utils.sync_global_devices("written")
        likes = {
            name: jax.ShapeDtypeStruct(each.shape, each.dtype, sharding=spread(each, mesh))
            for name, each in expected.items()
        }
        found = checkpoint.restore(likes, directory / "x.safetensors", conversion=conversion)
        for name, array in found.items():
            assert array.sharding == likes[name].sharding
            for shard in array.addressable_shards:
                np.testing.assert_array_equal(shard.data, expected[name][shard.index], name, strict=True)
        multihost_utils.sync_global_devices("read")


def main(me, count, port, directory):
    jax.distributed.initialize(f"localhost:{port}", count, me)
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("x", "y"))
    for library, name in CASES:
        check(ours(library, name)[-1], theirs(library, name)[0], me, mesh, directory)
    for name in QUICK:
        check(PUBLISHED[name].table(PUBLISHED[name].config), load(name)[0], me, mesh, directory)

    checked = []

    # The same ones in all processes, which wait for each other.
    @settings(max_examples=RANDOM, derandomize=True, database=None, deadline=None)
    @given(conversions(rules=2))
    def check_random(case):
        check(case[0], case[1], me, mesh, directory)
        checked.append(case[0])

    check_random()
    sys.stdout.write(f"{len(CASES) + len(QUICK)} tables, and {len(checked)} random ones\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
