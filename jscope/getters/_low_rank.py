"""Fine-tuning by products of low rank, beside matrices that stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jscope import initializers
from jscope._defaults import AUTO_REUSE, OFF
from jscope.getters._beside import Matching, is_float, known


@dataclass(frozen=True, slots=True)
class lora(Matching):
    """Freezes the matrices that match and adds a trainable product of rank `rank` to each.

    >>> import jax, jscope
    >>> def f(scope):
    ...     return scope.with_defaults(custom_getter=jscope.getters.lora(rank=1)).get_variable("w", (3, 2))
    >>> params = jscope.init(f, jax.random.key(0))
    >>> jscope.tree.map_with_path(lambda path, value: value.shape, params)
    {'w': (3, 2), 'w_lora': {'a': (3, 1), 'b': (1, 2)}}

    `w` is read as `stop_gradient(w) + scale / rank * a @ b`, with `a` in `w_lora/a` (normal) and `b` in `w_lora/b`
    (zeros, so that training starts from `w`), both in the collection `"lora"`. `w` keeps its name, so checkpoints of
    the original model load. They are stored in the dtype of `w`, whatever it is read as; their logical axes are
    `(first, None)` and `(None, last)`, if those of `w` are `(first, last)`. State, integers and variables that do not
    have two axes are left alone. (Hu et al., 2021, https://arxiv.org/abs/2106.09685)
    """

    rank: int
    match: str = ""
    scale: float = 1.0

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        about = known(getter, name, options)
        value = getter(name, **options)
        ours = about.trainable and self.matches(name) and value.ndim == 2
        if not ours or not is_float(value.dtype):
            return value
        # A matrix that is read again has its factors already, whatever `reuse` says of the matrix itself.
        plain = {"collections": ("lora",), "reuse": AUTO_REUSE, "partitioner": OFF}
        plain["dtype"] = about.dtype if is_float(about.dtype or jnp.int8) else value.dtype
        (rows, columns), (first, last) = value.shape, (about.axis(0), about.axis(1))
        # With this deviation, `x @ a` is about as large as `x`.
        small = initializers.normal(rows**-0.5)
        a = getter(f"{name}_lora/a", (rows, self.rank), initializer=small, axes=about.named(first, None), **plain)
        zeros = initializers.zeros
        b = getter(f"{name}_lora/b", (self.rank, columns), initializer=zeros, axes=about.named(None, last), **plain)
        return jax.lax.stop_gradient(value) + ((self.scale / self.rank) * (a @ b)).astype(value.dtype)
