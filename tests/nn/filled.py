"""Variables for tests, without random numbers: drawing those takes longer to compile than most layers."""

from __future__ import annotations

import jax.numpy as jnp

import jscope
from tests.nn.sequence_cases import numbers


def filled(specs, scale=1.0):
    """A value for each variable, made from its name; see `numbers`."""
    values = lambda path, spec: jnp.asarray(scale * numbers(path, spec.shape), spec.dtype)  # noqa: E731
    return jscope.tree.map_with_path(values, specs.shape_dtype())
