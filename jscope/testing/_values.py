"""Laws of what a model computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jscope import _path, _rng, tree
from jscope._specs import Specs
from jscope._types import Key
from jscope.errors import InvalidArgumentError
from jscope.testing._case import Case, arrays_of, break_law, case, compiled_soon, unequal


def params_matter(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, key: Key | None = None
) -> None:
    """Every param has an effect on the output, and a finite gradient.

    >>> def model(scope, x):
    ...     return x * scope.get_variable("w", (3,)), scope.get_variable("forgotten", (3,)).shape
    >>> params_matter(model, (jnp.ones(3),))
    Traceback (most recent call last):
    jscope.testing._case.LawError: The model breaks the law `params_matter`:
      `forgotten` has no effect on the output: its gradient is zero
    ...

    Gradients must be finite at the initial values. Whether there is an effect is asked a little beside them, since what
    starts at zero may hide another param.

    Raises:
      LawError: With a line for each param.
    """
    its = case(model, args, kwargs, key)
    params, state = its.variables
    bad = [f"`{path}` has a gradient that is not finite" for path, g in _gradient(its, params, state) if not _finite(g)]
    beside = _moved(params, its.key)
    idle = [path for path, grad in _gradient(its, beside, state) if grad.size and not jnp.any(grad != 0)]
    bad += [f"`{path}` has no effect on the output: its gradient is zero" for path in idle]
    if bad:
        break_law("params_matter", bad, "Use the param, do not create it, or make it state: `trainable=False`.")


def rows_do_not_mix(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, key: Key | None = None
) -> None:
    """What comes out for one row of a batch does not depend on the others.

    >>> rows_do_not_mix(lambda scope, x: x - x.mean(0), (jnp.arange(6.0).reshape(3, 2),))
    Traceback (most recent call last):
    jscope.testing._case.LawError: The model breaks the law `rows_do_not_mix`:
      row 0 of the output: differs by up to 1 of its largest value
      row 2 of the output: differs by up to 1 of its largest value
    Rows were changed that are not these. Look for a mean or norm over axis 0.

    Rows are along the leading axis of the first array, of whatever else in the arguments, and of what comes out has
    this size. A model that normalizes over a batch in training mixes rows; test it as it is in evaluation.

    Raises:
      LawError: With a line for each output that depends on other rows.
      InvalidArgumentError: There are no two rows, or all are alike.
    """
    its = case(model, args, kwargs, key)
    size = next((array.shape[0] for array in its.inputs if array.ndim), 0)
    if size < 2:
        raise InvalidArgumentError(
            "rows_do_not_mix: the first array must have at least two rows, to see if they mix.\n"
            'Give a batch of two, or leave the law out: `every_law(..., skip={"rows_do_not_mix"})`.'
        )
    params, state = _moved(its.variables[0], its.key), its.variables[1]
    if all(bool((array == _repeated(array, 0, size)).all()) for array in its.inputs):
        raise InvalidArgumentError(
            "rows_do_not_mix: all rows are alike, so that nothing would show if they mixed.\n"
            "Give random arrays, or a `jax.ShapeDtypeStruct`, in the place of which the law puts random numbers."
        )
    out, lines = its.compiled(params, state, its.inputs)[0], []
    # The first row and the last, since what mixes may look only back, or only ahead.
    for row in (0, size - 1):
        # Copies of one row, rather than noise: tokens and lengths stay such as the model may get.
        copies = [_repeated(array, row, size) for array in its.inputs]
        other = its.compiled(params, state, copies)[0]
        pair = [{n: a[row] for n, a in arrays.items() if a.shape[:1] == (size,)} for arrays in (out, other)]
        lines += [f"row {row} of {line}" for line in unequal(*pair)]
    if lines:
        break_law(
            "rows_do_not_mix", lines, "Rows were changed that are not these. Look for a mean or norm over axis 0."
        )


def eager_equals_jitted(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, key: Key | None = None
) -> None:
    """Compiled, a model computes what it computes without, and leaves the same state.

    >>> eager_equals_jitted(lambda scope, x: x * scope.get_variable("w", initializer=2.0), (jnp.ones(3),))

    Raises:
      LawError: With a line for each array that differs.
    """
    its = case(model, args, kwargs, key)
    out, state = its.run(*its.variables)
    compiled, compiled_state = its.compiled(*its.variables, its.inputs)
    if lines := unequal(arrays_of(out) | {"state": state}, compiled | {"state": compiled_state}):
        break_law(
            "eager_equals_jitted", lines, "Look for Python code that depends on when it runs, or keeps something."
        )


def scanned_equals_unrolled(
    model: Any,
    unrolled: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    key: Key | None = None,
) -> None:
    """A model whose layers are scanned starts with the values of the unrolled one, and computes the same.

    >>> def block(scope, x):
    ...     return x * scope.get_variable("w", initializer=2.0)
    >>> scanned_equals_unrolled(jscope.layers(block, 2), jscope.layers(block, 2, scanned=False), (jnp.ones(3),))

    Args:
      model: The model with stacked variables.
      unrolled: The same model with `scanned=False`, say.
      args: The arguments of both.
      kwargs: Their keyword arguments.
      key: The key of the initial values.

    Raises:
      LawError: With a line for each variable or output that differs.
    """
    its, other = case(model, args, kwargs, key), case(unrolled, args, kwargs, key)
    kinds = zip(its.variables, (its.specs.params, its.specs.state), strict=True)
    apart = [_unstacked(values, specs) for values, specs in kinds]
    # Names first: of arrays in trees that differ, nothing could be compared.
    names = {(kind, name) for kind in (0, 1) for name in tree.names(apart[kind])}
    wanted = {(kind, name) for kind in (0, 1) for name in tree.names(other.variables[kind])}
    lines = [f"only the scanned model has `{name}`" for _, name in sorted(names - wanted)]
    lines += [f"only the unrolled model has `{name}`" for _, name in sorted(wanted - names)]
    if not lines:
        lines = [
            f"initial {line}"
            for line in unequal(
                *(dict(zip(("params", "state"), each, strict=True)) for each in (apart, other.variables))
            )
        ]
        lines += [
            f"output {line}"
            for line in unequal(its.compiled(*its.variables, its.inputs)[0], other.compiled(*apart, other.inputs)[0])
        ]
    if lines:
        break_law("scanned_equals_unrolled", lines, "Both should run one body, over one scope: `jscope.layers` does.")


def _unstacked(values: Any, specs: Specs) -> Any:
    """Returns the variables under the names that they have in the unrolled model."""
    # One stack after the other: there may be another within.
    while stacked := [spec for spec in specs.flat().values() if spec.stack]:
        at = _path.join(*_path.parts(stacked[0].path)[: stacked[0].stack[0].depth])
        values = tree.unstack(values, at=at)
        specs = Specs(tree.unstack(specs, at=at))
    return values


def _gradient(its: Case, params: Any, state: Any) -> list[tuple[str, Any]]:
    """Returns the gradient of all outputs, each element with a weight of its own, by path."""
    # `jax.grad` refuses integers, such as quantized weights.
    floats, rest = tree.partition(params, lambda _, leaf: jnp.issubdtype(leaf.dtype, jnp.inexact))

    def weighted(floats: Any) -> Any:
        total = jnp.zeros((), jnp.float32)
        for array in arrays_of(its.run(tree.merge(floats, rest), state)[0]).values():
            if jnp.issubdtype(array.dtype, jnp.inexact):
                # Equal weights would miss a param that only moves something from one output to another.
                weights = jnp.cos(jnp.arange(array.size, dtype=jnp.float32)).reshape(array.shape)
                total += jnp.sum(jnp.real(array).astype(jnp.float32) * weights)
        return total

    return tree.items(compiled_soon(jax.grad(weighted))(floats)) if floats else []


def _moved(params: Any, key: Key) -> Any:
    """Returns the params a little beside where they are."""

    def moved(path: str, leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        # By the path, as initial values are: params of one shape that moved alike could still cancel each other.
        noise = jax.random.normal(_rng.fold(key, _rng.lanes_of_path(path)), leaf.shape, jnp.float32)
        return (leaf.astype(jnp.float32) + 0.1 * noise).astype(leaf.dtype)

    # In one program, since each leaf by itself would be compiled for each operation and shape.
    return compiled_soon(lambda params: tree.map_with_path(moved, params))(params)


def _finite(array: Any) -> bool:
    return bool(jnp.isfinite(array).all())


def _repeated(array: Any, row: int, size: int) -> Any:
    """Returns an array in which every row is one of its rows."""
    return jnp.broadcast_to(array[row], array.shape) if array.shape[:1] == (size,) else array
