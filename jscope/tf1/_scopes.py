"""`VariableScope`: the defaults that `get_variable` takes, as an object that can be kept and entered again.

Unlike a scope of jscope's it is mutable, as in TensorFlow 1: its setters act at once, and on scopes opened below it by
name from then on. Everything but `constraint` is inherited.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from jscope._util._stack import call_site
from jscope.tf1 import _bridge
from jscope.tf1._ambient import current
from jscope.tf1._collections import GraphKeys, get_collection
from jscope.tf1._dtypes import FLOAT32


class _ReuseMode(enum.Enum):
    AUTO_REUSE = 1

    def __repr__(self) -> str:
        return "tf1.AUTO_REUSE"


AUTO_REUSE: Final = _ReuseMode.AUTO_REUSE
"""As `reuse=`: get the variable if it exists, else create it."""


def as_reuse(reuse: Any) -> Any:
    """Returns the facade's flag for one that may be the core's."""
    return AUTO_REUSE if reuse is _bridge.AUTO_REUSE else reuse


class Inherited(NamedTuple):
    """What inner scopes take over as it stands, in one piece: models enter scopes in each trace."""

    initializer: Any = None
    regularizer: Any = None
    caching_device: Any = None
    partitioner: Any = None
    custom_getter: Any = None
    dtype: Any = FLOAT32
    use_resource: bool | None = None


class VariableScope:
    """The defaults under one name prefix. `variable_scope` makes one; entering it again continues it.

    >>> from jscope import tf1
    >>> def model():
    ...     with tf1.variable_scope("foo") as foo:
    ...         pass
    ...     with tf1.variable_scope("bar"), tf1.variable_scope(foo, reuse=tf1.AUTO_REUSE) as again:
    ...         return again.name, again.reuse, again.original_name_scope
    >>> tf1.transform(model).apply({})
    ('foo', tf1.AUTO_REUSE, 'foo/')

    Attributes are those of the constructor, read-only; there are setters for all but `name` and `constraint`.
    """

    __slots__ = ("_constraint", "_name", "_name_scope", "_reuse", "inherited", "reuse_site")

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        name_scope: str = "",
        dtype: Any = FLOAT32,
        use_resource: bool | None = None,
        constraint: Any = None,
    ) -> None:
        self._name = name
        self._reuse = as_reuse(reuse)
        self._name_scope = name_scope
        self._constraint = constraint
        self.inherited = Inherited(
            initializer, regularizer, caching_device, partitioner, custom_getter, dtype, use_resource
        )
        self.reuse_site = ""

    @property
    def name(self) -> str:
        """The prefix of the names of variables, without a slash at the end."""
        return self._name

    @property
    def original_name_scope(self) -> str:
        """The name scope that the scope opened when it was first entered, with a slash at the end."""
        return self._name_scope or ""

    @property
    def reuse(self) -> Any:
        """True: variables must exist. False: they must not. `AUTO_REUSE`, and None: either."""
        return self._reuse

    @property
    def initializer(self) -> Any:
        """The default initializer."""
        return self.inherited.initializer

    @property
    def regularizer(self) -> Any:
        """The default regularizer."""
        return self.inherited.regularizer

    @property
    def caching_device(self) -> Any:
        """Kept for compatibility: without effect."""
        return self.inherited.caching_device

    @property
    def partitioner(self) -> Any:
        """The default partitioner."""
        return self.inherited.partitioner

    @property
    def custom_getter(self) -> Any:
        """The custom getter: the chain of those of this scope and the ones around it, innermost first."""
        return self.inherited.custom_getter

    @property
    def dtype(self) -> Any:
        """The default dtype."""
        return self.inherited.dtype

    @property
    def use_resource(self) -> bool | None:
        """Kept for compatibility: without effect."""
        return self.inherited.use_resource

    @property
    def constraint(self) -> Any:
        """The default constraint, which inner scopes do not inherit."""
        return self._constraint

    def reuse_variables(self) -> None:
        """Switches reuse on for this object, and so for what is opened by name below it from now on."""
        self._reuse = True
        self.reuse_site = f"`reuse_variables()` of scope `{self._name}` at {call_site()}"

    def set_initializer(self, initializer: Any) -> None:
        """Sets the default initializer; with None it is the library's."""
        self.inherited = self.inherited._replace(initializer=initializer)

    def set_regularizer(self, regularizer: Any) -> None:
        """Sets the default regularizer; with None there is none."""
        self.inherited = self.inherited._replace(regularizer=regularizer)

    def set_caching_device(self, caching_device: Any) -> None:
        """Kept for compatibility: without effect."""
        self.inherited = self.inherited._replace(caching_device=caching_device)

    def set_partitioner(self, partitioner: Any) -> None:
        """Sets the default partitioner; with None there is none."""
        self.inherited = self.inherited._replace(partitioner=partitioner)

    def set_custom_getter(self, custom_getter: Any) -> None:
        """Sets the getter, in place of all that the scope has."""
        self.inherited = self.inherited._replace(custom_getter=custom_getter)

    def set_dtype(self, dtype: Any) -> None:
        """Sets the default dtype."""
        self.inherited = self.inherited._replace(dtype=dtype)

    def set_use_resource(self, use_resource: bool | None) -> None:
        """Kept for compatibility: without effect."""
        self.inherited = self.inherited._replace(use_resource=use_resource)

    def get_collection(self, name: Any) -> list[Any]:
        """Returns the items of a collection whose names begin (as a regex matches) with this scope's."""
        # With a slash, or `foo` would also find what is in `foo_1`. It stays a regex, in which a dot is any character.
        return get_collection(name, _bridge.join(self._name, "") if self._name else "")

    def trainable_variables(self) -> list[Any]:
        """Returns this scope's trainable variables."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def global_variables(self) -> list[Any]:
        """Returns this scope's variables that are not local."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Any]:
        """Returns this scope's local variables."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def __repr__(self) -> str:
        return f"<tf1.VariableScope {self._name!r} reuse={self._reuse}>"


def get_variable_scope() -> VariableScope:
    """Returns the current variable scope: the object itself, whose setters act at once."""
    ambient = current("get_variable_scope")
    ambient.note_use("The variable scope was asked for")
    return ambient.memory.variable_scope


def wrap_getter(getter: Callable[..., Any], outer: Callable[..., Any] | None) -> Any:
    """Returns `getter` around `outer`: the inner scope's runs first, and what it calls is the outer one."""
    return getter if outer is None else GetterPair(getter, outer)


