"""`variable_scope`: entering and leaving, with all that TensorFlow does on the way.

Two things are kept apart, as there. The `ScopeChange` changes the current variable scope and its counts; the
`variable_scope` around it also opens a name scope, and makes a default name unique. Both objects remember their first
entry, so entering one again is not the same as making a new one.

A name that is a string is a new scope below the current one. A `VariableScope` is a *jump*: it continues that very
scope, wherever the current one is.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from jscope import _path
from jscope._util._stack import call_site
from jscope.tf1 import _bridge
from jscope.tf1._ambient import Ambient, Memory, current, current_or_none
from jscope.tf1._caches import current_trace
from jscope.tf1._errors import ArgumentError, ArgumentTypeError, NestingError, advised
from jscope.tf1._name_scopes import Entry, NameScope, leave, open_name, profiled_below
from jscope.tf1._scopes import AUTO_REUSE, VariableScope, as_reuse, derive_scope

_NO_OVERRIDES: dict[str, Any] = {}
_ROLES = ("initializer", "regularizer", "caching_device", "partitioner")
_ROLES += ("custom_getter", "dtype", "use_resource", "constraint")


class variable_scope:  # noqa: N801 - TensorFlow's name.
    """Enters a variable scope: a name prefix and defaults for the variables created inside.

    >>> from jscope import tf1
    >>> def model():
    ...     with tf1.variable_scope("foo"), tf1.variable_scope("bar"):
    ...         return tf1.get_variable("v", [1]).name
    >>> print(tf1.transform(model).apply({"foo": {"bar": {"v": jnp.ones(1)}}}))
    foo/bar/v:0

    Args:
      name_or_scope: The name, below the current scope; or a `VariableScope` to continue, wherever the current scope is.
      default_name: The name to take if `name_or_scope` is None, with a number if it is taken.
      values: Accepted for compatibility.
      initializer: Default initializer inside.
      regularizer: Default regularizer inside; `tf1.no_regularizer` switches an inherited one off.
      caching_device: Accepted for compatibility.
      partitioner: Default partitioner inside.
      custom_getter: A getter around those of the scopes outside.
      reuse: True (variables must exist) or `AUTO_REUSE` (get or create); None and False inherit.
      dtype: Default dtype inside.
      use_resource: Accepted for compatibility.
      constraint: Default constraint in this very scope.
      auxiliary_name_scope: Whether to open a name scope as well.
    """

    __slots__ = (
        *("_ambient", "_auxiliary", "_change", "_default_name", "_entry", "_name", "_names", "_overrides", "_reuse"),
        *("_site", "_target"),
    )
    # What the object remembers of the call in which it was entered last; `__enter__` says so if that was another one.
    _change: ScopeChange | None
    _names: NameScope | None
    _entry: _Entry | None

    def __init__(
        self,
        name_or_scope: str | VariableScope | None,
        default_name: str | None = None,
        values: Sequence[Any] | None = None,
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Callable[..., Any] | None = None,
        reuse: Any = None,
        dtype: Any = None,
        use_resource: bool | None = None,
        constraint: Any = None,
        auxiliary_name_scope: bool = True,
    ) -> None:
        self._ambient: weakref.ref[Ambient] | None = None
        # A name and nothing else, which is what nearly every scope is: there is nothing to check, and nothing to keep.
        plain = initializer is regularizer is caching_device is partitioner is custom_getter is dtype is reuse is None
        plain = plain and use_resource is constraint is None and auxiliary_name_scope is True
        named = plain and isinstance(name_or_scope, str) and name_or_scope[-1:] not in ("", _path.SEPARATOR)
        self._name: Any = name_or_scope if named else None  # Of a scope that is nothing else.
        if named:
            return
        self._target, self._default_name, self._auxiliary = name_or_scope, default_name, auxiliary_name_scope
        if default_name is None and name_or_scope is None:
            raise ArgumentTypeError("If default_name is None then name_or_scope is required")
        self._reuse = reuse_flag(reuse)
        self._site = call_site() if self._reuse else ""
        if not isinstance(auxiliary_name_scope, bool):
            raise ArgumentTypeError(
                f"The auxiliary_name_scope must be `True` or `False`, while get {auxiliary_name_scope}"
            )
        options = (initializer, regularizer, caching_device, partitioner)
        options += (custom_getter, dtype, use_resource, constraint)
        self._overrides = {role: value for role, value in zip(_ROLES, options, strict=True) if value is not None}

    def __enter__(self) -> VariableScope:
        ambient = current("variable_scope")
        if current_trace(()) is not ambient.watch.noted_untraced:
            ambient.note_use("A variable scope was entered")
        # An object that was entered in an earlier call begins anew: what it remembers belongs to that call.
        if self._ambient is not ambient.itself:
            self._ambient, self._change, self._names, self._entry = ambient.itself, None, None, None
        if self._name is not None and self._change is None:
            if self._entry is None:
                return self._enter_name(ambient, self._name)
            self._change, self._names = _as_objects(self._name, self._entry)
            self._entry = None
        if self._change is None:
            return self._enter_first(ambient)
        if self._names is not None:
            self._names.enter(ambient)
        return self._change.enter(ambient)

    def __exit__(self, *error: object) -> None:
        ambient = current_or_none()
        # Of a call that is over nothing is left to go back to: here a generator is closed that nobody has finished.
        if ambient is None or ambient.ended:
            return
        # Also where scopes are left in the wrong order: the name scope has an order of its own.
        if self._entry is not None:
            scope, outer, reuse, names = self._entry
            # That may be while another call runs.
            if names is not None and names[0].ended:
                return
            self._entry = scope, outer, reuse, None
            try:
                leave_name(ambient.memory, scope, outer)
            finally:
                if names is not None:
                    leave(names)
            return
        assert self._change is not None
        try:
            self._change.leave(ambient)
        finally:
            if self._names is not None:
                self._names.__exit__(*error)

    # Models enter a scope for each of their layers, and outside of `jit` the objects that a scope is made of took as
    # long as a layer: so here is, in one piece, what they do for a name. They are made where it is entered once more.
    def _enter_name(self, ambient: Ambient, target: str) -> VariableScope:
        """Enters a scope that is a name and nothing else, for the first time in a call."""
        memory = ambient.memory
        outer, before = memory.variable_scope, memory.name_stack
        memory.name_stack = now = open_name(ambient, target)
        name, reuse = _bridge.join(outer.name, target), outer.reuse
        scope = derive_scope(outer, name, reuse, _path.child(now, ""), _NO_OVERRIDES, "")
        memory.counts.add(name)
        memory.variable_scope = scope
        # As `profiled_below` says it: in which trace the code runs was looked up just now.
        profiled = None if ambient.watch.noted_untraced is not None else profiled_below(ambient, before)
        self._entry = scope, outer, reuse, (ambient, before, profiled)
        return scope

    def _enter_first(self, ambient: Ambient) -> VariableScope:
        """Enters the name scope, then the variable scope; both are kept only if both succeed."""
        target = self._target
        if target is None and self._reuse:
            raise ArgumentError(
                advised(
                    "reuse=True cannot be used without a name_or_scope",
                    f"(`variable_scope` at {self._site}.) A default name is made unique, so nothing under it can "
                    "exist: give the scope a name, or enter the scope around it with reuse.",
                )
            )
        if target is not None and not isinstance(target, str | VariableScope):
            raise ArgumentTypeError(
                advised(
                    "VariableScope: name_or_scope must be a string or VariableScope.",
                    f"It is {target!r}. To enter a scope again, keep what `with variable_scope(...) as scope` gives.",
                )
            )
        # The name scope comes first because it checks the name: a bad one is not counted as opened.
        names = self._name_scope(ambient)
        opened = names.enter(ambient) if names is not None else None
        try:
            change = ScopeChange(*self._destination(ambient, opened), self._overrides, self._site)
            scope = change.enter(ambient)
        except BaseException:
            if names is not None:
                names.__exit__(None, None, None)
            raise
        self._names, self._change = names, change
        return scope

    def _name_scope(self, ambient: Ambient) -> NameScope | None:
        """Returns the name scope to open: named like the last part of the variable scope, or the one that is open."""
        # A name that ends in a slash is that very scope, without a number.
        if not self._auxiliary:
            inner = ambient.memory.name_stack
            return NameScope(_bridge.join(inner, "") if inner else "")
        target = self._default_name if self._target is None else self._target
        name = _path.basename(target.name) if isinstance(target, VariableScope) else target
        # The root and `""` open none; an empty default name goes back to the root of the name scopes.
        return NameScope(name) if name or self._target is None else None

    def _destination(self, ambient: Ambient, opened: str | None) -> tuple[Any, Any, str | None]:
        """Returns the target, the reuse flag and the original name scope of the variable scope to enter."""
        target = self._target
        # A default name inherits reuse, like any name; `_enter_first` has refused to set it.
        if target is None:
            return unique_scope_name(ambient, self._default_name), None, opened
        if isinstance(target, VariableScope) and opened is not None:
            return target, self._reuse, target.original_name_scope
        return target, self._reuse, opened


_Entry: TypeAlias = tuple[VariableScope, VariableScope, Any, Entry | None]
"""The first entry of a scope that is a name: the scope, the one around it, what it inherited of reuse, and how to leave
the name scope unless that was done."""


def _as_objects(name: str, entry: _Entry) -> tuple[ScopeChange, NameScope]:
    """Returns what would be there if a scope that is a name had been entered by them."""
    scope, outer, reuse, names = entry
    change = ScopeChange(name, reuse, scope.original_name_scope, {})
    change.was_entered(scope, outer)
    return change, NameScope(name, *(() if names is None else (names,)))


class ScopeChange:
    """One change of the current variable scope, which can be entered and left, and entered again."""

    __slots__ = (
        *("_entered", "_jump_copy", "_name_scope", "_outer", "_overrides", "_reuse", "_site", "_target"),
        "_time_opened",
    )

    def __init__(
        self, target: Any, reuse: Any, name_scope: str | None, overrides: dict[str, Any], reuse_site: str = ""
    ) -> None:
        self._target, self._reuse, self._name_scope = target, reuse, name_scope
        self._overrides, self._site = overrides, reuse_site
        self._jump_copy: VariableScope | None = None
        self._outer: VariableScope | None = None
        self._entered: VariableScope | None = None
        self._time_opened = 0
        # The copy is made once. What its setters change stays when this object is entered again, and never reaches the
        # scope that was jumped to. Reuse comes from that scope or from the argument, never from where the jump starts.
        if isinstance(target, VariableScope):
            self._jump_copy = derive_scope(
                target,
                target.name,
                reuse or target.reuse,
                target.original_name_scope,
                overrides,
                self._reuse_site_of(target.name),
            )

    def enter(self, ambient: Ambient) -> VariableScope:
        """Makes the target the current scope, and counts that it was opened."""
        memory = ambient.memory
        self._outer = outer = memory.variable_scope
        if self._jump_copy is not None:
            scope = self._jump_copy
            # After its own opening was counted, since that one survives the jump: it takes a default name.
            memory.counts.add(scope.name)
            self._time_opened = memory.counts.mark()
        else:
            name = _bridge.join(outer.name, self._target)
            # Once set, the flag sticks to this object: entered again elsewhere, it reuses there as well.
            self._reuse = self._reuse or outer.reuse
            name_scope = self._target if self._name_scope is None else self._name_scope
            scope = derive_scope(outer, name, self._reuse, name_scope, self._overrides, self._reuse_site_of(name))
            memory.counts.add(name)
        memory.variable_scope = self._entered = scope
        return scope

    def was_entered(self, scope: VariableScope, outer: VariableScope) -> None:
        """Says that the current scope was changed already, from `outer` to `scope`."""
        self._entered, self._outer = scope, outer

    def leave(self, ambient: Ambient) -> None:
        """Makes the scope around it the current one, and forgets what was counted inside."""
        memory, entered, outer = ambient.memory, self._entered, self._outer
        assert entered is not None
        assert outer is not None
        if self._jump_copy is None:
            leave_name(memory, entered, outer)
            return
        if memory.variable_scope is not entered:
            raise _nesting_error(memory, entered)
        # Leaving a jump undoes all counts made inside, also those outside its scope.
        memory.counts.go_back(self._time_opened)
        memory.variable_scope = outer

    def _reuse_site_of(self, name: str) -> str:
        return f"`variable_scope` of `{name}` at {self._site}" if self._reuse and self._site else ""


def leave_name(memory: Memory, entered: VariableScope, outer: VariableScope) -> None:
    """Makes the scope around one that was entered by name the current one, and forgets what was counted below it."""
    if memory.variable_scope is not entered:
        raise _nesting_error(memory, entered)
    # Models rely on that: entered again with reuse, a block numbers its default names from the start.
    memory.counts.forget_below(entered.name)
    memory.variable_scope = outer


def _nesting_error(memory: Memory, entered: VariableScope) -> NestingError:
    return NestingError(
        advised(
            "Improper nesting of variable_scope.",
            f"`{entered.name}` is being left while `{memory.variable_scope.name}` is the current scope. "
            "Leave scopes in the reverse order of entering them; `with` blocks do.",
        )
    )


def unique_scope_name(ambient: Ambient, prefix: Any) -> str:
    """Returns `prefix`, numbered if a scope of that name was opened in the current scope."""
    memory = ambient.memory
    suffix = memory.counts.suffix(_bridge.join(memory.variable_scope.name, prefix))
    return f"{prefix}{suffix}" if suffix else prefix


def variable_op_scope(
    values: Sequence[Any] | None,
    name_or_scope: str | VariableScope | None,
    default_name: str | None = None,
    initializer: Any = None,
    regularizer: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    custom_getter: Callable[..., Any] | None = None,
    reuse: Any = None,
    dtype: Any = None,
    use_resource: bool | None = None,
    constraint: Any = None,
) -> variable_scope:
    """Returns `variable_scope` with `values` as its first argument: TensorFlow's deprecated spelling."""
    return variable_scope(
        name_or_scope,
        default_name,
        values,
        initializer,
        regularizer,
        caching_device,
        partitioner,
        custom_getter,
        reuse,
        dtype,
        use_resource,
        constraint,
    )


def reuse_flag(reuse: Any) -> Any:
    """Returns the flag with False as None, or raises TensorFlow's error. By identity: 1 is not True."""
    reuse = as_reuse(reuse)
    if reuse is False:
        return None
    if not (reuse is True or reuse is None or reuse is AUTO_REUSE):
        raise ArgumentError(
            advised(
                "The reuse parameter must be True or False or None.", f"It is {reuse!r}; it may also be `AUTO_REUSE`."
            )
        )
    return reuse
