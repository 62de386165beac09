"""Each element of a batch has variables of its own, or all share them: `vmap` for scoped functions."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jscope import _path
from jscope._collect import split_arrays
from jscope._scope import Scope
from jscope._spec import StackAxis
from jscope._uses import indexed
from jscope._util import _text
from jscope._util._text import scope_at
from jscope.errors import InvalidArgumentError, JscopeError, ShapeMismatchError
from jscope.lift._pure import commit, explaining, is_collecting, pure, with_values
from jscope.lift._scan import (
    EVERYTHING,
    Divided,
    Rng,
    check_name,
    checked_count,
    divided,
    index_of_copies,
    joined,
    one_size,
    restoring,
    variable_sizes,
)
from jscope.lift._slices import placeholder_slices, stacked_values, with_slices
from jscope.lift._view import at_index, copies, lifted_view, shared_streams, view


def vmap(
    function: Callable[..., Any],
    in_axes: int | tuple[Any, ...] | None = 0,
    out_axes: Any = 0,
    *,
    axis_size: int | None = None,
    axis_name: str | None = None,
    spmd_axis_name: Any = None,
    variables: Literal["stacked", "shared"] = "stacked",
    shared: str | None = None,
    rng: Rng = "split",
    axis: str | None = None,
) -> Callable[..., Any]:
    """Returns `function(scope, *args)` mapped over a batch axis: `jax.vmap` for scoped functions.

    >>> import jax, jax.numpy as jnp, jscope
    >>> def member(scope, x):
    ...     return x @ scope.get_variable("w", (3, 2))
    >>> def ensemble(scope, x):
    ...     return jscope.vmap(member, in_axes=None, axis_size=5)(scope / "members", x).mean(0)
    >>> jscope.init(ensemble, jax.random.key(0), jnp.ones((4, 3)))["members"]["w"].shape
    (5, 3, 2)

    Args:
      function: A function of a scope and arrays.
      in_axes: For each argument after the scope, as in `jax.vmap`.
      out_axes: Of the output, as in `jax.vmap`.
      axis_size: Size of the batch, where no argument tells.
      axis_name: A name for collectives.
      spmd_axis_name: As in `jax.vmap`.
      variables: `"stacked"`: each element has variables of its own. `"shared"`: all have the same; what they write
        to state must then be the same, too (averaged by `lax.pmean`, say).
      shared: A regex for the paths of variables that are shared while the others are stacked.
      rng: Whether each element draws random numbers of its own (`"split"`) or all the same (`"shared"`); or the names
        of the streams that are shared.
      axis: A logical name for the stacked axis, put before the `axes` of stacked variables.
    """
    if variables not in ("stacked", "shared"):
        raise InvalidArgumentError(f"vmap: variables={variables!r} must be one of ('stacked', 'shared').")
    if isinstance(in_axes, Scope):
        raise InvalidArgumentError("vmap returns a function, which takes the scope: `jscope.vmap(f)(scope, x)`.")
    streams = shared_streams(rng, "vmap")
    _text.pattern("" if shared is None else shared, "shared=")
    check_name(axis, "vmap")
    common = EVERYTHING if variables == "shared" else shared
    options = {"out_axes": out_axes, "axis_name": axis_name, "spmd_axis_name": spmd_axis_name}

    @functools.wraps(function)
    def lifted(scope: Scope, /, *args: Any, **kwargs: Any) -> Any:
        scope = with_values(scope)
        # As in `jax.vmap`, keywords are mapped over their leading axis; here only those that are arrays.
        arrays, rebuild = split_arrays((), kwargs)
        by_keyword = lambda scope, arrays, *args: function(scope, *args, **rebuild(arrays)[1])  # noqa: E731
        axes = (0, *(in_axes if isinstance(in_axes, tuple | list) else (in_axes,) * len(args)))
        size = _batch_size(scope, (arrays, *args), axes, axis_size, common)
        with explaining(scope, "vmap", function), restoring(scope, size, common):
            if is_collecting(scope):
                stack = StackAxis(len(_path.parts(scope._path)), size, axis)
                # The scope is closed over: the body sees one copy of each variable, and its spec gets the axis.
                one = with_slices(scope, placeholder_slices(stacked_values(scope, size, common)))
                body = lambda *args: by_keyword(lifted_view(one, stack, shared=common), *args)  # noqa: E731
                return jax.vmap(body, axes, axis_size=_known(size), **options)(arrays, *args)
            place = index_of_copies(scope, size, streams)
            variables = divided(scope, common, size)
            return _vmap(pure(by_keyword), scope, (arrays, *args), axes, size, variables, place, options)

    return lifted


def _vmap(
    body: Callable[..., Any],
    scope: Scope,
    args: tuple[Any, ...],
    in_axes: tuple[Any, ...],
    size: int,
    variables: Divided,
    place: tuple[Any, tuple[str, ...]],
    options: dict[str, Any],
) -> Any:
    params, own_params, state, own_state, values = variables
    # Without an index, all elements stand at one place, and draw the same keys.
    index, streams = place
    copied = None if index is None else copies(scope, tells=True)
    known = None if copied is None else copied.carried

    def element(own_params: Any, own_state: Any, own_values: Any, i: Any, *args: Any) -> tuple[Any, ...]:
        trees = joined(params, own_params), joined(state, own_state)
        here = view(with_slices(scope, own_values), *trees, carried=known, anchor=at_index(scope, i, streams))
        out, effects = body(here, *args)
        own = {name: value for name, value in effects.state.items() if name in own_state}
        common_state = {name: value for name, value in effects.state.items() if name not in own_state}
        # Only names leave the trace like this.
        written.extend(_path.join(scope.path, name) for name in common_state)
        return out, own, common_state, replace(effects, state={})

    written: list[str] = []
    # Shared state comes out without an axis: JAX itself refuses where it depends on the element.
    options |= {"out_axes": (options["out_axes"], 0, None, 0)}
    mapped = jax.vmap(element, (0, 0, 0, 0, *in_axes), axis_size=_known(size), **options)
    with _explaining_shared(written):
        out, own, common_state, effects = mapped(own_params, own_state, values, index, *args)
    uses = effects.uses if copied is None else indexed(effects.uses, copied.number)
    commit(scope, replace(effects, state={**own, **common_state}, uses=uses))
    return out


def _known(size: Any) -> int | None:
    """Returns a size if it is an int. One that is symbolic, as in `jax.export`, JAX takes from the arguments only."""
    return size if isinstance(size, int) else None


@contextlib.contextmanager
def _explaining_shared(written: list[str]) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        # JAX has no class of its own for this error; where shared state was written, it is the likely reason.
        if written and not isinstance(error, JscopeError):
            error.add_note(
                f"jscope: all elements share the state {', '.join(map('`{}`'.format, written))}, so all must write the "
                'same value. Average it over a name, such as `jscope.vmap(..., axis_name="batch")`: by '
                '`nn.batch_norm(..., axis_name="batch")`, or in your own code `jax.lax.pmean(value, "batch")`. '
                "Or let each element have its own, by `shared=` or the default of `variables=`."
            )
        raise


def _batch_size(scope: Scope, args: Any, axes: Any, axis_size: int | None, common: str | None) -> int:
    sizes: dict[str, Any] = {} if axis_size is None else {"axis_size": _checked_size(scope, axis_size)}
    if len(axes) != len(args):
        raise InvalidArgumentError(
            f"vmap over {scope_at(scope.path)}: in_axes {tuple(axes[1:])} has {len(axes) - 1} entries for "
            f"{len(args) - 1} arguments after the scope."
        )
    for number, (arg, axis) in enumerate(zip(args, axes, strict=True), -1):
        called = f"argument {number}" if number >= 0 else "a keyword"
        for leaf, at in _mapped_leaves(scope, called, arg, axis):
            if not -jnp.ndim(leaf) <= at < jnp.ndim(leaf):
                raise InvalidArgumentError(
                    f"vmap over {scope_at(scope.path)}: {called} of shape {jnp.shape(leaf)} "
                    f"has no axis {at} to map over."
                )
            sizes[called] = jnp.shape(leaf)[at]
    # Where no argument tells, the variables do; else those of another size are of other code.
    sizes = sizes or variable_sizes(scope, common)
    if not sizes:
        raise ShapeMismatchError(
            f"vmap over {scope_at(scope.path)} does not know the size of its batch.\n"
            "Give it mapped arguments or `axis_size`."
        )
    return one_size(sizes, "vmap", scope, common)


def _checked_size(scope: Scope, size: Any) -> Any:
    if jax.export.is_symbolic_dim(size):
        return size
    return checked_count(size, "vmap", "axis_size", scope)


def _mapped_leaves(scope: Scope, called: str, arg: Any, axis: Any) -> list[tuple[Any, int]]:
    """Returns the leaves of an argument that are mapped, each with its axis; `axis` may be a prefix of the tree."""
    # None is an axis here, not an empty tree; in an argument it is an empty tree.
    axes, structure = jax.tree.flatten(axis, is_leaf=lambda at: at is None)
    try:
        parts = list(zip(structure.flatten_up_to(arg), axes, strict=True))
        fits = all(at is None or isinstance(at, Integral) for at in axes)
    except ValueError:
        parts, fits = [], False
    if not fits:
        shapes = jax.tree.map(lambda leaf: getattr(leaf, "shape", leaf), arg)
        raise InvalidArgumentError(
            f"vmap over {scope_at(scope.path)}: in_axes has {axis!r} for {called}, whose shapes are {shapes}.\n"
            "Give an int, or None for what is not mapped: one for the whole argument, or one in each place of its tree."
        )
    return [(leaf, at) for part, at in parts if at is not None for leaf in jax.tree.leaves(part)]
