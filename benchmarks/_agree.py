"""No comparison without agreement: on the same weights, all libraries must compute the same."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._libraries import LIBRARIES
from benchmarks.models._models import Decoder, Transformer, UnsupportedError, Wide

SMALL = (
    Transformer(2, 16),
    Transformer(2, 16, form="jitted"),
    Decoder(),
    Wide(220),
)


class DisagreementError(Exception):
    """Two libraries that should compute the same do not."""


def agree(libraries, size):
    """What a run starts with, in a process of its own: it measures nothing, and fails where `libraries` disagree."""
    # These programs run once.
    jax.config.update("jax_disable_most_optimizations", True)
    check(libraries.split(","))
    return ()


def check(libraries, models=SMALL):
    """Raises unless all `libraries` have the variables, and on the same weights the outputs, of JAX by hand.

    Raises:
      DisagreementError: With the library, the model, and by how much they differ.
    """
    for model in models:
        params = weights(model)
        expected = output(LIBRARIES["raw"].build(model), params, model.x)
        for library in libraries:
            try:
                check_one(library, model, params, expected)
            except UnsupportedError:
                continue


def check_one(library, model, params, expected):
    """Raises unless `library` agrees about one model."""
    built = LIBRARIES[library].build(model)
    variables = built.load(params)
    if shapes(variables) != shapes(jax.eval_shape(built.init, jax.random.key(0), model.x)):
        raise DisagreementError(f"{library}, {model}: its variables differ from those of JAX by hand.")
    out = output(built, variables, model.x)
    if not np.allclose(out, expected, rtol=1e-4, atol=1e-5):
        error = np.abs(out - expected).max()
        raise DisagreementError(f"{library}, {model}: outputs differ from those of JAX by hand by up to {error:.2g}.")


def output(built, variables, x):
    """Returns what a model computes, as a NumPy array."""
    return np.asarray(jax.jit(built.apply)(variables, x))


def weights(model):
    """Returns params for `model`, by the names of JAX by hand, without running an initializer."""
    rng = np.random.default_rng(1)
    made = jax.eval_shape(LIBRARIES["raw"].build(model).init, jax.random.key(0), model.x)
    return jax.tree.map(lambda leaf: jnp.asarray(0.1 * rng.standard_normal(leaf.shape), leaf.dtype), made)


def shapes(variables):
    """Returns the structure of a pytree with the shapes and dtypes of its leaves."""
    leaves, structure = jax.tree.flatten(variables)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]
