"""From a model to the programs that are counted: what it computes, and that with its gradient.

Nothing is run and nothing is compiled: both are traced on shapes.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.interpreters import partial_eval

from jscope import _path
from jscope._collect import split_arrays, under_axes
from jscope._specs import Specs
from jscope._summary._count import jaxprs_of, makers
from jscope._summary._names import Names, Place, opened_jaxpr, place_of
from jscope._transform import Program, Transformed, TransformedWithState, transform_with_state
from jscope._util._stack import is_of
from jscope.errors import InvalidArgumentError, MissingRngError


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """The programs of a model.

    Attributes:
      specs: Its variables.
      forward: What `apply` computes, tagged: see `_names`.
      gradient: The same with the gradient by all params; None where nothing can be differentiated.
      outputs: How many results of `forward` are those of the model; the others are its state.
      kept: What the gradient keeps of what was computed before, as variables of `gradient`.
      refusal: Why JAX cannot differentiate the model, where it cannot.
    """

    specs: Specs
    forward: Any
    gradient: Any
    outputs: int
    kept: list[Any]
    refusal: str | None = None

    @property
    def variables(self) -> list[str]:
        """The paths of the variables that are the first inputs of both programs, in order."""
        return _variables(self.specs)


def traced(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Traced:
    """Traces a model, or a function of a scope."""
    specs, forward, outputs = _tagged(model, args, kwargs)
    try:
        gradient, kept = _gradient(forward, len(specs.params), outputs)
        return Traced(specs, forward, gradient, outputs, kept)
    except (NotImplementedError, ValueError) as error:
        if _is_of_user(error):
            raise
        # So JAX refuses what it has no gradient of: a `while_loop`, a callback. What is there for inference only has a
        # summary all the same.
        return Traced(specs, forward, None, outputs, [], str(error).partition(". ")[0].rstrip("."))


def _is_of_user(error: BaseException) -> bool:
    """Whether a rule of the user's, as of a `custom_vjp`, has raised an error, rather than JAX or jscope."""
    # Not only the last frame: a rule goes wrong in `jnp.stack`, too. And `contextlib` stands between frames of JAX.
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return not all(is_of(frame, "jax", "jscope", *sys.stdlib_module_names) for frame in frames)


def equations_of(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[Place, Any]]:
    """Yields every equation of what a model computes, with its scope, those of inner functions included."""
    yield from _equations(_tagged(model, args, kwargs)[1], None)


def _equations(jaxpr: Any, outer: Place) -> Iterator[tuple[Place, Any]]:
    for equation in opened_jaxpr(jaxpr).eqns:
        place = place_of(equation, outer)
        yield place, equation
        for inner in jaxprs_of(equation):
            yield from _equations(inner, place)


def _tagged(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Specs, Any, int]:
    """Returns the specs of a model, what it computes, tagged, and how many results are not state."""
    if not isinstance(model, Transformed | TransformedWithState):
        model = transform_with_state(model)
    specs = model.specs(*args, **kwargs)
    try:
        forward, places, outputs = _forward(model.program, specs, args, kwargs, model.program.rng)
    except MissingRngError:
        # Where there are keys to be drawn, what is drawn counts, too.
        key = jax.eval_shape(lambda: jax.random.key(0))
        forward, places, outputs = _forward(model.program, specs, args, kwargs, key)
    return specs, Names().tagged(forward, places), outputs


def _forward(program: Program, specs: Specs, args: Any, kwargs: Any, key: Any) -> tuple[Any, list[Place], int]:
    """Returns what the model computes, the scope of each of its inputs, and how many results are not state."""
    arrays, rebuild = split_arrays(args, kwargs)
    params, state = (
        {spec.path: spec.shape_dtype() for spec in kind.flat().values()} for kind in (specs.params, specs.state)
    )
    outputs = 0

    def run(params: dict[str, Any], state: dict[str, Any], key: Any, arrays: list[Any]) -> Any:
        nonlocal outputs
        args, kwargs = rebuild(arrays)
        bound = replace(program, rng=key)
        out, new_state = bound.apply(_path.nested(params.items()), _path.nested(state.items()), args, kwargs)
        leaves = [leaf for leaf in jax.tree.leaves(out) if isinstance(leaf, jax.Array | np.ndarray | np.generic)]
        outputs = len(leaves)
        return leaves, new_state

    # Where it is switched off, JAX runs loops in Python, step by step: many equations, and no loop to be counted.
    with jax.disable_jit(False):
        made = jax.make_jaxpr(under_axes(run, program.axes))(params, state, key, arrays)
    places = [_path.parent(path) for path in _variables(specs)]
    return made, [*places, *[None] * (len(made.in_avals) - len(places))], outputs


def _variables(specs: Specs) -> list[str]:
    # JAX sorts dicts.
    return [path for kind in (specs.params, specs.state) for path in sorted(kind)]


def _gradient(forward: Any, params: int, outputs: int) -> tuple[Any, list[Any]]:
    """Returns the program with the gradient of all results by all params, and what it keeps for that."""
    inputs, outs = forward.in_avals, forward.out_avals[:outputs]
    by = [i for i in range(params) if _is_smooth(inputs[i])]
    if not by or not any(map(_is_smooth, outs)):
        return None, []
    run: Callable[..., Any] = jaxpr_as_fun(forward)

    def both(inputs: list[Any], cotangents: list[Any]) -> Any:
        def smooth(chosen: list[Any]) -> Any:
            given = dict(zip(by, chosen, strict=True))
            out = run(*(given.get(i, each) for i, each in enumerate(inputs)))
            return [each for each in out[:outputs] if _is_smooth(each)], out

        _, back, out = jax.vjp(smooth, [inputs[i] for i in by], has_aux=True)
        return out, back(cotangents), jax.tree.leaves(back)

    structs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in inputs]
    # Arguments, since ones would be constants, by which JAX need not multiply.
    cotangents = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in outs if _is_smooth(each)]
    made = opened_jaxpr(jax.make_jaxpr(both)(structs, cotangents))
    results = len(forward.out_avals) + len(by)
    used = [i < results for i in range(len(made.outvars))]
    # What is kept is no result: where nothing else needs it, it need not be computed.
    program = partial_eval.dce_jaxpr(made, used)[0]
    return program, _computed(program, made.outvars[results:])


def needed(program: Any) -> Any:
    """Returns a program without what no result needs, which XLA drops before it counts anything."""
    opened = opened_jaxpr(program)
    return partial_eval.dce_jaxpr(opened, [True] * len(opened.outvars))[0]


def _computed(program: Any, kept: list[Any]) -> list[Any]:
    """Returns what of the kept values was computed: no inputs, and none that only looks at another in another way."""
    made_by = makers(program)
    found: dict[Any, None] = {}
    for variable in kept:
        while not hasattr(variable, "val") and variable in made_by and made_by[variable].primitive.name in _VIEWS:
            variable = made_by[variable].invars[0]
        if not hasattr(variable, "val") and variable in made_by:
            found[variable] = None
    return list(found)


# What moves all elements of one array, which a compiler does where they are read.
_VIEWS = (
    "transpose",
    "reshape",
    "broadcast_in_dim",
    "squeeze",
    "expand_dims",
    "copy",
    "copy_p",
    "stop_gradient",
    "name",
)


def _is_smooth(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jnp.inexact)


def checked_depth(depth: Any) -> int | None:
    """Returns how many parts of paths to show, after checking it."""
    if depth is not None and (not isinstance(depth, int) or isinstance(depth, bool) or depth < 0):
        raise InvalidArgumentError(f"summary: depth={depth!r} must be a non-negative int, or None for all scopes.")
    return depth
