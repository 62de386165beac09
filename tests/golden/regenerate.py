"""Writes `initial_values.json`: keys and initial values that no release may change by accident.

    python -m tests.golden.regenerate

Do so only together with a new `jscope._rng.VERSION`, and say so in CHANGELOG.md: everybody's models start elsewhere.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jscope
from jscope import _rng, initializers

FILE = Path(__file__).with_name("initial_values.json")
SEEDS = (0, 42)
PATHS = ("w", "b", "encoder/w", "encoder/layer_0/w", "layers/0/w", "layers/31/w", "0", "00", "ünïcode/w", "a b/c.d")


def model(scope):
    """One variable of each kind that users have."""
    scope.get_variable("default", (3, 2))
    scope.get_variable("normal", (2,), initializer=initializers.normal(0.02))
    scope.get_variable("nn", (2, 3), initializer=jax.nn.initializers.lecun_normal())
    scope.get_variable("bf16", (2, 2), jnp.bfloat16)
    scope.get_variable("int", (2,), jnp.int32)
    scope.get_variable("bits", (2,), jnp.uint32, lambda key, shape, dtype: jax.random.bits(key, shape, dtype))
    scope.get_variable("value", initializer=1.5)
    deep = scope / "deep" / "er"
    deep.get_variable("uniform", (3,), initializer=initializers.uniform(-1.0, 1.0))
    deep.get_variable("truncated", (3,), initializer=initializers.truncated_normal(0.1))
    (scope / "layers" / "0").get_variable("w", (2,), initializer=initializers.normal(1.0))
    (scope / "layers" / "1").get_variable("w", (2,), initializer=initializers.normal(1.0))


def drawing(scope):
    """Keys of `scope.rng`, by what was asked."""
    drop = scope / "drop"
    keys = {"root": scope.rng(), "drop": drop.rng(), "again": drop.rng(), "stream": drop.rng("noise")}
    return keys | {"entered anew": (scope / "drop").rng()}


def words(key):
    """The words of a key, in hexadecimal."""
    return [f"{word:08x}" for word in np.asarray(jax.random.key_data(key)).tolist()]


def current():
    """Everything that the golden file pins, as the code has it now."""
    return {
        "version": _rng.VERSION,
        "lanes": {path: [f"{lane:08x}" for lane in _rng.lanes_of_path(path)] for path in PATHS},
        "keys": {
            str(seed): {path: words(_rng.fold(jax.random.key(seed), _rng.lanes_of_path(path))) for path in PATHS}
            for seed in SEEDS
        },
        "rng": {
            str(seed): jax.tree.map(words, jscope.transform(drawing).with_rng(jax.random.key(seed)).apply({}))
            for seed in SEEDS
        },
        "values": {
            str(seed): {
                path: np.asarray(value, np.float64).tolist()
                for path, value in jscope.tree.flatten(jscope.init(model, jax.random.key(seed))).items()
            }
            for seed in SEEDS
        },
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(current(), indent=1, ensure_ascii=False) + "\n", encoding="utf8")
    print(f"wrote {FILE}")
