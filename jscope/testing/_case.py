"""What all laws have in common: a model with inputs, variables and a key, and a report of what breaks a law."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from jscope import _path
from jscope._collect import split_arrays
from jscope._specs import Specs
from jscope._transform import Transformed, TransformedWithState, transform_with_state
from jscope._types import Key
from jscope._util._compiled import jitted
from jscope.errors import InvalidArgumentError, JscopeError, MissingRngError
from jscope.tree import _diff


class LawError(JscopeError, AssertionError):
    """A model breaks a law; the message lists where."""


# Compared by identity: inputs are arrays. Without slots: cached properties are kept in the dict of an instance.
@dataclass(frozen=True, eq=False)
class Case:
    """A model as a law sees it: with state, whether it has any or not.

    Attributes:
      model: The model.
      args: Its arguments, as arrays where they are arrays.
      kwargs: Its keyword arguments, likewise.
      key: The key of its initial values, and of what it draws.
    """

    model: TransformedWithState[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: Key

    @cached_property
    def specs(self) -> Specs:
        """The specs of its variables."""
        return self.model.specs(*self.args, **self.kwargs)

    @cached_property
    def variables(self) -> tuple[Any, Any]:
        """The initial params and state."""
        return self.model.init(self.key, *self.args, **self.kwargs)

    @cached_property
    def draws(self) -> bool:
        """Whether it needs a random key."""
        try:
            jax.eval_shape(
                lambda variables, inputs: arrays_of(self.plain(variables[0], variables[1], inputs)),
                self.variables,
                self.inputs,
            )
        except MissingRngError:
            return True
        return False

    @cached_property
    def inputs(self) -> list[Any]:
        """The arrays among its arguments."""
        return split_arrays(self.args, self.kwargs)[0]

    def plain(self, params: Any, state: Any, inputs: list[Any] | None = None) -> Any:
        """Returns `(out, new_state)` of a call with the model's own key, if one is bound to it."""
        args, kwargs = split_arrays(self.args, self.kwargs)[1](self.inputs if inputs is None else inputs)
        return self.model.apply(params, state, *args, **kwargs)

    def run(self, params: Any, state: Any, inputs: list[Any] | None = None) -> Any:
        """Returns `(out, new_state)` of a call, with a random key where one is needed."""
        model = self.model.with_rng(self.key) if self.draws else self.model
        return replace(self, model=model).plain(params, state, inputs)

    @cached_property
    def compiled(self) -> Any:
        """What `run` does, compiled: the arrays in the output, by where they stand in it, and the new state."""

        def run(params: Any, state: Any, inputs: list[Any]) -> Any:
            out, new_state = self.run(params, state, inputs)
            return arrays_of(out), new_state

        return compiled_soon(run)


def compiled_soon(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function under `jit`, optimized less than usual: a law runs it once or twice."""
    return jitted(function, None, brief=True)


def case(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None, key: Key | None) -> Case:
    """Returns a model with inputs: random ones in the place of shapes."""
    if not isinstance(args, tuple | list):
        given = _diff.describe_leaf(args)
        raise InvalidArgumentError(f"A law needs the model's arguments as a tuple, `law(model, (x,))`, not {given}.")
    if isinstance(model, Transformed | TransformedWithState):
        # A model without state is one whose state is empty, so each law is written once.
        bound = TransformedWithState(replace(model.program, stateful=True))
    else:
        bound = transform_with_state(model)
    given, options = jax.tree.map(_array, (tuple(args), dict(kwargs or {})), is_leaf=_is_struct)
    return Case(bound, given, options, jax.random.key(0) if key is None else key)


def break_law(law: str, lines: Sequence[str], advice: str) -> NoReturn:
    """Raises the report of what breaks a law."""
    shown = [f"  {line}" for line in lines[:20]] + [f"  ... and {len(lines) - 20} more"] * (len(lines) > 20)
    raise LawError("\n".join([f"The model breaks the law `{law}`:", *shown, advice]))


def arrays_of(tree: Any) -> dict[str, Any]:
    """Returns the arrays in a pytree, by where they stand in it."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    where = partial(jax.tree_util.keystr, simple=True, separator=_path.SEPARATOR)
    return {where(path) or "the output": jnp.asarray(leaf) for path, leaf in leaves if is_array(leaf)}


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def unequal(a: Any, b: Any, *, tolerance: float = 1e-4) -> list[str]:
    """Returns a line for each array that differs between two trees of one structure."""
    x, y = arrays_of(a), arrays_of(b)
    if list(x) != list(y):
        return [f"there are {', '.join(x) or 'no arrays'}, and then {', '.join(y) or 'no arrays'}"]
    lines = []
    for name in x:
        if (x[name].shape, x[name].dtype) != (y[name].shape, y[name].dtype):
            lines.append(f"{name}: {_type(x[name])}, and then {_type(y[name])}")
        elif (gap := _gap(x[name], y[name])) > tolerance:
            lines.append(f"{name}: differs by up to {gap:.3g} of its largest value")
    return lines


def _gap(x: Any, y: Any) -> float:
    """Returns the largest difference, relative to the largest value; a NaN equals a NaN in the same place."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x, y = jax.random.key_data(x), jax.random.key_data(y)
    # One type for narrow floats, integers and complex numbers, in which no difference overflows.
    wide = [np.asarray(each).astype(np.complex128) for each in (x, y)]
    same = (wide[0] == wide[1]) | (np.isnan(wide[0]) & np.isnan(wide[1]))
    gaps = np.abs(np.where(same, 0, wide[0] - wide[1]))
    size = float(np.max(np.abs(wide[0]), initial=0.0, where=np.isfinite(wide[0])))
    most = float(np.max(gaps, initial=0.0)) if not np.isnan(gaps).any() else np.inf
    # By the largest value of all, not one by one: where large numbers cancel, what is left is rounding.
    return most / max(size, 1e-6)


def _type(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _is_struct(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _array(leaf: Any) -> Any:
    """Returns an array for a shape: random numbers, small ones where they are whole."""
    if not _is_struct(leaf):
        return leaf
    # Always the same: a test that fails now and then helps nobody.
    values = np.random.default_rng(0).normal(size=leaf.shape)
    if jnp.issubdtype(leaf.dtype, jnp.inexact):
        return jnp.asarray(values).astype(leaf.dtype)
    # Any vocabulary has the words 0 and 1.
    return jnp.asarray(values > 0).astype(leaf.dtype)
