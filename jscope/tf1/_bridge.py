"""The bridge to the core: everything that the facade knows of jscope's private parts is here.

TensorFlow's names are joined strings, and may have empty parts (`foo//v`); jscope's scopes cannot be entered by such
names. So the facade never enters one: it asks the scope that it runs under for full paths.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jscope import _path, _read, _rng, _write
from jscope import _transform as _core_transform
from jscope._chain import End, through
from jscope._collect import Call
from jscope._defaults import AUTO_REUSE as AUTO_REUSE
from jscope._defaults import OFF
from jscope._frame import Frame
from jscope._scope import Scope
from jscope._spec import VariableSpec
from jscope._types import Key
from jscope.errors import MissingVariableError, StateError

_ABSENT = object()
_SEPARATOR = _path.SEPARATOR
_SEEDS = "\0seeds"
"""The part that sets the key of `key_of_seeds` apart from those of variables and of `Scope.rng`."""


def join(prefix: str, name: Any) -> Any:
    """Joins a scope's name and a name as TensorFlow does: `foo` and the empty name give `foo/`."""
    # By `+`, so that a name that is not a string raises the error that it raises in TensorFlow.
    return prefix + _SEPARATOR + name if prefix else name


def is_call_running() -> bool:
    """Whether a call of the core runs in this thread and task."""
    return Frame.current() is not None


def reuse_of(scope: Scope) -> Any:
    """Returns the reuse flag that explicit code gave to a scope."""
    return scope._context.defaults.reuse


def has_getters(scope: Scope) -> bool:
    """Whether explicit code gave custom getters to a scope."""
    return bool(scope._context.getters)


def key_of_seeds(scope: Scope) -> Key:
    """Returns the key from which operations with a seed draw: always the same one, however often it is asked for."""
    scope._refuse_in_loop()
    assert scope._context.key is not None
    return _rng.fold(scope._context.key, _rng.extend(scope.lanes(), (_SEEDS,)))


def create(scope: Scope, path: str, site: str, **options: Any) -> None:
    """Records the variable with this full path in the specs. An option that is None is not inherited."""
    # The facade has applied its own defaults. Those of the core's scope, which None would inherit, must not apply too.
    off = {name: OFF for name in ("regularizer", "constraint") if options[name] is None}
    _ask(scope, path, site, {**options, **off, "partitioner": OFF})


def find(scope: Scope, path: str, shape: Any = None, *, trainable: bool) -> Any:
    """Returns the variable with this full path in `apply`, after checking its shape, through the core's getters."""
    getters = scope._context.getters
    if not getters:
        return _find_stored(scope, path, shape)
    end: Any = _EndOfGetters(scope)
    sizes = None if shape is None else tuple(map(int, shape))
    return through(getters, end, path, {"shape": sizes, "trainable": trainable})


def read(scope: Scope, path: str, *, trainable: bool) -> Any:
    """Returns the value of a variable that exists: while collecting, its placeholder."""
    context = scope._context
    if not context.collecting:
        return find(scope, path, trainable=trainable)
    # Every use of a handle reads it. Where neither a getter nor a lift changes what is read, the frame has the answer,
    # and the checks of a request, which this is not, are left out.
    if not context.getters and context.lifted is None:
        frame = scope._frame()
        if frame is not None and path in frame.specs:
            spec = frame.specs[path]
            frame.asked.add(path)
            return frame.placeholder(spec, spec.shape)
    return _ask(scope, path, "", {"trainable": trainable})


def param(scope: Scope, path: str) -> Any:
    """Returns the param at a full path; None if there is none, if state is there too, or if getters are asked."""
    below = _path.relative(path, scope._path)
    if below is None or scope._context.getters or (scope._state and is_state(scope, path)):
        return None
    return _variable_in(scope._params, below)


