"""The running averages that old layers of their own keep: TensorFlow's `moving_averages.assign_moving_average`."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jscope import _path
from jscope.tf1 import initializers
from jscope.tf1._arrays import unwrap
from jscope.tf1._entering import variable_scope
from jscope.tf1._get_variable import get_variable
from jscope.tf1._scopes import get_variable_scope


def assign_moving_average(
    variable: Any, value: Any, decay: Any, zero_debias: bool = True, name: str | None = None
) -> Any:
    """Moves a variable towards a value, and returns what it then is: `decay * variable + (1 - decay) * value`.

    Args:
      variable: The variable, which is not trained.
      value: What it is moved towards.
      decay: How much of it stays.
      zero_debias: Whether the average forgets what the variable began with. It is then that of all values so far, and
        two more variables remember them, `biased` and `local_step`, in a scope named like the variable below the
        current one. (At the root that is the name of the variable, which cannot be both: `NameConflictError`.)
      name: The name of the result.
    """
    old = variable.__jax_array__()
    new, rest = jnp.asarray(unwrap(value)).astype(old.dtype), 1.0 - jnp.asarray(unwrap(decay), old.dtype)
    if not zero_debias:
        return variable.assign(old - (old - new) * rest, name=name)
    with variable_scope(variable.op.name):
        kind = {"dtype": old.dtype, "trainable": False, "initializer": initializers.zeros}
        biased = get_variable(_free("biased"), old.shape, **kind)
        steps = get_variable(_free("local_step"), [], **kind)
    total = biased.assign(biased - (biased - new) * rest)
    return variable.assign(total / (1.0 - (1.0 - rest) ** steps.assign_add(1.0)), name=name)


def _free(name: str) -> str:
    """Returns the name, with a number where the scope has a variable of that name and does not reuse it."""
    scope = get_variable_scope()
    taken = () if scope.reuse else {_path.basename(each.op.name) for each in scope.global_variables()}
    numbered = (f"{name}_{number}" for number in range(1, len(taken) + 2))
    return name if name not in taken else next(each for each in numbered if each not in taken)
