"""Fine-tuning by products of low rank, beside matrices that stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp

from jscope import _path, initializers
from jscope._defaults import AUTO_REUSE, OFF
from jscope._types import Tree
from jscope.errors import InvalidArgumentError, MissingVariableError, ShapeMismatchError
from jscope.getters._beside import Matching, is_float, known, wide


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
    have two axes are left alone. `merge_lora` adds the products to the matrices. (Hu et al., 2021, https://arxiv.org/abs/2106.09685)
    """

    rank: int
    match: str = ""
    scale: float = 1.0

    def __post_init__(self) -> None:
        Matching.__post_init__(self)
        if not isinstance(self.rank, Integral) or self.rank < 1:
            raise InvalidArgumentError(f"lora: `rank` is {self.rank!r}, where an int of at least 1 is needed.")

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
        # Only the factors learn, even where `jax.grad` is given all params.
        return jax.lax.stop_gradient(value) + ((self.scale / self.rank) * (a @ b)).astype(value.dtype)


def merge_lora(params: Tree, adapter: lora) -> dict[str, Any]:
    """Returns params in which the products of `adapter` are added to the matrices, and the factors are gone.

    They are params of the model without the getter, which computes with them what the model with it computes, up to
    rounding. Stacked matrices, of shape `(layers, rows, columns)`, are merged one by one. `adapter` is the getter that
    the model has: it says what matches, and the scale.

    >>> import jax.numpy as jnp, jscope
    >>> adapter = jscope.getters.lora(rank=1, scale=2.0)
    >>> params = {"w": jnp.ones((2, 2)), "w_lora": {"a": jnp.ones((2, 1)), "b": jnp.ones((1, 2))}}
    >>> merged = jscope.getters.merge_lora(params, adapter)
    >>> merged["w"].tolist(), list(merged)
    ([[3.0, 3.0], [3.0, 3.0]], ['w'])

    Raises:
      MissingVariableError: No matrix that `adapter` matches has factors beside it.
      ShapeMismatchError: Factors have another rank.
    """
    flat = dict(_path.items(params))
    products = _products(flat, adapter)
    rest = {path: value for path, value in flat.items() if path not in _factors_of(products)}
    return _path.nested((path, _sum(value, products.get(path), 1)) for path, value in rest.items())


def unmerge_lora(merged: Tree, params: Tree, adapter: lora) -> dict[str, Any]:
    """Takes apart what `merge_lora(params, adapter)` put together: to go on with the training of the factors.

    The factors are those in `params`, of which nothing else is used; each product is subtracted again, so the matrices
    are the original ones up to rounding.

    >>> import jax.numpy as jnp, jscope
    >>> adapter = jscope.getters.lora(rank=1)
    >>> params = {"w": jnp.ones((2, 2)), "w_lora": {"a": jnp.ones((2, 1)), "b": jnp.ones((1, 2))}}
    >>> merged = jscope.getters.merge_lora(params, adapter)
    >>> again = jscope.getters.unmerge_lora(merged, params, adapter)
    >>> jscope.tree.names(again), again["w"].tolist()
    (['w', 'w_lora/a', 'w_lora/b'], [[1.0, 1.0], [1.0, 1.0]])

    Raises:
      MissingVariableError: No matrix that `adapter` matches has factors in `params`, or is in `merged`.
    """
    flat, trained = dict(_path.items(merged)), dict(_path.items(params))
    products = _products({**trained, **flat}, adapter)
    matrices = {path: _sum(value, products.get(path), -1) for path, value in flat.items()}
    return _path.nested({**matrices, **{path: trained[path] for path in _factors_of(products)}}.items())


def _products(flat: dict[str, Any], adapter: lora) -> dict[str, Any]:
    """Returns what is added to each matrix, by its path."""
    products = {}
    for path in flat:
        a, b = (flat.get(factor) for factor in _factors_of([path]))
        if a is None or b is None or not adapter.matches(path):
            continue
        # The scale goes by the rank, so that of another would be wrong, and nothing would show.
        if a.shape[-1] != adapter.rank:
            raise ShapeMismatchError(f"The factors of `{path}` have rank {a.shape[-1]}; the getter has {adapter.rank}.")
        exact = wide(a.dtype)
        # Once, so it may be exact; on a TPU, JAX would multiply in bfloat16 otherwise.
        product = jnp.matmul(jnp.asarray(a, exact), jnp.asarray(b, exact), precision="highest")
        products[path] = (adapter.scale / adapter.rank) * product
    if not products:
        raise MissingVariableError(
            f"No variable that {adapter} matches has factors beside it, `.../w_lora/a` and `.../w_lora/b`.\n"
            "Pass the params of the model with the getter; `jscope.tree.names(params)` lists them."
        )
    return products


def _factors_of(paths: Iterable[str]) -> list[str]:
    return [_path.child(f"{path}_lora", factor) for path in paths for factor in "ab"]


def _sum(value: Any, product: Any, sign: int) -> Any:
    if product is None:
        return value
    return (jnp.asarray(value).astype(product.dtype) + sign * product).astype(value.dtype)
