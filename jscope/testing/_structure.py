"""Laws of the names, shapes and dtypes of a model's variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jscope import tree
from jscope._types import Key
from jscope.testing._case import break_law, case, compiled_soon, unequal


def init_agrees(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, key: Key | None = None
) -> None:
    """`init`, `init` under `jax.jit`, and specs have the same variables, of the same shapes, dtypes and values.

    >>> init_agrees(lambda scope: scope.get_variable("w", initializer=2.0))

    Raises:
      LawError: With a line for each variable that differs.
    """
    its = case(model, args, kwargs, key)
    jitted = compiled_soon(lambda key: its.model.init(key, *its.args, **its.kwargs))(its.key)
    lines = []
    for kind, made, compiled, specs in zip(
        ("params", "state"), its.variables, jitted, (its.specs.params, its.specs.state), strict=True
    ):
        lines += _lines(f"{kind}, specs (a) and init (b)", tree.diff(specs.shape_dtype(), made))
        # Compiled together, initializers may round in another way.
        lines += [f"{kind}, init and jitted init: {line}" for line in unequal(made, compiled, tolerance=1e-5)]
    if lines:
        break_law("init_agrees", lines, "Look for names or shapes that depend on values, or on what ran before.")


def state_keeps_structure(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, key: Key | None = None
) -> None:
    """The state after a call has the names, shapes and dtypes of the state before it, so that a loop can carry it.

    >>> def count(scope):
    ...     n = scope.get_variable("n", initializer=0, trainable=False)
    ...     scope.assign("n", n + 1)
    >>> state_keeps_structure(count)

    Raises:
      LawError: With a line for each variable that differs.
    """
    its = case(model, args, kwargs, key)
    new = jax.eval_shape(its.compiled, *its.variables, its.inputs)[1]
    before = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), its.variables[1])
    if lines := _lines("before (a) and after (b)", tree.diff(before, new)):
        break_law(
            "state_keeps_structure", lines, "Write values of the shape and dtype that the variable was created with."
        )


def _lines(what: str, report: tree.Diff) -> list[str]:
    return [f"{what}: {line}" for line in str(report).splitlines()] if report else []
