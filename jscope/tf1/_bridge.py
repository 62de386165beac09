"""The one bridge to the core: a variable by its full name.

TensorFlow's names are joined strings, and may have empty parts (`foo//v`), which no scope of jscope's can be entered
by. So the facade asks for full paths, through the custom getters of the scope it runs under.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jscope import _path
from jscope._chain import End, through
from jscope._defaults import AUTO_REUSE
from jscope._read import check_shape, find, outside
from jscope._scope import Scope
from jscope.errors import MissingVariableError

SEPARATOR = _path.SEPARATOR
MISSING = object()


@dataclass(frozen=True, slots=True)
class Read:
    """The end of a chain of getters in `apply`: what stands at the path."""

    scope: Scope

    def __call__(self, path: str, /, *args: Any, **options: Any) -> Any:
        return lookup(self.scope, path, args[0] if args else options.get("shape"))


def get(scope: Scope, path: str, site: str = "", **options: Any) -> Any:
    """Returns the variable with this full path; while collecting, creates it where it does not exist."""
    getters = scope._shared.getters
    if scope.collecting:
        return through(getters, End(scope, site), path, options | {"reuse": AUTO_REUSE})
    shape = options.get("shape")
    if not getters:
        return lookup(scope, path, shape)
    chain: Any = Read(scope)
    return through(getters, chain, path, {"shape": None if shape is None else tuple(map(int, shape))})


def lookup(scope: Scope, path: str, shape: Any = None) -> Any:
    """Returns what stands at a full path in the params or else the state, after checking its shape."""
    found = stored(scope, path)
    if found is MISSING:
        found = find("", path, {}, {})
    if shape is not None and getattr(found, "shape", None) != shape:
        check_shape(path, found, shape)
    return found


def read(scope: Scope, path: str, *, trainable: bool) -> Any:
    """Returns the value of a variable that exists: while collecting, its placeholder."""
    shared = scope._shared
    if shared.collecting and not shared.getters and shared.lifted is None:
        frame = scope._frame()
        if frame is not None and path in frame.specs:
            spec = frame.specs[path]
            frame.asked.add(path)
            return frame.placeholder(spec, spec.shape)
    return get(scope, path, trainable=trainable)


def stored(scope: Scope, path: str) -> Any:
    """Returns what stands at a full path in the params or else the state of a call, or `MISSING`."""
    below = _path.relative(path, scope.path)
    if below is None:
        outside(path, scope.path)
    parts = below.split(SEPARATOR)
    for tree in (scope._params, scope._state):
        found = _path.walk(tree, parts)
        if found is not None and not isinstance(found, dict):
            return found
    return MISSING


def param(scope: Scope, path: str) -> Any:
    """Returns the param at a full path, or None where there is none, or where it is state as well."""
    below = _path.relative(path, scope.path)
    if below is None or is_state(scope, path):
        return None
    found = _path.walk(scope._params, below.split(SEPARATOR))
    return None if isinstance(found, dict) else found


def is_state(scope: Scope, path: str) -> bool:
    """Whether a full path leads to a state variable."""
    if not scope._state:
        return False
    below = _path.relative(path, scope.path) or ""
    found = _path.walk(scope._state, below.split(SEPARATOR))
    return found is not None and not isinstance(found, dict)


def exists(scope: Scope, path: str) -> bool:
    """Whether explicit code has created the variable (while collecting), or it is in the params or state."""
    frame = scope._frame()
    if scope.collecting:
        return frame is not None and path in frame.specs
    try:
        return stored(scope, path) is not MISSING
    except MissingVariableError:
        return False


def specs(scope: Scope) -> Any:
    """Returns the specs of all variables created so far, by path."""
    frame = scope._frame()
    return frame.specs if frame is not None else {}


def join(prefix: str, name: Any) -> Any:
    """Joins a scope's name and a name as TensorFlow does: `foo` and the empty name give `foo/`."""
    return prefix + SEPARATOR + name if prefix else name
