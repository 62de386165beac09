"""The words of jscope's signatures: aliases, and one documented protocol per callable that users supply."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax

Key: TypeAlias = jax.Array
"""A random key: `jax.random.key(seed)`, or the older `jax.random.PRNGKey(seed)`."""

StrPath: TypeAlias = str | os.PathLike[str]
"""Where a file or directory is."""

Shape: TypeAlias = tuple[int, ...]
ShapeLike: TypeAlias = Sequence[int] | int
DType: TypeAlias = Any
"""What `jax.numpy.dtype` accepts, such as `jnp.bfloat16` or `"float32"`."""

Params: TypeAlias = dict[str, Any]
"""A nested dict of arrays: trainable variables by path."""

State: TypeAlias = dict[str, Any]
"""A nested dict of arrays: variables that are not trainable."""

Axes: TypeAlias = tuple[str | None, ...]
"""One logical name (or none) for each axis of a variable, such as `("embed", "mlp")`."""


class Initializer(Protocol):
    """Makes the initial value of a variable: `(key, shape, dtype) -> array`.

    All of `jax.nn.initializers` has this form.
    """

    def __call__(self, key: Key, shape: Shape, dtype: DType, /) -> jax.Array: ...


class Regularizer(Protocol):
    """Gives the penalty of a variable: `(value) -> scalar array`. Must be pure."""

    def __call__(self, value: jax.Array, /) -> jax.Array: ...


class Constraint(Protocol):
    """Projects a variable onto the allowed values: `(value) -> value` of the same shape and dtype."""

    def __call__(self, value: jax.Array, /) -> jax.Array: ...


class Partitioner(Protocol):
    """Names the axes of a variable: `(shape, dtype) -> ("embed", "mlp")`, or None where it has nothing to say."""

    def __call__(self, shape: Shape, dtype: DType, /) -> Axes | None: ...


@runtime_checkable
class Getter(Protocol):
    """Stands between `get_variable` and the variable: `(getter, name, **options) -> value`.

    `name` is the full path. `getter(name, **options)` goes on to the next outer getter, and in the end to the
    variable itself. A getter may pass on another name or other options, call on several times or
    never, and return any value. `getter.scope` is the scope that was asked.
    """

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any: ...


class Reduce(Protocol):
    """Combines two sown values of one name: `(old, new) -> value`."""

    def __call__(self, old: Any, new: Any, /) -> Any: ...


class Converter(Protocol):
    """Takes variables from one naming and layout to another: `jscope.checkpoint.Conversion`. All names are flat."""

    def arrays(self, arrays: Mapping[str, Any], /) -> dict[str, Any]:
        """Returns what is made of these arrays."""
        ...

    def specs(self, specs: Mapping[str, Any], /) -> dict[str, Any]:
        """Returns the specs of what is made of these variables."""
        ...

    def blocks(self, arrays: Mapping[str, Any], kinds: Mapping[str, str], /) -> tuple[dict[str, Any], dict[str, str]]:
        """Returns what is made of these arrays, each to be made when it is written, and the kinds of leaves."""
        ...


Tree: TypeAlias = Mapping[str, Any]
"""A nested mapping with string keys."""
