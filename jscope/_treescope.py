"""What treescope shows of our values, in notebooks.

It knows dataclasses by itself. What is none says here what there is to unfold.
"""

from __future__ import annotations

from typing import Any

from treescope import repr_lib

from jscope import _path
from jscope._scope import Scope
from jscope._specs import Specs


def render_specs(specs: Specs, path: str | None, renderer: Any) -> Any:
    """Returns specs as `Specs({path: VariableSpec(...), ...})`."""
    return repr_lib.render_dictionary_wrapper(Specs, specs.flat(), path, renderer)


def render_scope(scope: Scope, renderer: Any) -> Any:
    """Returns a scope with what is below it, by its names there: specs while collecting, arrays in `apply`."""
    specs = frame.specs.values() if (frame := scope._frame()) is not None else ()
    below = {_path.relative(spec.path, scope.path): spec for spec in specs}
    below |= dict(_path.items(scope._params)) | dict(_path.items(scope._state))
    variables = {name: value for name, value in below.items() if name}
    shown = {"path": scope.path, "has_rng": scope.has_rng, "variables": variables}
    # Without a path: variables are not attributes, so there is no way to them that could be copied.
    return repr_lib.render_object_constructor(Scope, shown, None, renderer)
