"""A function of a scope becomes a pair of pure functions, `init` and `apply`.

    function of a scope --collect--> specs --materialize(key)--> params, state --apply--> output, new state

Both phases have exactly the user's signature after their first arguments. Options are bound first, and give
a new value: `model.with_rng(key).apply(params, x)`.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeAlias, TypeVar

import jax

from jscope import _path
from jscope._check import check_key, checked_tree, with_shardings
from jscope._collect import Call, is_data_dependent
from jscope._frame import Crossing, Frame
from jscope._materialize import materialize
from jscope._scope import Scope, root
from jscope._spec import VariableSpec
from jscope._specs import Specs, specs_of
from jscope._types import Key, Params, State
from jscope._util import _text
from jscope._util._hints import add, hint
from jscope.errors import InvalidArgumentError, MissingVariableError, StateError

P = ParamSpec("P")
R = TypeVar("R")
Captured: TypeAlias = dict[str, Any]
"""A nested dict of what was sown, by path."""

TRACED_NOTE = (
    "Python control flow needs values, and `jax.jit` traces all arguments of `apply`, also bools and ints. Keep what "
    'decides it static: by keyword, `jax.jit(model.apply, static_argnames="training")(params, x, training=True)`, or '
    "by position, with `static_argnums`. For what depends on arrays there are `jax.lax.cond`, `jax.numpy.where`, ..."
)


# Compared by identity: keys are arrays, and `==` of arrays is not a bool.
@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A function of a scope, with the options bound to it."""

    function: Callable[..., Any]
    stateful: bool
    rng: Key | None = None
    axes: tuple[tuple[str, int], ...] = ()
    pattern: re.Pattern[str] | None = None
    shardings: Any = None

    def collect(self, call: Call, key: Key | None) -> list[VariableSpec]:
        """Returns the specs of all variables, in the order in which they are created."""
        found = call.collect(key)
        state = [spec for spec in found if not spec.trainable]
        if state and not self.stateful:
            raise StateError(
                f"`{state[0].path}` (created at {state[0].site}) is state: it was created with `trainable=False`.\n"
                "Use `jscope.transform_with_state(f)`: its `init` returns `(params, state)`, its "
                "`apply(params, state, ...)` returns `(out, new_state)`."
            )
        return found

    def init(self, key: Key, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Params, State]:
        """Returns the initial params and state."""
        check_key(key)
        call = Call(self.function, args, kwargs, self.axes)
        found = self.collect(call, key)
        places = with_shardings({spec.path: spec for spec in found}, self.shardings)
        # Only for values that depend on data does the model itself run, and they may need all the others.
        plain = [(spec, place) for spec, place in places if not is_data_dependent(spec)]
        values = materialize(plain, key)
        if len(plain) < len(found):
            values |= call.complete(key, places, values)
        # In the order of creation: the values come grouped by how they are made.
        params = _path.nested((spec.path, values[spec.path]) for spec in found if spec.trainable)
        return params, _path.nested((spec.path, values[spec.path]) for spec in found if not spec.trainable)

    def apply(self, params: Any, state: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Returns the output and the new state."""
        # Copies of the dicts, not of the arrays: what the call writes goes into them.
        crossing = Crossing("", checked_tree("params", params), checked_tree("state", state) if self.stateful else {})
        with Frame(crossing=crossing, stateful=self.stateful, capturing=self.pattern is not None) as frame:
            try:
                out = self.function(root(frame, self.rng), *args, **kwargs)
            except Exception as error:
                _explain(error, crossing)
                raise
        if self.pattern is not None:
            # Chosen here, not where it is sown: a block that JAX has traced serves every pattern.
            _text.warn_if_useless(self.pattern, frame.sown, "capture: ")
            sown = {path: value for path, value in frame.sown.items() if self.pattern.search(path)}
            out = out, _path.nested(sown.items())
        return out, crossing.state


if TYPE_CHECKING:
    _Pair = tuple  # So that `init, apply = model` gives both names their types.
else:

    class _Pair:
        """Nothing at run time: JAX, dataclasses and others take tuples apart, and a model is one value."""

        def __class_getitem__(cls, _: Any) -> type:
            return cls


class _Bound:
    """What `Transformed` and `TransformedWithState` have in common: the options, bound by name."""

    program: Program

    # Type checkers do not see these: the first would hide that `init` and `apply` have different types, the second
    # would make every attribute one that can be set, and the third a model one that can be called.
    if not TYPE_CHECKING:

        def __iter__(self) -> Iterator[Callable[..., Any]]:
            return iter((self.init, self.apply))

        def __setattr__(self, name: str, value: Any) -> None:
            raise AttributeError(f"`{type(self).__name__}` is immutable: `{name}` cannot be set.")

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            state, out = (", state", "out, state") if self.program.stateful else ("", "out")
            name = getattr(self.program.function, "__name__", "f")
            raise InvalidArgumentError(
                f"{self!r} is a pair of functions, and is not called itself: `params{state} = model.init(key, ...)`, "
                f"then `{out} = model.apply(params{state}, ...)`.\n"
                f'Inside another model, call the function that it was made of: `{name}(scope / "name", ...)`.'
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # `init` and `apply` are made anew: they are closures, which cannot be pickled.
        return type(self), (self.program,)

    def specs(self, *args: Any, **kwargs: Any) -> Specs:
        """Returns the specs of all variables. Takes arrays or `jax.ShapeDtypeStruct`s; runs nothing."""
        call = Call(self.program.function, args, kwargs, self.program.axes)
        return specs_of(self.program.collect(call, None))

    def with_rng(self, key: Key | None) -> Self:
        """Returns the model with a random key for `apply`."""
        if key is not None:
            check_key(key)
        return type(self)(replace(self.program, rng=key))  # pyright: ignore[reportCallIssue]

    def with_axes(self, **sizes: int) -> Self:
        """Returns the model with named axes of these sizes, so that `lax.pmean(x, "batch")` can be collected."""
        return type(self)(replace(self.program, axes=tuple(sizes.items())))  # pyright: ignore[reportCallIssue]

    def sharded(self, shardings: Any) -> Self:
        """Returns the model whose `init` puts each variable on its own devices at once: no device holds it whole.

        `shardings` is one `jax.sharding.Sharding`, or a nested dict of them that mirrors params and state; see
        `jscope.sharding`. Values are those of `init` without it.
        """
        return type(self)(replace(self.program, shardings=shardings))  # pyright: ignore[reportCallIssue]

    def __repr__(self) -> str:
        name = getattr(self.program.function, "__qualname__", repr(self.program.function))
        return f"{type(self).__name__}({name})"


class Transformed(
    _Bound, _Pair[Callable[Concatenate[Key, P], Params], Callable[Concatenate[Params, P], R]], Generic[P, R]
):
    """A function of a scope, as `init, apply`. An immutable value, equal only to itself.

    >>> init, apply = jscope.transform(lambda scope, x: x * scope.get_variable("w", initializer=2.0))
    >>> float(apply(init(jax.random.key(0), 3.0), 3.0))
    6.0
    """

    def __new__(cls, program: Program) -> Transformed[P, R]:
        def init(key: Key, /, *args: P.args, **kwargs: P.kwargs) -> Params:
            return program.init(key, args, kwargs)[0]

        def apply(params: Params, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return program.apply(params, {}, args, kwargs)[0]

        return _bound(cls, program, init, apply)

    @property
    def init(self) -> Callable[Concatenate[Key, P], Params]:
        """`init(key, *args, **kwargs) -> params`: runs the initializers, never the function itself.

        Arguments are those of `apply`; arrays may be `jax.ShapeDtypeStruct`s. What is not an array stays static.
        """
        return vars(self)["_init"]

    @property
    def apply(self) -> Callable[Concatenate[Params, P], R]:
        """`apply(params, *args, **kwargs) -> out`: runs the function on these params."""
        return vars(self)["_apply"]

    def capture(self, pattern: str = "") -> Transformed[P, tuple[R, Captured]]:
        """Returns the model whose `apply` gives `(out, captured)`: what was sown under paths that match the regex."""
        return Transformed(replace(self.program, pattern=_text.pattern(pattern)))


class TransformedWithState(
    _Bound,
    _Pair[
        Callable[Concatenate[Key, P], tuple[Params, State]], Callable[Concatenate[Params, State, P], tuple[R, State]]
    ],
    Generic[P, R],
):
    """A function of a scope that has state, as `init, apply`. An immutable value, equal only to itself.

    >>> def count(scope):
    ...     n = scope.get_variable("n", initializer=0, trainable=False)
    ...     scope.assign("n", n + 1)
    >>> init, apply = jscope.transform_with_state(count)
    >>> params, state = init(jax.random.key(0))
    >>> out, state = apply(params, state)
    >>> int(state["n"])
    1
    """

    def __new__(cls, program: Program) -> TransformedWithState[P, R]:
        def init(key: Key, /, *args: P.args, **kwargs: P.kwargs) -> tuple[Params, State]:
            return program.init(key, args, kwargs)

        def apply(params: Params, state: State, /, *args: P.args, **kwargs: P.kwargs) -> tuple[R, State]:
            return program.apply(params, state, args, kwargs)

        return _bound(cls, program, init, apply)

    @property
    def init(self) -> Callable[Concatenate[Key, P], tuple[Params, State]]:
        """`init(key, *args, **kwargs) -> (params, state)`: runs the initializers, never the function itself."""
        return vars(self)["_init"]

    @property
    def apply(self) -> Callable[Concatenate[Params, State, P], tuple[R, State]]:
        """`apply(params, state, *args, **kwargs) -> (out, new_state)`: runs the function on these variables."""
        return vars(self)["_apply"]

    def capture(self, pattern: str = "") -> TransformedWithState[P, tuple[R, Captured]]:
        """Returns the model whose `apply` gives `((out, captured), new_state)`: what was sown under matching paths."""
        return TransformedWithState(replace(self.program, pattern=_text.pattern(pattern)))


def _bound(cls: Any, program: Program, init: Callable[..., Any], apply: Callable[..., Any]) -> Any:
    """Returns a model. It keeps its two functions: `jax.jit(model.apply)` finds what it compiled by their identity."""
    self = object.__new__(cls)
    # By `vars`, since setting attributes raises.
    vars(self).update(program=program, _init=init, _apply=apply)
    return self


def transform(function: Callable[Concatenate[Scope, P], R]) -> Transformed[P, R]:
    """Turns a function of a scope into a pair of pure functions.

    >>> import jax, jax.numpy as jnp, jscope
    >>> def scale(scope, x):
    ...     return x * scope.get_variable("w", x.shape[-1:], initializer=jscope.initializers.ones)
    >>> init, apply = jscope.transform(scale)
    >>> params = init(jax.random.key(0), jnp.zeros((2, 3)))
    >>> bool((jax.jit(apply)(params, jnp.full((2, 3), 5.0)) == 5.0).all())
    True
    """
    return Transformed(Program(_checked_function(function), stateful=False))


def transform_with_state(function: Callable[Concatenate[Scope, P], R]) -> TransformedWithState[P, R]:
    """Turns a function of a scope that creates state (`trainable=False`) into a pair of pure functions.

    >>> import jax, jax.numpy as jnp, jscope
    >>> def count(scope):
    ...     n = scope.get_variable("n", initializer=0, trainable=False)
    ...     scope.assign("n", n + 1)
    ...     return n
    >>> init, apply = jscope.transform_with_state(count)
    >>> params, state = init(jax.random.key(0))
    >>> out, state = apply(params, state)
    >>> int(out), int(state["n"])
    (0, 1)
    """
    return TransformedWithState(Program(_checked_function(function), stateful=True))


def init(function: Callable[Concatenate[Scope, P], Any], key: Key, /, *args: P.args, **kwargs: P.kwargs) -> Params:
    """`transform(function).init(key, *args, **kwargs)`.

    >>> params = jscope.init(lambda scope, x: jscope.nn.bias(scope / "out", x), jax.random.key(0), jnp.ones((1, 3)))
    >>> jscope.tree.names(params)
    ['out/bias']
    """
    return transform(function).init(key, *args, **kwargs)


def apply(function: Callable[Concatenate[Scope, P], R], params: Params, /, *args: P.args, **kwargs: P.kwargs) -> R:
    """`transform(function).apply(params, *args, **kwargs)`: on a part of a model, say.

    >>> import jscope
    >>> def half(scope):
    ...     return scope.get_variable("w") / 2
    >>> jscope.apply(half, {"encoder": {"w": 4.0}}["encoder"])
    2.0
    """
    return transform(function).apply(params, *args, **kwargs)


def specs(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Specs:
    """Returns the specs of all variables that `function(scope, *args, **kwargs)` creates, state included.

    >>> print(jscope.specs(lambda scope: (scope / "a").get_variable("w", (2, 3))))
    name   shape   dtype     kind    initializer
    a/w    2, 3    float32   param   glorot_uniform()
    1 variable, 6 elements, 24 bytes
    """
    return TransformedWithState(Program(_checked_function(function), stateful=True)).specs(*args, **kwargs)


def at(path: str, function: Callable[Concatenate[Scope, P], R]) -> Callable[Concatenate[Scope, P], R]:
    """Returns `function` run at `path` of the scope it is given, whose name it enters: one method of several.

    >>> import jscope
    >>> def decode(scope, z):
    ...     return z * scope.get_variable("w")
    >>> jscope.transform(jscope.at("decoder", decode)).apply({"encoder": {}, "decoder": {"w": 3.0}}, 2.0)
    6.0
    """
    # Here, so that the traceback shows where the path was written.
    _path.check(path)

    @functools.wraps(function)
    def run(scope: Scope, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with scope / path as inside:
            return function(inside, *args, **kwargs)

    return run


def named(function: Callable[Concatenate[Scope, P], R]) -> Callable[Concatenate[Scope, P], R]:
    """Returns `function` that enters `jax.named_scope` of its scope's path, so that profiles and HLO carry it.

    >>> doubled = jscope.named(lambda scope, x: 2 * x)
    >>> apply = jax.jit(jscope.transform(lambda scope, x: doubled(scope / "a", x)).apply)
    >>> "jit(apply)/a/mul" in apply.lower({}, 1.0).as_text(debug_info=True)
    True
    """

    @functools.wraps(function)
    def run(scope: Scope, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if (frame := Frame.current()) is None:
            return function(scope, *args, **kwargs)
        # What `with scope:` does, with one look at the frame instead of two: layers enter theirs in each trace.
        frame.enter_name(scope._path)
        try:
            return function(scope, *args, **kwargs)
        finally:
            frame.exit_name()

    return run


def _explain(error: Exception, crossing: Crossing) -> None:
    """Adds what the call knows about an error that left the model."""
    hint(error)
    if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
        add(error, TRACED_NOTE)
    if isinstance(error, MissingVariableError) and (key := _path.unsplit(crossing.params)):
        add(error, f"the params are flat (`{key}` is one key): give `apply` the dict `jscope.tree.unflatten(params)`.")


def _checked_function(function: Any) -> Callable[..., Any]:
    if isinstance(function, _Bound):
        raise InvalidArgumentError(f"{function!r} is a model already. Transform the function that it was made of.")
    # To call a coroutine function or a generator runs nothing of it; its body would run when the call is over.
    if not callable(function) or inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise InvalidArgumentError(f"A model is a plain function of a scope, `f(scope, *args)`, not {function!s:.80}.")
    return function
