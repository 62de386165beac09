"""A getter that makes variables of its own makes them like the one that it was asked for.

They have the dtype in which that one is stored, axes that follow from its axes, and no penalty or constraint that was
meant for it. What is read through getters outside may be another thing: cast, dequantized, composed of several.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from jscope import _path
from jscope._chain import Link
from jscope._defaults import AUTO_REUSE, OFF, is_value
from jscope._types import Axes, DType, Shape
from jscope._util import _text
from jscope.errors import InvalidArgumentError, MissingVariableError


class Matching:
    """What the getters that are for some paths have in common: a regular expression, `match`, for these."""

    __slots__ = ()
    match: str

    def __post_init__(self) -> None:
        _text.pattern(self.match, "match=")

    def matches(self, path: str) -> bool:
        """Whether the getter is for this path."""
        return re.search(self.match, path) is not None

    def check_used(self, paths: Collection[str]) -> None:
        """Raises if the getter matches none of the paths that it was asked for while collecting."""
        if self.match and not any(map(self.matches, paths)):
            what = f"`getters.{type(self).__name__}` with match={self.match!r}"
            raise MissingVariableError(unused(what, self.match, paths))


def unused(what: str, meant: str, paths: Collection[str]) -> str:
    """Returns the message for a getter that nothing was asked of: most likely a misspelt name."""
    there = ", ".join(f"`{path}`" for path in sorted(paths)[:8]) or "nothing"
    near = _text.did_you_mean(meant.strip("^$"), paths)
    return (
        f"{what} changes nothing: no variable has such a path.{near}\nIt was asked for {there}. "
        "Correct it, put the getter on the scope of these variables, or leave it out."
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a variable when a getter is asked for it.

    Attributes:
      trainable: Whether it is a param.
      shape: Its shape; None where it is not known.
      dtype: The dtype in which it is stored; None where it is not known, as in `apply` behind a getter that renames.
      axes: The logical names of its axes.
    """

    trainable: bool
    shape: Shape | None
    dtype: DType
    axes: Axes | None

    def axis(self, number: int) -> str | None:
        """Returns the logical name of one axis."""
        return None if self.axes is None else self.axes[number]

    def named(self, *axes: str | None) -> Axes | None:
        """Returns axes for a variable beside this one: none where this one has none."""
        return None if self.axes is None else axes


def known(getter: Any, name: str, options: dict[str, Any]) -> Known:
    """Returns what is known of the variable that a getter is asked for, before it goes on."""
    # A plain function that stands for the rest of the chain, as some getters pass on, cannot be asked.
    spec = getter.spec(name, **options) if hasattr(getter, "spec") else None
    axes = options.get("axes") if spec is None or spec.axes is None else spec.axes
    trainable, shape, dtype = options.get("trainable", True), options.get("shape"), asked_dtype(options)
    if spec is not None:
        # What is read again without a shape does not say whether it is a param.
        trainable, shape, dtype = spec.trainable, spec.shape, spec.dtype
    return Known(trainable, shape, dtype, None if axes is None else tuple(axes))


@dataclass(frozen=True, slots=True)
class _Noting:
    """Stands between a getter and the rest of the chain, and notes where that stores what it was asked for last."""

    paths: list[str]

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        path, value = stored(getter, name, **options)
        self.paths.append(path)
        return value


def stored(getter: Any, name: str, /, **options: Any) -> tuple[str, Any]:
    """Asks the rest of the chain as a call does, but for what is stored: returns where, and its value without any cast.

    Getters that rename or compose do so here, too; those that say `only_casts` are left out.
    """
    if not isinstance(getter, Link):
        return name, getter(name, **options)
    if _only_casts(getter.getter):
        return stored(getter.rest, name, **options)
    if isinstance(getter.getter, _Noting):
        path, value = stored(getter.rest, name, **options)
        getter.getter.paths.append(path)
        return path, value
    noting = _Noting([name])
    value = getter.getter(Link(noting, getter.rest, getter.scope), name, **options)
    return noting.paths[-1], value


def uncast(getter: Any, name: str, value: Any, options: dict[str, Any]) -> Any:
    """Returns what `getter(name, **options)` gave, as it was before it was cast."""
    rest = getter
    while isinstance(rest, Link) and not _only_casts(rest.getter):
        rest = rest.rest
    # Asked for once more only where it can differ: a getter outside may write each time that it is asked.
    return stored(getter, name, **{**options, "reuse": AUTO_REUSE})[1] if isinstance(rest, Link) else value


def _only_casts(getter: Any) -> bool:
    # Most stand in the chain inside of a pytree node.
    return getattr(getattr(getter, "getter", getter), "only_casts", False)


def state_beside(getter: Any, name: str, /, **options: Any) -> tuple[str, Any]:
    """Asks for a state variable of a getter's own: returns where it is stored, and its value."""
    # One that is read again has its own already, whatever `reuse` says of the variable itself.
    plain = {"trainable": False, "reuse": AUTO_REUSE, "regularizer": OFF, "constraint": OFF, "partitioner": OFF}
    return stored(getter, name, **plain, **options)


def write(getter: Any, path: str, value: Any) -> None:
    """Writes a state variable that `state_beside` gave."""
    # `assign` takes a name below the scope; getters are given full paths.
    local = _path.relative(path, getter.scope.path)
    if not local:
        raise InvalidArgumentError(
            f"A custom getter outside moves `{path}` out of the scope `{getter.scope.path}`, from where it cannot be "
            "written.\nPut the getter that writes outside the one that renames."
        )
    getter.scope.assign(local, value)


def is_float(dtype: DType) -> bool:
    """Whether values of this dtype are real floats."""
    return bool(jnp.issubdtype(dtype, jnp.floating))


def wide(dtype: DType) -> DType:
    """Returns the dtype to compute in: float32, or wider where the values are."""
    return dtype if jnp.finfo(dtype).bits > 32 else jnp.float32


def asked_dtype(options: dict[str, Any]) -> DType:
    """Returns the dtype that a request names; None where it leaves that to the scope."""
    given, initializer = options.get("dtype"), options.get("initializer")
    if given is None or given is OFF:
        return jnp.result_type(initializer) if is_value(initializer) else None
    return jnp.dtype(given)
