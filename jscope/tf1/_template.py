"""Templates: a function bound to the scope of its first call.

A template is a handle without a memory. What it knows of its first call belongs to the running `init` or `apply`, so a
template made once, at the top of a module, begins anew in each.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from jscope import _path
from jscope.tf1 import _bridge
from jscope.tf1._ambient import Ambient, current
from jscope.tf1._collections import GraphKeys, get_collection
from jscope.tf1._dtypes import FLOAT32
from jscope.tf1._entering import ScopeChange, unique_scope_name, variable_scope
from jscope.tf1._errors import ArgumentError
from jscope.tf1._scopes import VariableScope


@dataclass(frozen=True, slots=True)
class History:
    """What a template knows of its calls so far: its scope, whether one was completed, whether one is running."""

    scope: VariableScope | None = None
    completed: bool = False
    running: bool = False


class Template:
    """A function that creates its variables in its first call and shares them in all others: see `make_template`."""

    def __init__(
        self, name: str, func: Callable[..., Any], create_scope_now: bool, unique_name: str | None, custom_getter: Any
    ) -> None:
        if name is None:
            raise ArgumentError("name cannot be None.")
        self._name, self._func, self._unique_name, self._custom_getter = name, func, unique_name, custom_getter
        # Kept as text, since frames would keep alive what they refer to. The last two are those of this file.
        self._stack = traceback.format_stack()[:-2]
        if create_scope_now:
            ambient = current("make_template")
            ambient.watch.keep_out_of_caches()
            # TensorFlow opens this scope with float32, where others inherit the dtype.
            overrides = {"dtype": FLOAT32} | ({} if custom_getter is None else {"custom_getter": custom_getter})
            change = ScopeChange(unique_name or unique_scope_name(ambient, name), None, None, overrides)
            ambient.memory.templates[self] = History(change.enter(ambient))
            change.leave(ambient)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        ambient = current("make_template")
        ambient.note_use("Template `{}` was called", self._name)
        history = self._history(ambient)
        # A jump, so that every call has the defaults of the scope that was current at the first, wherever it is made.
        # Within the first call, a function that calls its own template shares what it has created so far. After a first
        # call that failed, nothing is reused: what it created is an error the next time, as in TensorFlow.
        if history.scope is not None:
            with variable_scope(history.scope, reuse=history.completed or history.running):
                return self._call(ambient, args, kwargs)
        with variable_scope(self._unique_name, self._name, custom_getter=self._custom_getter) as scope:
            ambient.memory.templates[self] = replace(history, scope=scope)
            return self._call(ambient, args, kwargs)

    def _call(self, ambient: Ambient, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before = len(ambient.memory.collections.get(GraphKeys.TRAINABLE_VARIABLES, ()))
        history = self._history(ambient)
        completed = history.completed
        ambient.memory.templates[self] = replace(history, running=True)
        try:
            result = self._func(*args, **kwargs)
            # Looked up again: where JAX ran a body twice, the memory is another object now.
            after = ambient.memory.collections.get(GraphKeys.TRAINABLE_VARIABLES, [])
            if completed and len(after) != before:
                raise ArgumentError(
                    "Trainable variable created when calling a template after the first time, perhaps you used "
                    f"tf.Variable when you meant tf.get_variable: {after[before:]}"
                )
        except Exception as error:
            ambient.memory.templates[self] = history
            self._add_definition_site(error)
            raise
        ambient.memory.templates[self] = replace(history, completed=True)
        return result

    def _add_definition_site(self, error: Exception) -> None:
        # Without what the stack of the definition shares with that of the call, as TensorFlow shortens it.
        here, common = traceback.format_stack(), 0
        while common < min(len(here), len(self._stack)) and here[common] == self._stack[common]:
            common += 1
        where = "".join(self._stack[common:] or self._stack[-1:])
        first, *rest = error.args or ("",)
        error.args = (f"{first}\n\noriginally defined at:\n{where}", *rest)

    def _history(self, ambient: Ambient) -> History:
        # Whether a template was called before decides what its body creates, so no cache may replay the answer.
        ambient.watch.keep_out_of_caches()
        return ambient.memory.templates.get(self, History())

    @property
    def name(self) -> str:
        """The name given to the template."""
        return self._name

    @property
    def func(self) -> Callable[..., Any]:
        """The function."""
        return self._func

    @property
    def variable_scope(self) -> VariableScope | None:
        """The scope of the first call; None before it."""
        return self._history(current("Template")).scope

    @property
    def variable_scope_name(self) -> str | None:
        """The name of that scope, with a slash at the end."""
        scope = self.variable_scope
        if scope is None:
            return None
        return scope.name if not scope.name or scope.name.endswith(_path.SEPARATOR) else _bridge.join(scope.name, "")

    @property
    def variables(self) -> list[Any]:
        """The global and local variables that the template has created."""
        return self.global_variables + self.local_variables

    weights = variables

    @property
    def trainable_variables(self) -> list[Any]:
        """The trainable variables that the template has created."""
        return self._collection(GraphKeys.TRAINABLE_VARIABLES)

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The global variables that are not trainable."""
        trainable = set(self.trainable_variables)
        return [variable for variable in self.global_variables if variable not in trainable]

    @property
    def global_variables(self) -> list[Any]:
        """The global variables that the template has created."""
        return self._collection(GraphKeys.GLOBAL_VARIABLES)

    @property
    def local_variables(self) -> list[Any]:
        """The local variables that the template has created."""
        return self._collection(GraphKeys.LOCAL_VARIABLES)

    def _collection(self, key: str) -> list[Any]:
        # Until a call was completed the list is empty, even if the scope has variables, as in TensorFlow.
        completed = self._history(current("Template")).completed
        return get_collection(key, self.variable_scope_name) if completed else []


def make_template(
    name_: str,
    func_: Callable[..., Any],
    create_scope_now_: bool = False,
    unique_name_: str | None = None,
    custom_getter_: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> Template:
    """Returns `func_` with a variable scope of its own: its first call creates variables, and later calls share them.

    >>> from jscope import tf1
    >>> def model(x, y):
    ...     scale = tf1.make_template("scale", lambda z: z * tf1.get_variable("w", []))
    ...     return scale(x), scale(y)
    >>> jscope.tree.names(tf1.transform(model).init(jax.random.key(0), 1.0, 2.0))
    ['scale/w']

    Args:
      name_: The name of the scope, made unique where it is opened.
      func_: The function.
      create_scope_now_: Whether to open the scope now, rather than at the first call.
      unique_name_: The name of the scope as it stands, in place of one made unique.
      custom_getter_: A custom getter of the scope.
      **kwargs: Bound to `func_`.
    """
    func = functools.partial(func_, **kwargs) if kwargs else func_
    return Template(name_, func, create_scope_now_, unique_name_, custom_getter_)
