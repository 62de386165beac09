"""Reading a variable: what `get_variable` does in `apply`.

Nothing is recorded and nothing created: a variable is what stands at its path in the params or the state. Where it does
not, the error says what is there instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from jax.core import Tracer

from jscope import _path
from jscope._check import checked_shape
from jscope._context import Crossing
from jscope._spec import VariableSpec
from jscope._types import Shape, ShapeLike, Tree
from jscope._util import _text
from jscope.errors import MissingVariableError, NameConflictError, ShapeMismatchError, StateError

EMPTY: Tree = {}

_OF_INIT = "Params from `init` of this very function have it; `model.specs(*inputs).check(params)` lists what differs."
_OF_STATE = "It is state (`trainable=False`), and this call has none: use `jscope.transform_with_state(f)`."


def peek(name: str, params: Tree, state: Tree) -> Any:
    """Returns what stands at `name` in the params or else in the state, or None."""
    parts = _path.parts(name)
    found, other = _path.walk(params, parts), _path.walk(state, parts)
    # The trees are two: what is a variable in one may be a prefix in the other.
    return other if found is None or (isinstance(found, Mapping) and other is not None) else found


def find(path: str, name: str, params: Tree, state: Tree, around: Crossing | None, trainable: bool = True) -> Any:
    """Returns the variable `name` of the scope `path`, or raises an error with the nearest names (in `around`, too)."""
    _path.check(name)
    value = peek(name, params, state)
    if value is not None and not isinstance(value, Mapping):
        return value
    full = _path.join(path, name)
    if value is None:
        below = [n for tree in (params, state) for n, _ in _path.items(tree, path)]
        if not below and around is not None:
            below = [n for tree in (around.params, around.state) for n, _ in _path.items(tree, around.path)]
        listed = f" There are: {', '.join(map('`{}`'.format, below[:8]))}" if below else ""
        # In flat params it may be there, as one key; the call says so.
        listing = "" if full in below else _text.did_you_mean(full, below) or listed
        advice = _OF_INIT if trainable or around is None or around.state else _OF_STATE
        raise MissingVariableError(
            f"Variable `{full}` is not in the params (nor in the state).{listing}\n{advice}{_stacked_hint(full)}"
        )
    names = ", ".join(f"`{_path.join(full, name)}`" for name, _ in list(_path.items(value))[:4])
    raise NameConflictError(
        f"`{full}` is asked for as a variable, but in the params it is a prefix of {names}.\n"
        f'Read those through `scope / "{name}"`, or give the variable another name.'
    )


def _stacked_hint(path: str) -> str:
    index = next((i for i, part in enumerate(_path.parts(path)) if part.isdecimal()), 0)
    if not index:
        return ""
    stack = _path.join(*_path.parts(path)[:index])
    return f'\nIf they are those of a scanned model: `jscope.tree.unstack(params, at="{stack}")`.'


def check_shape(path: str, value: Any, shape: ShapeLike) -> None:
    """Raises unless `value` has the shape that was asked for. What has no shape (masked, say) passes."""
    found, asked = getattr(value, "shape", None), checked_shape(path, shape)
    if found is not None and tuple(found) != asked:
        raise ShapeMismatchError(
            f"Variable `{path}` has shape {tuple(found)} in the params, asked for with shape {asked}.\n"
            "Either these params belong to another model (see `specs.check(params)`), "
            f"or the function now asks for another shape: call `init` again.{_mapped_hint(value, asked)}"
        )


def _mapped_hint(value: Any, asked: Shape) -> str:
    """Returns a sentence where an axis of the variable is missing because the scope was mapped over, or nothing."""
    if not isinstance(value, Tracer) or all(asked[:i] + asked[i + 1 :] != value.shape for i in range(len(asked))):
        return ""
    return "\nIf `jax.vmap` maps over the scope here, pass it whole: `jax.vmap(f, in_axes=(None, 0))(scope, x)`."


def check_in_state(path: str, name: str, state: Tree, around: Crossing) -> None:
    """Raises if a variable that the model calls state is a param in this call, which has state."""
    # Without any state, params and state may have been put into one tree on purpose.
    if around.state and around.params and peek(name, {}, state) is None:
        raise StateError(
            f"Variable `{_path.join(path, name)}` was asked for with `trainable=False`, so it is state, but it is in "
            "the params.\nAre the two swapped? It is `apply(params, state, ...)`, in the order of what `init` returns."
        )


def subtree(tree: Tree, name: str) -> Tree:
    """Returns the part of `tree` below `name`, empty where there is none."""
    below: Any = tree.get(name)
    return below if below.__class__ is dict else EMPTY  # A call makes dicts of all mappings.


def is_variable(name: str, params: Tree, state: Tree) -> bool:
    """Whether a variable (not a prefix of some) stands at `name`."""
    _path.check(name)
    found = peek(name, params, state)
    return found is not None and not isinstance(found, Mapping)


def stored_spec(path: str, around: Crossing) -> VariableSpec | None:
    """Returns what a stored value tells of a variable: shape, dtype, and whether it is a param."""
    names = _path.parts(_path.relative(path, around.path) or "")
    for trainable, tree in ((True, around.params), (False, around.state)):
        value = _path.walk(tree, names)
        if getattr(value, "dtype", None) is not None:
            return VariableSpec(path, value.shape, value.dtype, "", trainable)
    return None


def outside(path: str, prefix: str) -> NoReturn:
    """Raises the error for a getter that asks for what did not cross a boundary with its scope."""
    raise MissingVariableError(
        f"A custom getter asked for `{path}` inside a JAX transform that was given only the scope `{prefix}`.\n"
        "Pass an outer scope into the transform, so that the variable crosses with it."
    )
