"""The examples of lifts run as a reader runs them: each in a process of its own, with few steps."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

import jscope

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = ("--layers", 2, "--dim", 16, "--heads", 2, "--context", 16, "--batch", 4, "--length", 8)


def run(program, *options):
    """Runs an example, which finds jscope where this process did; returns its output."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / program, *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        # Each program runs once, so it is compiled soon rather than well, where other tests are not, too.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_char_lm_trains_writes_and_saves(tmp_path):
    """A short run in bfloat16 prints the specs, a loss and a text, and saves stacked params."""
    printed = run("char_lm.py", *SMALL, "--steps", 2, "--bf16", "--prompt", "Hello", "--out", tmp_path)
    assert re.search(r"^layers/attention/query/kernel +2, 16, 2, 8 +float32", printed, re.MULTILINE)
    assert 3 < float(re.search(r"after 2 steps: (\S+) nats", printed)[1]) < 6
    assert "\nHello" in printed
    arrays = load_file(tmp_path / "params.safetensors")
    assert arrays["layers/mlp/hidden/kernel"].shape == (2, 16, 64)
    assert arrays["layers/mlp/hidden/kernel"].dtype == np.float32


@pytest.mark.slow
def test_char_lm_tells_how_long_it_compiles():
    """`--compile-only` trains nothing."""
    assert re.fullmatch(
        r"3 layers: the first step compiles in \S+ s\n", run("char_lm.py", *SMALL[2:], "--layers", 3, "--compile-only")
    )


@pytest.mark.slow
def test_char_lm_writes_what_it_would_predict():
    """With its cache, character by character, the model gives the logits that it gives for the whole text."""
    char_lm = runpy.run_path(str(EXAMPLES / "char_lm.py"))
    config, model = char_lm["Config"](layers=2, dim=16, heads=2), char_lm["model"]
    tokens_bt = jnp.arange(10).reshape(2, 5)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        params = model.init(jax.random.key(0), tokens_bt, config)
        apply = jax.jit(model.apply, static_argnums=2)
        whole = apply(params, tokens_bt, config)
        start, caches = apply(params, tokens_bt[:, :4], config, char_lm["empty_caches"](config, 2, 5))
        end, _ = apply(params, tokens_bt[:, 4:], config, caches)
    chex.assert_trees_all_close(jnp.concatenate([start, end], 1), whole, atol=1e-5)


@pytest.mark.slow
def test_char_lm_may_be_unrolled():
    """Layer 1 of the scanned model starts with the values that a loop over layers gives it."""
    char_lm = runpy.run_path(str(EXAMPLES / "char_lm.py"))
    config = char_lm["Config"](layers=2, dim=16, heads=2)

    def unrolled(scope, x_btd):
        scope = scope.with_defaults(initializer=jscope.initializers.normal(0.05))
        for i in range(2):
            x_btd, _ = char_lm["block"](scope / f"layers/{i}", x_btd, None, config)

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        scanned = char_lm["model"].init(jax.random.key(0), jnp.zeros((1, 3), jnp.int32), config)
        expected = jscope.init(unrolled, jax.random.key(0), jnp.zeros((1, 3, 16)))
    chex.assert_trees_all_equal(jscope.tree.unstack(scanned["layers"]), expected["layers"])


@pytest.mark.slow
def test_ensemble_shares_its_trunk_and_reports():
    """A short run prints the specs, accuracies and what the members' disagreement tells."""
    printed = run("ensemble.py", "--members", 3, "--steps", 100)
    assert re.search(r"^members/trunk/kernel +64, 64 ", printed, re.MULTILINE)
    assert re.search(r"^members/head/out/kernel +3, 64, 10 ", printed, re.MULTILINE)
    assert float(re.search(r"^Ensemble: +(\S+)%", printed, re.MULTILINE)[1]) > 50
    assert "Disagreement where it is wrong" in printed
