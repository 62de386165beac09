"""Custom getters form a chain between `get_variable` and the variable.

The innermost scope's getter runs first; what it calls is the next outer one, and at the end of the chain
stands the variable. Getters that hold arrays are pytrees, so the arrays cross JAX transforms with the scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax

from jscope._types import Getter
from jscope.errors import InvalidArgumentError


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, slots=True)
class Static:
    """A getter that holds no arrays: a part of the treedef, not a leaf."""

    getter: Getter

    @property
    def ignores_path(self) -> bool:
        """Whether the getter says that it does the same at every path: `jscope.jit` may then hide the path from it."""
        return bool(getattr(self.getter, "ignores_path", False))

    @property
    def check_used(self) -> Any:
        """What raises, given all paths that the getter was asked for, if it is of no use; None if nothing does."""
        return getattr(self.getter, "check_used", None)

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        return self.getter(getter, name, **options)

    def tree_flatten(self) -> tuple[tuple[()], Getter]:
        # JAX compares it by `==`, so a getter that is made anew in every call costs a trace in every call.
        return (), self.getter

    @classmethod
    def tree_unflatten(cls, getter: Getter, _: tuple[()]) -> Static:
        return cls(getter)


@dataclass(frozen=True, slots=True)
class Link:
    """What a getter is given to go on with: the rest of the chain. Also knows the scope that was asked."""

    getter: Getter
    rest: Any
    scope: Any
    consulted: Any = None

    def __call__(self, name: str, /, *args: Any, **options: Any) -> Any:
        """Asks the rest of the chain for the variable with the full path `name`; arguments as in `get_variable`."""
        if self.consulted is not None:
            consult(self.consulted, self.getter, name)
        # Getters written for TensorFlow 1 may pass these by position.
        return self.getter(self.rest, name, **_by_name(name, args, options))

    def spec(self, name: str, /, **options: Any) -> Any:
        """Returns what is known of a variable that a call would ask for; see `End.spec`."""
        return self.rest.spec(name, **options)


@dataclass(frozen=True, slots=True)
class End:
    """The end of a chain: the variable itself."""

    scope: Any
    site: str

    def __call__(self, name: str, /, *args: Any, **options: Any) -> Any:
        """Gets or creates the variable with the full path `name`; arguments as in `get_variable`."""
        return self.scope._ask(name, site=self.site, **_by_name(name, args, options))

    def spec(self, name: str, /, **options: Any) -> Any:
        """Returns the spec that the request would create, or of what is there already; None where nothing is known.

        Nothing is created by this. In `apply`, only `shape`, `dtype` and `trainable` of what is stored are known.
        """
        return self.scope._known(name, self.site, **options)


def _by_name(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Returns all arguments by name: getters written for TensorFlow 1 may pass the first three by position."""
    if not args:
        return options
    given = dict(zip(_POSITIONAL, args, strict=False))
    if len(args) > len(_POSITIONAL) or given.keys() & options.keys():
        raise InvalidArgumentError(
            f"A custom getter asked for `{name}` with {args} by position, and by name {', '.join(options)}.\nOnly "
            f"{', '.join(_POSITIONAL)} may follow the name by position, and nothing may be given twice: give the rest "
            "by name."
        )
    return given | options


_POSITIONAL = ("shape", "dtype", "initializer")


def as_nodes(getter: Getter | Sequence[Getter]) -> tuple[Getter, ...]:
    """Returns one getter, or several, as pytree nodes."""
    getters = (getter,) if callable(getter) else getter
    return tuple(Static(each) if jax.tree_util.all_leaves([each]) else each for each in getters)


def consult(consulted: dict[Any, Any], getter: Getter, *names: str) -> None:
    """Notes the paths that a getter is asked for, if it must be of use."""
    if getattr(getter, "check_used", None) is not None:
        # Without its arrays, which belong to a trace that ends before the call does.
        leaves, kind = jax.tree.flatten(getter)
        consulted.setdefault(kind, (jax.tree.unflatten(kind, [None] * len(leaves)), set()))[1].update(names)


def through(getters: tuple[Getter, ...], end: End, name: str, options: dict[str, Any]) -> Any:
    """Runs the chain of `getters` (outermost first) on a request."""
    if not getters:
        return end(name, **options)
    frame = end.scope._frame() if end.scope.collecting else None
    consulted = None if frame is None else frame.consulted
    # Each link wraps what is there already, so the last getter, the innermost, is the one that runs first.
    chain = reduce(lambda rest, getter: Link(getter, rest, end.scope, consulted), getters, end)
    return chain(name, **options)
