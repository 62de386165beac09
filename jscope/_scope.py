"""Immutable scopes.

A `Scope` is a value: a path, the defaults inherited along that path, and the variables under it. It is a
pytree whose leaves are those variables and the random key, so it crosses JAX transforms like any other
value. What has to be remembered during a call (what exists, what was written) lives in the `Frame`, never here.

While *collecting* (`init`, `specs`), `get_variable` records a spec and gives a placeholder; afterwards, in
`apply`, it looks the value up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import jax

from jscope import _path, _rng
from jscope._chain import End, as_nodes, consult, through
from jscope._check import check_key
from jscope._context import Context, Writes, crossing
from jscope._create import Request, create, planned
from jscope._defaults import LIBRARY_DEFAULTS, OFF, Off, Overrides, Reuse, check_callable
from jscope._frame import Frame
from jscope._read import check_in_state, check_shape, find, is_variable, outside, peek, stored_spec, subtree
from jscope._spec import VariableSpec
from jscope._types import Axes, Constraint, DType, Getter, Initializer, Key, Partitioner, Reduce, Regularizer, ShapeLike
from jscope._uses import NOTHING, Carried, Entry
from jscope._util import _text
from jscope._util._lazy import later, trace_state
from jscope._util._show import describe
from jscope._util._stack import call_from, call_here, call_site, depth, loop_within
from jscope._write import assign, running, sow
from jscope.errors import InvalidArgumentError, MissingRngError, NativeTransformError


class Scope:
    """A path into the variables of a model, with inherited defaults. A value: nothing ever changes one.

    Functions get one as their first argument; nobody but jscope makes them.

    >>> import jax, jscope
    >>> def dense(scope, x, features):
    ...     w = scope.get_variable("w", (x.shape[-1], features))
    ...     b = scope.get_variable("b", (features,), initializer=jscope.initializers.zeros)
    ...     return x @ w + b
    >>> def mlp(scope, x):
    ...     return dense(scope / "out", jax.nn.relu(dense(scope / "hidden", x, 8)), 2)
    >>> params = jscope.transform(mlp).init(jax.random.key(0), jax.numpy.ones((1, 4)))
    >>> jscope.tree.names(params)
    ['hidden/w', 'hidden/b', 'out/w', 'out/b']
    """

    __slots__ = ("_context", "_entry", "_params", "_path", "_state")

    def __init__(
        self, path: str, params: Mapping[str, Any], state: Mapping[str, Any], entry: Entry, context: Context
    ) -> None:
        self._path = path
        self._params = params
        self._state = state
        self._entry = entry
        self._context = context

    @property
    def path(self) -> str:
        """The full path: `"encoder/layer_0"`; `""` for the root."""
        if (frame := self._frame()) is not None:
            # A block that knows where it is may be another one elsewhere, so it must run there, too.
            frame.looked = True
        return self._path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return _path.basename(self.path)

    @property
    def collecting(self) -> bool:
        """Whether variables are being created (in `init` and `specs`) rather than looked up (in `apply`)."""
        return self._context.collecting

    @property
    def has_rng(self) -> bool:
        """Whether `rng` has a key to draw from. True while collecting, unless switched off by `with_rng(None)`."""
        return self._context.key is not None

    def __truediv__(self, name: str) -> Scope:
        """Returns the child scope `name`; `"a/b"` is two steps. This scope is unchanged."""
        params, state, path, entry = self._params, self._state, self._path, self._entry
        for part in _path.split(name) if name.__class__ is str else _path.check(name):
            params, state, path = subtree(params, part), subtree(state, part), _path.child(path, part)
            entry = self._enter(path, entry)
        return Scope(path, params, state, entry, self._context)

    def get_variable(
        self,
        name: str,
        shape: ShapeLike | None = None,
        dtype: DType = None,
        initializer: Initializer | Any | Off | None = None,
        *,
        fallback_initializer: Initializer | None = None,
        trainable: bool = True,
        regularizer: Regularizer | Off | None = None,
        constraint: Constraint | Off | None = None,
        partitioner: Partitioner | Off | None = None,
        axes: Axes | None = None,
        collections: Iterable[str] = (),
        custom_getter: Getter | Sequence[Getter] | None = None,
    ) -> jax.Array:
        """Returns the variable `name` of this scope; while collecting, records what was asked for.

        Args:
          name: Its name below this scope's path.
          shape: Its shape. May be left out where it exists already or the initializer is a value.
          dtype: Its dtype; the scope's default (float32) if None.
          initializer: `(key, shape, dtype) -> array`, or an array or number that gives shape and dtype too.
            Library default: glorot uniform for floats and complex, zeros for integers and bool.
          fallback_initializer: For layers: where it starts if neither this call nor the scope says. Where that is a
            `variance_scaling`, what they say takes its axes of inputs and outputs, unless it names axes itself.
          trainable: True makes it a param, False a state variable, which `assign` may write.
          regularizer: Its penalty, summed by `Specs.regularization_loss`.
          constraint: The projection that `Specs.apply_constraints` applies.
          partitioner: `(shape, dtype) -> axes`, used where `axes` is not given.
          axes: A logical name (or None) for each axis.
          collections: Names to find it by in `Specs.select`.
          custom_getter: A getter for this call alone, or several, inside those of the scope.

        Raises:
          DuplicateVariableError: It was created before, and reuse is off.
          MissingVariableError: It is not there: in `apply`, or with `reuse=True` while collecting.
          MismatchError: It exists with another shape (and, while collecting, dtype or trainable).
        """
        context = self._context
        if not (context.collecting or context.getters or custom_getter is not None):
            value: Any = self._params.get(name) if name.__class__ is str else None
            found = getattr(value, "shape", None)
            if found is None:
                value = find(self._path, name, self._params, self._state, context.crossing, trainable)
            if not trainable and context.writes.stateful:
                check_in_state(self._path, name, self._state, context.crossing)
            if shape is not None and (shape.__class__ is not tuple or found != shape):
                check_shape(_path.join(self._path, name), value, shape)
            return value
        _path.check(name)
        options = {"shape": shape, "dtype": dtype, "initializer": initializer, "trainable": trainable, "axes": axes}
        options |= {"regularizer": regularizer, "constraint": constraint, "partitioner": partitioner}
        options |= {"collections": collections, "fallback_initializer": fallback_initializer}
        end = End(self, call_site() if context.collecting else "")
        getters = self._getters_and(custom_getter)
        # Getters are given whole paths, and may do what they like with them.
        return through(getters, end, _path.child(self.path if getters else self._path, name), options)

    def variable_scope(
        self, name: str | None = None, default_name: str | None = None, **overrides: Unpack[Overrides]
    ) -> Scope:
        """Returns the child scope `name` with other defaults (see `with_defaults`). This scope is unchanged.

        Without `name`, the first free one of `default_name`, `default_name_1`, ... is taken. As a context
        manager (`with scope.variable_scope("a") as s:`) it also enters `jax.named_scope`.
        """
        if name is None:
            if default_name is None:
                raise InvalidArgumentError("variable_scope needs a `name`, or a `default_name` to make one from.")
            name = self.unique(default_name)
        return (self / name).with_defaults(**overrides)

    def with_defaults(self, **overrides: Unpack[Overrides]) -> Scope:
        """Returns a scope of the same path with other defaults. This scope is unchanged.

        The defaults are initializer, regularizer, constraint, dtype, partitioner, reuse and custom_getter.
        None inherits, `jscope.OFF` switches off. `reuse=True` (variables must exist) and `AUTO_REUSE` (get or
        create) override each other, while False inherits. A `custom_getter` goes inside those inherited; of a list,
        each goes inside the one before it.
        """
        context, getter = self._context, overrides.pop("custom_getter", None)
        getters = () if getter is OFF else self._getters_and(getter)
        sharer = call_here() if overrides.get("reuse") else context.sharer
        defaults = context.defaults.override(**overrides)
        return self._with(replace(context, defaults=defaults, getters=getters, sharer=sharer))

    def with_rng(self, key: Key | None) -> Scope:
        """Returns the same scope with another key, or with none. This scope is unchanged."""
        if key is not None:
            check_key(key)
        return self._with(replace(self._context, key=key))

    def unique(self, name: str) -> str:
        """Returns the first of `name`, `name_1`, `name_2`, ... that is free under this scope, and takes it.

        Free is what is not a variable, was not entered (not as a part of a path either), and was not handed out before.
        Where reuse is on, each call that is made by the function which switched it on gets the same names again: so a
        function that runs twice shares its variables, as under `default_name` of TensorFlow's scopes.
        """
        _path.check(name)
        context = self._context
        if context.defaults.reuse is False:
            return self._free(name)
        counts = context.crossing.counts
        handed = context.crossing.handed.setdefault((self._path, self._entry, name), [])
        again = counts.get(run := (call_from(context.sharer, self), self._path, self._entry, name), 0)
        counts[run] = again + 1
        if again == len(handed):
            handed.append(self._free(name))
        return handed[again]

    def _free(self, name: str) -> str:
        """Takes the first free name."""
        taken, candidate, number = self._context.crossing.counts, name, 0
        while (entered := (_path.join(self._path, candidate), self._entry)) in taken or self.has_variable(candidate):
            number += 1
            candidate = f"{name}_{number}"
        taken[entered] = 0
        return candidate

    def rng(self, stream: str = "default") -> Key:
        """Returns a fresh key, or raises `MissingRngError` where the call was given none.

        It depends on the call's key, on this scope's full path, on which use of that path the scope is (see
        `docs/initial_values.md`), on `stream`, and on how often the scope was asked for it: on nothing else.

        Raises:
          MissingRngError: The call was given no key.
          NativeTransformError: Through a scope from outside a JAX loop (`scan`, `vmap`, ...), whose body runs once.
        """
        key = self._context.key
        _path.check(stream)
        if self._context.collecting:
            running(self._context, f"was asked for a random key in {_text.scope_at(self._path)}")
        if key is None:
            raise MissingRngError(
                f"In {_text.scope_at(self._path)}, a random key was asked for, but this call has none.\n"
                "Give it one with `model.with_rng(key).apply(params, ...)`, or ask `scope.has_rng` first."
            )
        self._refuse_in_loop()
        salt, asked = self._context.crossing.uses.draw(self.below(), self._entry, stream)
        anchor = self._context.anchor
        shared = anchor is not None and stream in anchor.shared
        marker = _rng.SHARED_STREAM if shared else _rng.STREAM
        return _rng.fold(key, _rng.extend(self.lanes(stream), (marker, salt, stream, asked)))

    def assign(self, name: str, value: Any) -> None:
        """Writes the state variable `name`: later reads in this call see `value`, and `apply` returns it.

        Raises:
          StateError: It is a param, or the call has no state. MissingVariableError: There is no such variable.
          MismatchError: `value` has another shape or dtype.
          NativeTransformError: A JAX transform was entered since the call began.
        """
        assign(self._context, _path.join(self._path, *_path.split(name)), value)

    def sow(self, name: str, value: Any, reduce: Reduce | None = None) -> None:
        """Gives `value` out on the side, for `model.capture(regex).apply(...)`; otherwise nothing happens.

        Sowing one name twice combines the values with `reduce(old, new)`, or is an error without it. Inside a JAX
        transform it is a `NativeTransformError`.
        """
        sow(self._context, _path.join(self._path, *_path.split(name)), value, reduce)

    def has_variable(self, name: str) -> bool:
        """Whether the variable `name` exists: was created so far (while collecting), or is in the params or state."""
        if self._context.collecting:
            frame = self._frame()
            return frame is not None and _path.join(self._path, *_path.split(name)) in frame.specs
        return is_variable(name, self._params, self._state)

    def __enter__(self) -> Scope:
        if (frame := Frame.current()) is not None:
            frame.enter_name(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        if (frame := Frame.current()) is not None:
            frame.exit_name()

    def __repr__(self) -> str:
        specs = frame.specs.values() if (frame := self._frame()) is not None else ()
        return describe(self.path, self.has_rng, specs, self._params, self._state)

    def __treescope_repr__(self, _: object, renderer: object) -> object:
        return later("_treescope").render_scope(self, renderer)

    def _enter(self, path: str, entry: Entry) -> Entry:
        """Counts one more entry of a path, below the entry of its parent; returns which one it is."""
        context = self._context
        count = context.crossing.count((path, entry))
        if context.collecting and (frame := self._frame()) is not None:
            # A closure that JAX traces twice enters its scopes twice; only entries of one trace are counted.
            count = context.crossing.count((path, entry, frame.trace()))
        return (*entry, count)

    def _getters_and(self, getter: Getter | Sequence[Getter] | None) -> tuple[Getter, ...]:
        for each in getter if isinstance(getter, list | tuple) else (getter,):
            check_callable("custom_getter", each)
        getters = () if getter is None else as_nodes(getter)
        if getters and self._context.collecting and (frame := self._frame()) is not None:
            for each in getters:
                consult(frame.consulted, each)
        return (*self._context.getters, *getters)

    def _with(self, context: Context) -> Scope:
        return Scope(self._path, self._params, self._state, self._entry, context)

    def _refuse_in_loop(self) -> None:
        """Raises where JAX traces a body once for all its iterations, and so would draw one key for all of them."""
        began = self._context.crossing.began
        # Without a trace in between, no loop is either.
        if began is None or began[0] == trace_state() or (loop := loop_within(began[1])) is None:
            return
        raise NativeTransformError(
            f"In {_text.scope_at(self._path)}, a random key was asked for inside a JAX loop ({loop}), through a scope "
            "from outside it: all iterations would get the same key.\n"
            f"Use `jscope.{loop}`, and draw through the scope that its body is given. Or give each iteration a key of "
            "its own: `scope.with_rng(key)`, with `jax.random.split(scope.rng(), n)` among what the loop runs over."
        )

    def lanes(self, stream: str | None = None) -> _rng.Lanes:
        """Returns the hash of the path, for keys of a stream if one is given."""
        anchor = self._context.anchor
        return _rng.lanes_of_path(self._path) if anchor is None else anchor.lanes_of_path(self._path, stream)

    def below(self) -> str:
        """Returns the path as seen from where these scopes last entered a JAX transform."""
        below = _path.relative(self._path, self._context.crossing.path)
        assert below is not None
        return below

    def _frame(self) -> Frame | None:
        """Returns the frame of the call this scope belongs to, while that call runs."""
        return Frame.running(self._context.call)

    def _ask(self, path: str, *, site: str, reuse: Reuse | None = None, **options: Any) -> Any:
        """Answers a request for a full path: the end of every chain of getters."""
        context, below = self._context, _path.relative(path, self._path)
        if context.collecting:
            frame = running(context, f"asked for variable `{path}`")
            value = create(frame, context, Request(path, self._entry, site, reuse, options))
            # In a replay, a scope that crossed has the values with it: those are of the trace that runs here.
            own = peek(below, self._params, self._state) if below else None
            return value if own is None or isinstance(own, Mapping) else own
        scope = self
        if not below:
            # A getter may ask for what is not below the scope; what crossed with it is all there is.
            whole = context.crossing
            scope = Scope(whole.path, whole.params, whole.state, whole.uses.root, context)
            below = _path.relative(path, whole.path) or outside(path, whole.path)
        trainable = options.get("trainable", True)
        return scope._with(replace(context, getters=())).get_variable(below, options.get("shape"), trainable=trainable)

    def _known(self, path: str, site: str, *, reuse: Reuse | None = None, **options: Any) -> VariableSpec | None:
        """Returns what is known of a variable before it is asked for."""
        context = self._context
        if not context.collecting:
            return stored_spec(path, context.crossing)
        frame = running(context, f"asked about variable `{path}`")
        return planned(frame, context, Request(path, self._entry, site, reuse, options))


def root(frame: Frame, key: Key | None) -> Scope:
    """Returns the scope that a call hands to the model."""
    writes = Writes(frame.stateful, frame.capturing)
    context = Context(frame.collecting, frame.crossing, frame.number, key, writes)
    if key is not None:
        frame.crossing.began = trace_state(), depth()
    return Scope(frame.crossing.path, frame.crossing.params, frame.crossing.state, frame.crossing.uses.root, context)


# A scope is a pytree. Its leaves are what may differ from one call to the next without another trace: variables, key,
# arrays in getters, hashes. All else is static, and JAX keeps static parts in its caches, where they are compared and
# live on: so in `apply` there is next to nothing, nothing that holds an array, and nothing that is new in each call.


def _flatten(scope: Scope) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    context, frame = scope._context, scope._frame()
    leaves = (scope._params, scope._state, context.key, context.getters, context.anchor)
    if not context.collecting:
        # Without a key nothing is drawn inside.
        carried = NOTHING if context.key is None else context.crossing.uses.give_up(scope.below(), scope._entry)
        return leaves, (scope._path, context.writes, carried, context.defaults.reuse)
    if frame is not None and frame.replay is not None:
        # Placeholders are made where they are asked for, but values that are known have to cross.
        leaves = (*frame.replay.below(scope._path), *leaves[2:])
    # With the number of the call, a block in JAX's cache is traced anew, and so collected, in every `init`. Defaults
    # may hold arrays, so a number stands for them, too.
    number = frame.number_of_defaults(context.defaults) if frame is not None else None
    carried = Carried(scope._entry)
    return leaves, (scope._path, context.writes, carried, context.defaults.reuse, context.call, number, context.lifted)


def _flatten_with_keys(scope: Scope) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    leaves, static = _flatten(scope)
    names = ("params", "state", "rng", "getters", "anchor")
    return tuple((jax.tree_util.GetAttrKey(name), leaf) for name, leaf in zip(names, leaves, strict=True)), static


def _unflatten(static: tuple[Any, ...], leaves: Iterable[Any]) -> Scope:
    (path, writes, carried, reuse, *call), (params, state, key, getters, anchor) = static, leaves
    collecting, lifted = bool(call), None
    # Of the defaults, `apply` needs only to know whether names are to be shared: see `unique`.
    defaults = replace(LIBRARY_DEFAULTS, reuse=reuse) if reuse else LIBRARY_DEFAULTS
    if collecting:
        number, number_of_defaults, lifted = call
        if (frame := Frame.running(number)) is not None:
            defaults = frame.numbered_defaults(number_of_defaults)
    else:
        # The body may be one that another call left in JAX's cache, so it takes the call that runs now. A call that
        # collects is not it: its scopes have a number.
        frame = Frame.current()
        number = None if frame is None or (frame.collecting and frame.replay is None) else frame.number
    # What was counted outside starts afresh here: see `Crossing`.
    inside = crossing(path, params, state, carried, keyed=key is not None)
    context = Context(collecting, inside, number, key, writes, getters, anchor, defaults, lifted)
    return Scope(path, params, state, carried.root, context)


jax.tree_util.register_pytree_with_keys(Scope, _flatten_with_keys, _unflatten, _flatten)
