"""A custom getter stands between `get_variable` and the variable.

```python
def doubled(getter, name, **options):
    return 2.0 * getter(name, **options)
```

`name` is the full path, `getter` the rest of the chain, and `getter.scope` the scope that was asked. A getter may pass
on another name or other options, call `getter` several times or never, and return any value. Those here are values: two
that were made by the same call are equal, so JAX traces nothing anew for the second. `match` is a regular expression,
searched for in the full path; the default, `""`, matches every path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jscope import _path, initializers
from jscope._defaults import AUTO_REUSE
from jscope._types import DType
from jscope.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class cast:
    """Reads floating-point params as `dtype`, whatever they are stored as: mixed precision.

    State is read as it is stored: moving statistics would stand still where an update is less than the last bit.

    >>> import jax.numpy as jnp, jscope
    >>> def f(scope):
    ...     return scope.with_defaults(custom_getter=jscope.getters.cast(jnp.bfloat16)).get_variable("w")
    >>> jscope.apply(f, {"w": jnp.ones(2)}).dtype == jnp.bfloat16
    True
    """

    dtype: DType
    match: str = ""

    @property
    def ignores_path(self) -> bool:
        """Whether it does the same at any path, so that `jscope.jit` may share compiled functions between paths."""
        return not self.match

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        value = getter(name, **options)
        ours = options.get("trainable", True) and re.search(self.match, name)
        return value.astype(self.dtype) if ours and jnp.issubdtype(value.dtype, jnp.floating) else value


@dataclass(frozen=True, slots=True)
class freeze:
    """Stops the gradients of the variables that match.

    >>> import jax, jscope
    >>> def f(scope):
    ...     return 3.0 * scope.with_defaults(custom_getter=jscope.getters.freeze("w$")).get_variable("w")
    >>> float(jax.grad(lambda params: jscope.apply(f, params))({"w": 1.0})["w"])
    0.0
    """

    match: str = ""

    @property
    def ignores_path(self) -> bool:
        """Whether it does the same at any path, so that `jscope.jit` may share compiled functions between paths."""
        return not self.match

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        value = getter(name, **options)
        return jax.lax.stop_gradient(value) if re.search(self.match, name) else value


@dataclass(frozen=True, slots=True)
class weight_norm:
    """Stores a matrix `w` as a direction `w/v` and a length `w/g` per output: `w = g * v / |v|`.

    `v` has the shape and the initializer of `w`; `g` has the size of the last axis, which counts the outputs, and
    starts at one. Variables with fewer than two axes, or requested without a shape, are read as they are. (Salimans
    and Kingma, 2016, https://arxiv.org/abs/1602.07868)

    >>> import jax, jscope
    >>> def f(scope):
    ...     scope = scope.with_defaults(custom_getter=jscope.getters.weight_norm())
    ...     return scope.get_variable("w", (3, 2)), scope.get_variable("b", (2,))
    >>> jscope.tree.names(jscope.init(f, jax.random.key(0)))
    ['w/v', 'w/g', 'b']
    """

    match: str = ""

    @property
    def ignores_path(self) -> bool:
        """Whether it does the same at any path, so that `jscope.jit` may share compiled functions between paths."""
        return not self.match

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        shape = options.get("shape")
        if not re.search(self.match, name) or shape is None or isinstance(shape, int) or len(shape) < 2:
            return getter(name, **options)
        v = getter(_path.child(name, "v"), **options)
        plain = {"shape": (shape[-1],), "dtype": options.get("dtype"), "initializer": initializers.ones}
        g = getter(_path.child(name, "g"), **plain, trainable=options.get("trainable", True))
        length = g.reshape((1,) * (v.ndim - 1) + g.shape)
        squares = jnp.sum(v * v, axis=tuple(range(v.ndim - 1)), keepdims=True)
        # The small number keeps the gradient of a column of zeros finite.
        return v * (length * jax.lax.rsqrt(squares + 1e-12))


@dataclass(frozen=True, slots=True)
class lora:
    """Freezes the matrices that match and adds a trainable product of rank `rank` to each.

    >>> import jax, jscope
    >>> def f(scope):
    ...     return scope.with_defaults(custom_getter=jscope.getters.lora(rank=1)).get_variable("w", (3, 2))
    >>> params = jscope.init(f, jax.random.key(0))
    >>> jscope.tree.map_with_path(lambda path, value: value.shape, params)
    {'w': (3, 2), 'w_lora': {'a': (3, 1), 'b': (1, 2)}}

    `w` is read as `stop_gradient(w) + scale / rank * a @ b`, with `a` in `w_lora/a` (normal) and `b` in `w_lora/b`
    (zeros, so that training starts from `w`), both in the collection `"lora"`. `w` keeps its name, so checkpoints of
    the original model load. (Hu et al., 2021, https://arxiv.org/abs/2106.09685)
    """

    rank: int
    match: str = ""
    scale: float = 1.0

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        value = getter(name, **options)
        if not re.search(self.match, name) or value.ndim != 2:
            return value
        plain = {"dtype": value.dtype, "collections": ("lora",)}
        small = initializers.normal(value.shape[0] ** -0.5)
        a = getter(f"{name}_lora/a", (value.shape[0], self.rank), initializer=small, **plain)
        b = getter(f"{name}_lora/b", (self.rank, value.shape[1]), initializer=initializers.zeros, **plain)
        return jax.lax.stop_gradient(value) + (self.scale / self.rank) * (a @ b)


@dataclass(frozen=True, slots=True)
class ema:
    """Keeps an exponential moving average of each floating-point param, in state beside it: `w_ema/average`.

    A read returns the param, and updates its average. With `average=True`, for evaluation, it returns the average,
    corrected for its start at zero, and updates nothing. A param that is read twice in a call is averaged twice.

    >>> import jax, jax.numpy as jnp, jscope
    >>> def model(scope, average):
    ...     scope = scope.with_defaults(custom_getter=jscope.getters.ema(0.9, average=average))
    ...     return scope.get_variable("w", (), initializer=jscope.initializers.zeros)
    >>> init, apply = jscope.transform_with_state(model)
    >>> params, state = init(jax.random.key(0), average=False)
    >>> for w in (1.0, 3.0):
    ...     _, state = apply({"w": jnp.asarray(w)}, state, average=False)
    >>> round(float(apply(params, state, average=True)[0]), 4)  # (0.9 * 0.1 * 1 + 0.1 * 3) / (1 - 0.9**2)
    2.0526
    """

    decay: float
    match: str = ""
    average: bool = False

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        value = getter(name, **options)
        ours = options.get("trainable", True) and re.search(self.match, name)
        if not ours or not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        plain: dict[str, Any] = {"initializer": initializers.zeros, "trainable": False, "reuse": AUTO_REUSE}
        mean = getter(f"{name}_ema/average", value.shape, value.dtype, **plain)
        count = getter(f"{name}_ema/count", (), jnp.int32, **plain)
        if self.average:
            # Before the first update, the average is only zeros; the param itself stands in for it.
            corrected = mean / (1 - self.decay ** jnp.maximum(count, 1).astype(value.dtype))
            return jnp.where(count > 0, corrected, value)
        local = _path.relative(name, getter.scope.path)
        getter.scope.assign(f"{local}_ema/average", self.decay * mean + (1 - self.decay) * value)
        getter.scope.assign(f"{local}_ema/count", count + 1)
        return value


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, slots=True, eq=False)
class substitute:
    """Reads variables from `values`, a nested dict by full path; those that are not in it are read as before.

    The values are leaves of the scope's pytree: they may be traced, differentiated and mapped. A value whose shape is
    not that of the variable is an `InvalidArgumentError`.

    >>> import jscope
    >>> def f(scope, fast):
    ...     scope = scope.with_defaults(custom_getter=jscope.getters.substitute(fast))
    ...     return scope.get_variable("w"), scope.get_variable("b")
    >>> jscope.apply(f, {"w": 1.0, "b": 2.0}, {"w": 10.0})
    (10.0, 2.0)
    """

    values: Mapping[str, Any]

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        # The variable is asked for even if it has a substitute, so that specs and checks know of it.
        own = getter(name, **options)
        value = _path.walk(self.values, _path.parts(name))
        if value is None or isinstance(value, Mapping):
            return own
        if jnp.shape(value) != jnp.shape(own):
            raise InvalidArgumentError(
                f"substitute: `{name}` has shape {jnp.shape(own)}, its substitute {jnp.shape(value)}."
            )
        return value

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        """Returns the values as the only child, without static data."""
        return (self.values,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Any]) -> substitute:
        """Returns what `tree_flatten` took apart."""
        return cls(*children)
