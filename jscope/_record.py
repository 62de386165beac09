"""What `get_variable` does while collecting: records a spec, checks sharing, gives a placeholder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
from jax.core import Tracer

from jscope._defaults import Defaults, Reuse, is_value
from jscope._frame import Frame, Lifted
from jscope._materialize import initial_value
from jscope._request import check_agrees, new_spec
from jscope._rng import Entry
from jscope._spec import DataDependent, StackAxis, VariableSpec
from jscope._util._same import same
from jscope.errors import InvalidArgumentError, NativeTransformError, noting


def record(
    frame: Frame,
    path: str,
    entry: Entry,
    site: str,
    defaults: Defaults,
    lifted: Lifted | None,
    reuse: Reuse | None,
    options: dict[str, Any],
) -> jax.Array:
    """Creates the variable `path`, or shares it where it exists; returns a placeholder of its shape and dtype."""
    only_reads = reuse is None and options.get("shape") is None and options.get("initializer") is None
    reuse = defaults.reuse if reuse is None else reuse
    stack = lifted.stack_of(path) if lifted is not None else ()
    frame.asked.add(path)
    spec = frame.specs.get(path)
    if spec is not None:
        if reuse is False and not only_reads:
            frame.share(path, entry, site)
        one = replace(spec, shape=spec.shape[len(stack) :])
        trainable = spec.trainable if only_reads else options.get("trainable", True)
        check_agrees(one, options.get("shape"), options.get("dtype"), trainable, site)
    elif reuse is True:
        raise frame.missing(path, site)
    elif lifted is not None and lifted.refusal is not None:
        raise InvalidArgumentError(f"Variable `{path}` would be created {lifted.refusal} (at {site}).")
    else:
        one = _settled(frame, new_spec(path, defaults, site, **options))
        frame.create(_stacked(one, stack), entry)
    return frame.placeholder(one, one.shape)


def _stacked(spec: VariableSpec, stack: tuple[StackAxis, ...]) -> VariableSpec:
    """Returns the spec with the leading axes of the lifts around it."""
    if not stack:
        return spec
    axes = None if spec.axes is None else (*(axis.name for axis in stack), *spec.axes)
    return replace(spec, shape=(*(axis.size for axis in stack), *spec.shape), stack=stack, axes=axes)


def _settled(frame: Frame, spec: VariableSpec) -> VariableSpec:
    """Computes an initial value that depends on data, so that no spec ever stores a tracer."""
    if id(spec.initializer) in frame.plain or not _is_traced(spec):
        frame.plain[id(spec.initializer)] = spec.initializer
        return spec
    if frame.trace() != 0:
        raise NativeTransformError(
            f"The initial value of `{spec.path}` (created at {spec.site}) depends on data inside a JAX transform, "
            "where it cannot be computed.\nCreate the variable outside the transform, or give it an initializer "
            "function that depends on its key, shape and dtype alone."
        )
    if frame.key is not None:
        frame.values[spec.path] = frame.initial[spec.path] = initial_value(spec, frame.key)
    return replace(spec, initializer=DataDependent(spec.path))


def _is_traced(spec: VariableSpec) -> bool:
    if is_value(spec.initializer):
        return isinstance(spec.initializer, Tracer)
    if same(spec.initializer).by_value:
        return False
    key = jax.eval_shape(lambda: jax.random.key(0))
    assert callable(spec.initializer)
    with noting(f"while making the initial value of `{spec.path}` (created at {spec.site})."):
        make = spec.initializer
        jaxpr = jax.make_jaxpr(lambda key: make(key, spec.shape, spec.dtype))(key)
    return any(isinstance(const, Tracer) for const in jaxpr.consts)
