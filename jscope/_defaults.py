"""What a scope passes on to its children.

`None` means "inherit" and nothing else; `OFF` switches an inherited default off, back to the library's own.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from types import FunctionType
from typing import Any, Final, Literal, TypeAlias, TypedDict

import jax.numpy as jnp

from jscope._types import Constraint, DType, Getter, Initializer, Partitioner, Regularizer
from jscope.errors import InvalidArgumentError


class Sentinel(enum.Enum):
    """Values that stand for themselves; compare with `is`."""

    AUTO_REUSE = "AUTO_REUSE"
    OFF = "OFF"

    def __repr__(self) -> str:
        return f"jscope.{self.value}"


AUTO_REUSE: Final = Sentinel.AUTO_REUSE
"""As `reuse=`: get the variable if it exists, else create it."""

OFF: Final = Sentinel.OFF
"""As a default: nothing, not even what the outer scope says."""

Off: TypeAlias = Literal[Sentinel.OFF]
Reuse: TypeAlias = bool | Literal[Sentinel.AUTO_REUSE]


class Overrides(TypedDict, total=False):
    """The keyword arguments of `with_defaults` and `variable_scope`: None inherits, `OFF` switches off."""

    initializer: Initializer | Any | Off | None
    regularizer: Regularizer | Off | None
    constraint: Constraint | Off | None
    dtype: DType | Off | None
    partitioner: Partitioner | Off | None
    reuse: Reuse | Off | None
    custom_getter: Getter | Sequence[Getter] | Off | None


@dataclass(frozen=True, slots=True, eq=False)
class Defaults:
    """What `get_variable` uses where its own arguments say nothing.

    Compared by identity: defaults may hold arrays and fresh closures, which are not cheap to compare.
    """

    initializer: Initializer | Any = None
    regularizer: Regularizer | None = None
    constraint: Constraint | None = None
    dtype: DType = jnp.float32
    partitioner: Partitioner | None = None
    reuse: Reuse = False

    def override(self, **changes: Any) -> Defaults:
        """Returns these defaults with `changes`: None inherits, `OFF` resets. These are unchanged."""
        if unknown := changes.keys() - _LIBRARY:
            # To users it is one of the defaults, though a scope keeps its getters elsewhere.
            known = ", ".join([*_LIBRARY, "custom_getter"])
            raise InvalidArgumentError(f"There is no default called {', '.join(sorted(unknown))}. There are: {known}.")
        changes = {name: value for name, value in changes.items() if value is not None}
        # The same object, not an equal one: JAX's caches tell defaults apart by identity.
        if not changes:
            return self
        reuse = changes.pop("reuse", None)
        if not (reuse is None or isinstance(reuse, bool) or reuse in (AUTO_REUSE, OFF)):
            raise InvalidArgumentError(
                f"reuse={reuse!r} must be True, False, None or jscope.AUTO_REUSE. "
                "True: must exist. AUTO_REUSE: get or create. False, None: inherit."
            )
        # False inherits, as in TensorFlow: a block cannot forbid the sharing that its caller has allowed.
        if reuse:
            changes["reuse"] = reuse
        given = {name: self.settled(name, value) for name, value in changes.items()}
        return replace(self, **given) if given else self

    def settled(self, name: str, value: Any) -> Any:
        """Returns what holds for the default `name` where a request says `value`: None inherits, `OFF` resets."""
        if value is None:
            return getattr(self, name)
        if value is OFF:
            return _LIBRARY[name]
        if name not in ("dtype", "reuse"):
            check_callable(name, value)
        return value


def check_callable(role: str, value: Any) -> None:
    """Raises unless `value` can serve as this default; an initializer may be an array or number too."""
    # Ours are made by classes and functions.
    if isinstance(value, type) or (isinstance(value, FunctionType) and value.__module__ == "jscope.initializers"):
        raise InvalidArgumentError(
            f"{role}={value.__name__} makes one when it is called with what it needs: `{role}={value.__name__}(...)`."
        )
    if value is None or callable(value) or (role == "initializer" and is_value(value)):
        return
    wanted = "(key, shape, dtype) -> array, or an array or number" if role == "initializer" else _WANTED[role]
    raise InvalidArgumentError(
        f"{role}={value!r} of type `{type(value).__name__}` is not callable. Pass a callable {wanted}, "
        f"or jscope.OFF to switch an inherited {role} off."
    )


def is_value(initializer: Any) -> bool:
    """Whether an initializer is an array or a number, which gives shape and dtype too."""
    # `np.float32`, the class, has a `shape` and a `dtype`, too.
    return isinstance(initializer, bool | int | float | complex) or (
        hasattr(initializer, "shape") and hasattr(initializer, "dtype") and not callable(initializer)
    )


_WANTED = {
    "regularizer": "(value) -> scalar",
    "constraint": "(value) -> value",
    "partitioner": "(shape, dtype) -> axis names",
    "custom_getter": "(getter, name, **options) -> value, or a list of them",
}
LIBRARY_DEFAULTS: Final = Defaults()
_LIBRARY = {field.name: getattr(LIBRARY_DEFAULTS, field.name) for field in fields(Defaults)}
