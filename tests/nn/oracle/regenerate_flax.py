"""Records what Flax Linen gives for `tests/nn/flax_cases.py`, into `tests/nn/data/flax.npz`.

pip install -e ".[oracle]"
python -m tests.nn.oracle.regenerate_flax
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, traverse_util

from tests.nn.cases import DATA, save
from tests.nn.flax_cases import CASES
from tests.nn.sequence_cases import numbers


def run(case):
    """Returns the output and the gradients, by our names."""
    module, x = case.flax(linen), jnp.asarray(numbers("x", case.shape))
    shapes = traverse_util.flatten_dict(jax.eval_shape(module.init, jax.random.key(0), x), sep="/")
    named = {path.removeprefix("params/"): leaf for path, leaf in shapes.items()}
    params = {path: jnp.asarray(numbers(case.names[path], leaf.shape)) for path, leaf in named.items()}

    def loss(params, x):
        y = module.apply({"params": traverse_util.unflatten_dict(params, sep="/")}, x)
        return jnp.sum(y * numbers("y", y.shape)), y

    (grads, dx), y = jax.grad(loss, (0, 1), has_aux=True)(params, x)
    return {"y": y, "d x": dx} | {f"d {case.names[path]}": grad for path, grad in grads.items()}


if __name__ == "__main__":
    save("flax.npz", {name: run(case) for name, case in CASES.items()})
    print(f"{len(CASES)} cases, {(DATA / 'flax.npz').stat().st_size} bytes, NumPy {np.__version__}")
