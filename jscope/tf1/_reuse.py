"""What exists, made by `get_variable` or by explicit code under the same scope; and the errors of reuse."""

from __future__ import annotations

from typing import Any

from jscope._util._text import did_you_mean
from jscope.errors import DuplicateVariableError
from jscope.tf1 import _bridge
from jscope.tf1._ambient import Ambient
from jscope.tf1._errors import MissingReuseError, advised
from jscope.tf1._variables import Variable


def shared(ambient: Ambient, name: Any) -> Any:
    """Returns what `get_variable` returned under this name in the running call, or None."""
    return ambient.memory.store.get(name)


def exists(ambient: Ambient, name: Any) -> bool:
    """Whether reuse finds the variable: made by `get_variable`, or by explicit code under the same scope.

    In `apply` explicit code makes nothing; so there reuse also finds what is in the params, and nothing but the store
    counts as created before.
    """
    if name in ambient.memory.store:
        return True
    if not ambient.collecting or not isinstance(name, str):
        return False
    # What this call made but its memory does not hold was made by the first run of a body that JAX now runs again:
    # the second run creates it as the first did.
    return name not in ambient.made and _bridge.has_variable(ambient.scope, name)


def in_params(ambient: Ambient, name: Any) -> bool:
    """Whether the params of this `apply` have the variable."""
    return not ambient.collecting and isinstance(name, str) and _bridge.has_variable(ambient.scope, name)


def refuse_existing(ambient: Ambient, name: Any, site: str, *, partitioned: bool = False) -> DuplicateVariableError:
    """Makes the error for a variable that exists where it must not."""
    found = ambient.memory.store.get(name)
    first = (
        found.facts.site if isinstance(found, Variable) else getattr(_bridge.specs(ambient.scope).get(name), "site", "")
    )
    hint = "Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in VarScope?"
    sentence = (
        f"Partitioned variable with name {name} already exists. {hint}"
        if partitioned
        else f"Variable {name} already exists, disallowed. {hint}"
    )
    return DuplicateVariableError(
        advised(
            sentence,
            f"It was created at {first}, and is asked for again at {site}."
            if first
            else f"It is asked for again at {site}.",
            "If both are meant to share it, enter the scope again with `reuse=True` or `reuse=tf1.AUTO_REUSE`; "
            "otherwise give "
            "one of them a scope of its own, such as `tf1.variable_scope(None, default_name=...)`.",
        )
    )


def refuse_missing(
    ambient: Ambient, name: Any, site: str, reuse_site: str, *, partitioned: bool = False
) -> MissingReuseError:
    """Makes the error for a variable that does not exist where it must."""
    known = [key for key in (*ambient.made, *_bridge.specs(ambient.scope)) if isinstance(key, str)]
    near = did_you_mean(name, dict.fromkeys(known)).strip() if isinstance(name, str) else ""
    sentence = (
        f"PartitionedVariable {name} does not exist, or was not created with tf.get_variable(). Did you mean to set "
        "reuse=False or reuse=tf.AUTO_REUSE in VarScope?"
        if partitioned
        else f"Variable {name} does not exist, or was not created with tf.get_variable(). Did you mean to set "
        "reuse=tf.AUTO_REUSE in VarScope?"
    )
    cause = f" Reuse was set by {reuse_site}." if reuse_site else ""
    return MissingReuseError(advised(sentence, f"It is asked for at {site}.{cause}", near))