def params_below(scope: Scope, prefix: str) -> Mapping[str, Any]:
    """Returns what there is of the params below a full path; nothing, if there is state, or if getters are asked."""
    below = _path.relative(prefix, scope._path)
    if below is None or scope._state or scope._context.getters:
        return {}
    # As in `_variable_in`: of the scope `foo`, the path `foo/` is one empty name below it, not the scope itself.
    found = _path.walk(scope._params, [] if prefix == scope._path else below.split(_SEPARATOR))
    return found if isinstance(found, dict) else {}


def is_state(scope: Scope, path: str) -> bool:
    """Whether a full path leads to a state variable."""
    if not scope._state:
        return False
    return _variable_in(scope._state, _path.relative(path, scope._path) or "") is not None


def has_variable(scope: Scope, path: str) -> bool:
    """Whether explicit code has created the variable (while collecting), or it is in the params or state."""
    if scope.collecting:
        return path in specs(scope)
    try:
        return _stored(scope, path) is not _ABSENT
    except MissingVariableError:
        return False


def specs(scope: Scope) -> Mapping[str, Any]:
    """Returns the specs of all variables created so far, by path."""
    frame = scope._frame()
    return frame.specs if frame is not None else {}


def writer(scope: Scope, path: str) -> Callable[[Any], None]:
    """Returns the function that writes a state variable, or raises where what is written could not get out."""
    _write.writable(scope._context, f"assigned `{path}`")
    return functools.partial(_write.assign, scope._context, path)


@contextlib.contextmanager
def undone() -> Iterator[None]:
    """Takes back what explicit code writes and sows inside."""
    frame = Frame.current()
    if frame is None:
        yield
        return
    state: Any = frame.crossing.state
    before, sown, reduce = list(_path.items(state)), dict(frame.sown), dict(frame.reduce)
    try:
        yield
    finally:
        frame.sown, frame.reduce = sown, reduce
        for path, value in before:
            _path.insert(state, _path.parts(path), value)


@dataclass(frozen=True, slots=True, eq=False)
class Program(_core_transform.Program):
    """The core's program, whose advice names the facade's `transform_with_state`."""

    def collect(self, call: Call, key: Key | None) -> list[VariableSpec]:
        try:
            return _core_transform.Program.collect(self, call, key)
        except StateError as error:
            error.args = (str(error).replace("`jscope.transform_with_state", "`tf1.transform_with_state"),)
            raise


@dataclass(frozen=True, slots=True)
class _EndOfGetters:
    """The end of a chain of getters in `apply`: what stands at the path."""

    scope: Scope

    def __call__(self, path: str, /, *args: Any, **options: Any) -> Any:
        return _find_stored(self.scope, path, args[0] if args else options.get("shape"))

    def spec(self, path: str, /, **_: Any) -> Any:
        return self.scope._known(path, "")


def _ask(scope: Scope, path: str, site: str, options: dict[str, Any]) -> Any:
    """Asks the core for a variable while collecting."""
    # Whether a request may create or must reuse is TensorFlow's business, and was decided before: the core allows both.
    return through(scope._context.getters, End(scope, site), path, options | {"reuse": AUTO_REUSE})


def _find_stored(scope: Scope, path: str, shape: Any) -> Any:
    found = _stored(scope, path)
    if found is _ABSENT:
        # The core says so, and says what else may be wrong with the name.
        found = _read.find("", path, {}, {}, None)
    if shape is not None and getattr(found, "shape", None) != shape:
        _read.check_shape(path, found, shape)
    return found


def _stored(scope: Scope, path: str) -> Any:
    """Returns what stands at a full path in the params or else the state of a call, or `_ABSENT`."""
    below = _path.relative(path, scope._path)
    if below is None:
        _read.outside(path, scope._path)
    for tree in (scope._params, scope._state):
        found = _variable_in(tree, below)
        if found is not None:
            return found
    return _ABSENT


def _variable_in(tree: Mapping[str, Any], below: str) -> Any:
    """Returns the variable at a path below a tree; None if nothing is there, or only a prefix of others."""
    # Not by `_path.parts`: here the empty path is one empty name, by which the scope `foo` knows the variable `foo/`.
    found = _path.walk(tree, below.split(_path.SEPARATOR))
    return None if isinstance(found, dict) else found
