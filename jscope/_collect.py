"""One abstract trace finds out which variables a function has.

`jax.eval_shape` runs the function on shapes, which takes neither arithmetic nor memory. Arguments that are not arrays
stay what they are, so that `if is_training:` works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jscope._frame import Frame, Replay
from jscope._scope import root
from jscope._spec import DataDependent, VariableSpec
from jscope._types import Key
from jscope._util._compiled import moved
from jscope._util._gc import gc_paused
from jscope._util._hints import hint, noting
from jscope.errors import InvalidArgumentError

CONTROL_FLOW_NOTE = (
    "jscope: `init` and `specs` run the model on abstract inputs (shapes and dtypes, no values), as `jax.jit` does. "
    "Python control flow needs values: pass what decides it as a Python bool or int (those stay static, unless a "
    '`jax.jit` around traces them: `jax.jit(model.init, static_argnames="training")`), or use `jax.lax.cond`, '
    "`jax.numpy.where`, ..."
)


LAZY = ", which would run after the call.\nReturn a list: `[dense(scope / str(i), x, 8) for i in range(3)]`."


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a scope with the arguments of one call, and the sizes of the mapped axes it names."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    axes: tuple[tuple[str, int], ...]

    @gc_paused()
    def collect(self, key: Key | None) -> list[VariableSpec]:
        """Returns the specs of the variables that the call creates, in that order."""
        found: list[VariableSpec] = []
        arrays, rebuild = split_arrays(self.args, self.kwargs)

        # New for every call: of a function that it knows, JAX would answer from its cache, and find no variables.
        def run(key: Key, arrays: list[Any]) -> None:
            # The frame begins inside the trace, which is therefore its own: see `Frame.trace`.
            with Frame(collecting=True) as frame:
                args, kwargs = rebuild(arrays)
                try:
                    out = self.function(root(frame, key), *args, **kwargs)
                    if hasattr(type(out), "__next__"):
                        raise InvalidArgumentError(f"The model returned a `{type(out).__name__}`{LAZY}")
                # Here, where JAX has not yet taken its own frames out of the traceback.
                except Exception as error:
                    hint(error)
                    raise
            # Only now it is known what a getter was never asked for.
            for getter, names in frame.consulted.values():
                getter.check_used(names)
            # Specs are not arrays, so `eval_shape` could not return them. They hold no tracer that would leak.
            found.extend(frame.specs.values())

        # Only its type is needed, and to make a key would touch a device.
        key = jax.eval_shape(lambda: jax.random.key(0)) if key is None else key
        try:
            # Without `jit`, loops of JAX run their body once for each iteration, which would create variables again.
            with jax.disable_jit(False):
                jax.eval_shape(under_axes(run, self.axes), key, arrays)
        except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
            error.add_note(CONTROL_FLOW_NOTE)
            raise
        return found

    def complete(self, key: Key, placed: Iterable[tuple[VariableSpec, Any]], values: dict[str, Any]) -> dict[str, Any]:
        """Returns the initial values that depend on data, by path: one jitted forward pass on the other values."""
        arrays, rebuild = split_arrays(self.args, self.kwargs)
        known = {spec.path: spec for spec, _ in placed}
        places = {spec.path: sharding for spec, sharding in placed}
        if any(isinstance(array, jax.ShapeDtypeStruct) for array in arrays):
            next(spec.initializer for spec in known.values() if isinstance(spec.initializer, DataDependent)).refuse()

        def run(key: Key, values: dict[str, Any], arrays: list[Any]) -> dict[str, Any]:
            replay = Replay(key, known, dict(values))
            # Stateful, because lifts run their bodies on values here, as in `apply`, and those may need the state.
            with Frame(collecting=True, stateful=True, replay=replay) as frame:
                args, kwargs = rebuild(arrays)
                self.function(root(frame, key), *args, **kwargs)
            return replay.computed

        with noting("while computing initial values that depend on data. Put inputs on the devices of the variables."):
            made = jax.jit(under_axes(run, self.axes))(key, values, arrays)
        # The forward pass computes them where its inputs are.
        return {path: moved(value, places[path]) for path, value in made.items()}


def is_data_dependent(spec: VariableSpec) -> bool:
    """Whether only `complete` can make the initial value."""
    return isinstance(spec.initializer, DataDependent)


def split_arrays(args: Any, kwargs: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Takes the arrays out of the arguments; returns them and what puts them back."""
    leaves, treedef = jax.tree.flatten((args, dict(kwargs)))
    is_array = [isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct) for leaf in leaves]

    def rebuild(arrays: list[Any]) -> Any:
        rest = iter(arrays)
        return jax.tree.unflatten(
            treedef, [next(rest) if a else leaf for a, leaf in zip(is_array, leaves, strict=True)]
        )

    return [leaf for a, leaf in zip(is_array, leaves, strict=True) if a], rebuild


def under_axes(function: Callable[..., Any], axes: tuple[tuple[str, int], ...]) -> Callable[..., Any]:
    """Binds names of mapped axes, so that collectives such as `lax.pmean(x, "batch")` can be traced."""
    for name, size in axes:
        function = jax.vmap(function, in_axes=None, out_axes=None, axis_name=name, axis_size=size)
    return function
