"""Values that are passed in, read in the place of variables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jscope import _path
from jscope.errors import InvalidArgumentError, MissingVariableError
from jscope.getters._beside import unused


# Compared by identity, since values are arrays; JAX compares only what is static, which is nothing.
@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, slots=True, eq=False)
class substitute:
    """Reads variables from `values`, a nested dict by full path; those that are not in it are read as before.

    The values are leaves of the scope's pytree: they may be traced, differentiated and mapped. Where a lift stacks
    variables (`scan`, `layers`, `vmap`), it takes their substitutes apart, too: for `layers/w`, the whole stack is
    passed in, and each copy reads its own.

    >>> import jscope
    >>> def f(scope, fast):
    ...     scope = scope.with_defaults(custom_getter=jscope.getters.substitute(fast))
    ...     return scope.get_variable("w"), scope.get_variable("b")
    >>> jscope.apply(f, {"w": 1.0, "b": 2.0}, {"w": 10.0})
    (10.0, 2.0)

    Raises:
      InvalidArgumentError: A value has another shape than its variable.
      MissingVariableError: In `init` and `specs`: there is no variable of a path in `values`.
    """

    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        # JAX puts other things than mappings here when it takes pytrees apart.
        if isinstance(self.values, Mapping):
            object.__setattr__(self, "values", _path.nested(_path.items(self.values)))

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

    def check_used(self, paths: Collection[str]) -> None:
        """Raises if a value has a path for which the getter was not asked while collecting."""
        for path, _ in _path.items(self.values):
            if path not in paths:
                raise MissingVariableError(unused(f"`getters.substitute` of `{path}`", path, paths))

    def by_path(self) -> dict[str, Any]:
        """Returns the values by path, for lifts that take them apart."""
        return {path: value for path, value in _path.items(self.values) if value is not None}

    def replaced(self, values: Mapping[str, Any]) -> substitute:
        """Returns the getter with other values at some paths."""
        return substitute(_path.nested({**dict(_path.items(self.values)), **values}.items()))

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        """Returns the values as the only child, without static data."""
        return (self.values,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Any]) -> substitute:
        """Returns what `tree_flatten` took apart."""
        return cls(*children)
