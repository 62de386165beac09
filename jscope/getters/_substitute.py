"""Values that are passed in, read in the place of variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jscope import _path
from jscope.errors import InvalidArgumentError


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
