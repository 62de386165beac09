"""Reuse: which variables exist, whether a request fits the one it finds, and the errors where it does not.

A variable exists once `get_variable` returned it in the running call, or explicit code under the same scope created it.
"""

from __future__ import annotations

from typing import Any

from jscope._util._text import did_you_mean
from jscope.errors import DTypeMismatchError, DuplicateVariableError, ShapeMismatchError
from jscope.tf1 import _bridge
from jscope.tf1._ambient import Ambient
from jscope.tf1._errors import ArgumentError, MissingReuseError, advised
from jscope.tf1._request import VariableRequest
from jscope.tf1._shapes import TensorShape
from jscope.tf1._variables import Variable, make_handle


def stored(ambient: Ambient, name: Any) -> Any:
    """Returns what `get_variable` returned under this name in the running call, or None."""
    return ambient.memory.store.get(name)


def exists(ambient: Ambient, name: Any) -> bool:
    """Whether the variable was created before: by `get_variable`, or by explicit code under the same scope.

    In `apply` explicit code creates nothing, so there only what `get_variable` returned counts.
    """
    if name in ambient.memory.store:
        return True
    if not ambient.collecting or not isinstance(name, str):
        return False
    # What this call made but its memory does not hold was made by the first run of a body that JAX now runs again:
    # the second run creates it as the first did.
    return name not in ambient.handles and _bridge.has_variable(ambient.core_scope, name)


def is_in_params(ambient: Ambient, name: Any) -> bool:
    """Whether the params or the state of this `apply` have the variable."""
    return not ambient.collecting and isinstance(name, str) and _bridge.has_variable(ambient.core_scope, name)


def get_existing(ambient: Ambient, request: VariableRequest) -> Any:
    """Returns the variable that exists, after comparing what was asked with what is there.

    Shape, dtype and partitions are compared. TensorFlow ignores everything else that was asked, and so does this.
    """
    found = stored(ambient, request.name)
    if found is None:
        found = _adopt(ambient, request)
    if not isinstance(found, Variable):
        return found
    facts = found.facts
    verb = f"{'share' if facts.partitions is None else 'reuse partitioned'} variable {request.name}"
    advice = f"It was created at {facts.site}." if facts.site else ""
    if request.shape is not None and facts.shape is not None and not request.shape.is_compatible_with(facts.shape):
        raise ShapeMismatchError(
            advised(f"Trying to {verb}, but specified shape {request.shape} and found shape {facts.shape}.", advice)
        )
    if facts.dtype is not None and request.dtype != facts.dtype:
        raise DTypeMismatchError(
            advised(
                f"Trying to {verb}, but specified dtype {request.dtype.name} and found dtype {facts.dtype.name}.",
                advice,
                "A dtype that is not given is the scope's.",
            )
        )
    if request.partitions is not None and facts.partitions != request.partitions:
        raise ArgumentError(
            f"Trying to {verb}, but specified partitions {request.partitions} and found partitions {facts.partitions}."
        )
    return found


def _adopt(ambient: Ambient, request: VariableRequest) -> Variable:
    """Returns a handle of a variable that explicit code has created."""
    spec = _bridge.specs(ambient.core_scope)[request.name]
    # Inside a lift the code sees one slice of the variable, without the axes that the lift stacks.
    shape = TensorShape(spec.unstacked_shape)
    known = spec.path, shape, spec.dtype, spec.trainable, spec.constraint
    variable = ambient.memory.store[request.name] = make_handle(ambient.itself, *known, site=spec.site)
    ambient.handles[request.name] = variable
    return variable


def exists_error(ambient: Ambient, request: VariableRequest, *, partitioned: bool = False) -> DuplicateVariableError:
    """Makes the error for a variable that exists where it must not."""
    found = stored(ambient, request.name)
    spec = _bridge.specs(ambient.core_scope).get(request.name)
    first = found.facts.site if isinstance(found, Variable) else getattr(spec, "site", "")
    hint = "Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in VarScope?"
    sentence = (
        f"Partitioned variable with name {request.name} already exists. {hint}"
        if partitioned
        else f"Variable {request.name} already exists, disallowed. {hint}"
    )
    where = f"It was created at {first}, and is asked for again at" if first else "It is asked for again at"
    return DuplicateVariableError(
        advised(
            sentence,
            f"{where} {request.site}.",
            "If both are meant to share it, enter the scope again with `reuse=True` or `reuse=tf1.AUTO_REUSE`; "
            "otherwise give one of them a scope of its own, such as `tf1.variable_scope(None, default_name=...)`.",
        )
    )


def missing_error(ambient: Ambient, request: VariableRequest, *, partitioned: bool = False) -> MissingReuseError:
    """Makes the error for a variable that does not exist where it must."""
    name = request.name
    known = [key for key in (*ambient.handles, *_bridge.specs(ambient.core_scope)) if isinstance(key, str)]
    near = did_you_mean(name, dict.fromkeys(known)).strip() if isinstance(name, str) else ""
    kind, flags = ("PartitionedVariable", "reuse=False or reuse") if partitioned else ("Variable", "reuse")
    cause = f" Reuse was set by {request.reuse_site}." if request.reuse_site else ""
    return MissingReuseError(
        advised(
            f"{kind} {name} does not exist, or was not created with tf.get_variable(). "
            f"Did you mean to set {flags}=tf.AUTO_REUSE in VarScope?",
            f"It is asked for at {request.site}.{cause}",
            near,
        )
    )
