"""A law of the dtypes in which a model computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from jscope._summary import equations_of
from jscope._types import Key
from jscope._util._text import scope_at
from jscope.testing._case import Case, break_law, case

_WIDE = ("float64", "complex128")
_NARROW = ("bfloat16", "float16")
# `jnp.sum` adds up 16-bit floats in float32 by itself; a `reduce_sum` of them was asked for.
_OF_NORMS = ("rsqrt", "sqrt", "reduce_sum")


def dtypes_are_sound(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, key: Key | None = None
) -> None:
    """Nothing is computed in float64, and norms are computed in float32 or wider.

    >>> dtypes_are_sound(lambda scope, x: x * np.float64(2), (jnp.ones(3),))
    Traceback (most recent call last):
    jscope.testing._case.LawError: The model breaks the law `dtypes_are_sound`:
      the root scope: `convert_element_type` gives float64[3]
      the root scope: `mul` gives float64[3]
    Give arrays a dtype: `jnp.asarray(x, dtype)`, `x.astype(jnp.float32)`.

    The model is traced with 64-bit types switched on, on the same inputs: a float64 that JAX turns into float32 today
    is one where they are on. Of norms there are sums and square roots, which lose too much in 16 bits.

    Raises:
      LawError: With a line for each kind of operation, and its scope.
    """
    its = case(model, args, kwargs, key)
    # Under strict promotion, JAX would raise where this is to be told.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        lines = list(dict.fromkeys(_unsound(its)))
    if lines:
        break_law("dtypes_are_sound", lines, "Give arrays a dtype: `jnp.asarray(x, dtype)`, `x.astype(jnp.float32)`.")


def _unsound(its: Case) -> Iterator[str]:
    for place, equation in equations_of(its.model, its.args, its.kwargs):
        name = equation.primitive.name
        for variable in equation.outvars:
            dtype = getattr(getattr(variable.aval, "dtype", None), "name", "")
            if dtype in _WIDE or (dtype in _NARROW and name in _OF_NORMS):
                yield f"{scope_at(place or '')}: `{name}` gives {dtype}{list(variable.aval.shape)}"
