"""Damages a step of the Orbax store in many ways, and restores it each time: `python damaging.py DIRECTORY`.

In a process of its own, since Orbax leaves coroutines behind when it fails.
"""

import random
import sys
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np

from jscope.checkpoint import Checkpointer, CheckpointError

TREE = {
    "w": jnp.arange(600.0).reshape(20, 30) * 1.1,
    "n": np.arange(50),
    "enc": {"b": jnp.ones(3, jnp.bfloat16), "four": jnp.arange(4).astype(jnp.uint4), "none": jnp.zeros((0, 2))},
}
ABSTRACT = jax.tree.map(lambda x: x if x.dtype == np.int64 else jax.ShapeDtypeStruct(x.shape, x.dtype), TREE)


def outcome(checkpoints, like):
    """Returns whether the step was refused with a checkpoint's error, right, or WRONG."""
    refused = None
    try:
        found = checkpoints.restore(3, params=like)["params"]
    except CheckpointError as error:
        refused = error
    if refused is not None:
        assert str(checkpoints.directory) in str(refused)
        return "refused"
    pairs = zip(jax.tree.leaves(TREE), jax.tree.leaves(found), strict=True)
    same = all(old.dtype == new.dtype and np.array_equal(np.asarray(old), np.asarray(new)) for old, new in pairs)
    return "right" if same else "WRONG"


def damaged(good, choose):
    """Returns bytes with one bit flipped, or without their end."""
    at = choose.randrange(len(good))
    bad = bytearray(good)
    bad[at] ^= 1 << choose.randrange(8)
    return good[:at] if choose.random() < 0.2 else bytes(bad)


def main(directory, count):
    """Prints what came of it."""
    with Checkpointer(directory, store="orbax") as checkpoints:
        checkpoints.save(3, params=TREE, key=jax.random.key(1))
    files = [path for path in checkpoints.path(3).rglob("*") if path.is_file()]
    choose, outcomes = random.Random(0), Counter()
    for path in [*files, *choose.choices([path for path in files if path.stat().st_size], k=int(count))]:
        good = path.read_bytes()
        if sum(outcomes.values()) < len(files):
            path.unlink()
        else:
            path.write_bytes(damaged(good, choose))
        outcomes[outcome(checkpoints, choose.choice([TREE, ABSTRACT]))] += 1
        path.write_bytes(good)
    sys.stdout.write(" ".join(f"{count} {what}" for what, count in sorted(outcomes.items())) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
