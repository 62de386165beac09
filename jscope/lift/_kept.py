"""What JAX traced for the body of a lift, kept for the next call.

JAX knows what it traced by the function that it was given, and holds that weakly. What a lift gives it is a function of
its own making: made in each call, it would be traced and compiled in each call that no `jit` is around. So there is one
`Body` for all functions of the user that are made of the same parts, as a body written inside a model is in each call.

Parts are compared in each call. So a body that reads a global, or a dict around it, is another one once that has
changed, and what runs in a trace is always the function that was given. A function that holds an array, a tracer, a
scope, or whatever else cannot be taken apart, shares nothing: a new body is made for it, which ends with the call.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from jscope._chain import Static
from jscope._scope import Scope
from jscope._util._same import same

_given: ContextVar[Mapping[Body, Any]] = ContextVar("jscope_given", default=MappingProxyType({}))
"""The function that each body runs now. A body keeps none: it lives longer than they do."""


# Not the `repr` of its parts, which JAX would put into messages.
@dataclass(eq=False, repr=False, slots=True, weakref_slot=True)
class Body:
    """Runs `run(function, *options, *args)` with the function that the running lift was given.

    Attributes:
      run: What a lift makes of a function: a function of a module.
      parts: What all its functions are made of.
      options: What `run` depends on besides.
      __signature__: What `run` takes after these: JAX calls the parts of a loop by these names, in messages.
      spoilt: Whether it was traced when something in `parts` had changed since the lift was called: by another body
        that was traced before it, say. No later call may find that trace.
    """

    run: Callable[..., Any]
    parts: Hashable
    options: tuple[Any, ...]
    __signature__: inspect.Signature
    spoilt: bool = False

    @property
    def __name__(self) -> str:
        return getattr(_given.get().get(self), "__name__", "body")

    def __repr__(self) -> str:
        return self.__name__

    @property
    def __wrapped__(self) -> Any:
        """The function, whose file and line JAX tells in errors."""
        if self not in _given.get():
            raise AttributeError("__wrapped__")
        return _given.get()[self]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = _given.get()[self]
        self.spoilt |= same(function).parts != self.parts
        return self.run(function, *self.options, *args, **kwargs)


# The limit is for programs that make functions without end, each of other parts.
@functools.lru_cache(maxsize=512)
def _body(run: Callable[..., Any], parts: Hashable, options: tuple[Any, ...]) -> Body:
    # JAX asks for the signature in each call; to find it takes longer than all else that a lift does.
    return Body(run, parts, options, inspect.signature(functools.partial(run, None, *options)))


def body_of(function: Any, run: Callable[..., Any], *options: Hashable) -> Body | None:
    """Returns the body that a function shares with all that are made of the same parts; None if it shares none."""
    found = same(function)
    body = _body(run, found.parts, options) if found.by_value else None
    return None if body is None or body.spoilt else body


Keep: TypeAlias = Callable[..., Callable[..., Any]]
"""`keep(function, run, *options)` returns what runs `run(function, *options, *args)`: the same each time, if it can."""


@contextlib.contextmanager
def keeping(scope: Scope) -> Iterator[Keep]:
    """Yields what makes bodies for functions of a scope; they run inside this `with` block only."""
    shares = may_share(scope)
    with giving({}) as given:

        def keep(function: Any, run: Callable[..., Any], *options: Hashable) -> Callable[..., Any]:
            body = body_of(function, run, *options) if shares else None
            if body is None:
                return functools.partial(run, function, *options)
            given[body] = function
            return body

        yield keep


@contextlib.contextmanager
def giving(functions: dict[Body, Any]) -> Iterator[dict[Body, Any]]:
    """Says which functions the bodies are to run inside this `with` block."""
    given = {**_given.get(), **functions}
    token = _given.set(given)
    try:
        yield given
    finally:
        _given.reset(token)


def may_share(scope: Scope) -> bool:
    """Whether all that JAX keeps of a scope beside its arrays are values: it keeps them as long as the body."""
    context = scope._context
    # Sown values may have a function that combines them, and `sharer` stands for one call.
    return not context.writes.capturing and context.sharer is None and all(map(_is_plain, context.getters))


def _is_plain(getter: Any) -> bool:
    own: Any = getter.getter if isinstance(getter, Static) else getter
    ours = is_dataclass(own) and type(own).__module__.startswith("jscope.")
    return ours and not any(callable(getattr(own, item.name)) for item in fields(own))