class GetterPair:
    """Two getters as one: the inner one is given the outer one, bound to the rest, as its `getter`."""

    def __init__(self, inner: Callable[..., Any], outer: Callable[..., Any]) -> None:
        self.inner = inner
        self.outer = outer

    def __call__(self, getter: Callable[..., Any], *args: Any, **options: Any) -> Any:
        # By position: as in TensorFlow, only a getter that stands alone must call its first parameter `getter`.
        return self.inner(lambda *a, **k: self.outer(getter, *a, **k), *args, **options)


def derive_scope(
    base: VariableScope, name: str, reuse: Any, name_scope: str, overrides: dict[str, Any], reuse_site: str
) -> VariableScope:
    """Returns a new scope with what `base` has and `overrides` replace."""
    # A constraint is dropped, because TensorFlow gives it to the scope that names it only. Not by `VariableScope(...)`,
    # which would put together anew what `base` has in one piece, with what setters made of it.
    scope = object.__new__(VariableScope)
    scope._reuse, scope._name, scope._name_scope, scope._constraint = reuse, name, name_scope, None
    scope.inherited = base.inherited
    if overrides:
        own = dict(overrides)
        scope._constraint = own.pop("constraint", None)
        if "custom_getter" in own:
            own["custom_getter"] = wrap_getter(own["custom_getter"], base.custom_getter)
        scope.inherited = base.inherited._replace(**own)
    scope.reuse_site = reuse_site or base.reuse_site
    return scope
