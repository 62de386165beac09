"""Exponential moving averages of variables, with TensorFlow's names.

The average of `w` is the state variable `w/ExponentialMovingAverage`, below the current variable scope. It begins with
the initial value of `w`, and `apply` moves it towards the value that `w` has then.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope import _path
from jscope._util._stack import call_site
from jscope.tf1 import _bridge, initializers
from jscope.tf1._ambient import Ambient, current
from jscope.tf1._collections import GraphKeys, add, get_collection, global_variables, trainable_variables
from jscope.tf1._entering import variable_scope
from jscope.tf1._errors import ArgumentError, ArgumentTypeError, advised
from jscope.tf1._tensors import TensorLike
from jscope.tf1._variables import Variable
from jscope.tf1._writing import Operation, group

_KEYLESS = (initializers.zeros, initializers.ones, initializers.constant)
"""Initializers that give one value, whatever the key is."""


class ExponentialMovingAverage:
    """Keeps averages of variables: `average = decay * average + (1 - decay) * value`.

    >>> from jscope import tf1
    >>> def model():
    ...     w = tf1.get_variable("w", [], initializer=tf1.zeros_initializer())
    ...     ema = tf1.train.ExponentialMovingAverage(0.9)
    ...     ema.apply([w])
    ...     return ema.average(w), ema.average_name(w)
    >>> model = tf1.transform_with_state(model)
    >>> params, state = model.init(jax.random.key(0))
    >>> (average, name), state = model.apply({"w": 1.0}, state)
    >>> round(float(average), 4), name
    (0.1, 'w/ExponentialMovingAverage')

    Args:
      decay: How much of the average stays.
      num_updates: How many updates there were; with it, early averages follow their variables faster.
      zero_debias: Must be False.
      name: The last part of the names of the averages.
    """

    def __init__(
        self, decay: Any, num_updates: Any = None, zero_debias: bool = False, name: str = "ExponentialMovingAverage"
    ) -> None:
        if zero_debias:
            raise ArgumentError(
                advised(
                    "`zero_debias` of `ExponentialMovingAverage` is not there.",
                    "Its variables would have names below that of the average. Divide by `1 - decay**steps`.",
                )
            )
        self._decay, self._num_updates, self._name = decay, num_updates, name

    @property
    def name(self) -> str:
        """The last part of the names of the averages."""
        return self._name

    def apply(self, var_list: Any = None) -> Operation:
        """Moves the averages of `var_list` (of all trainable variables, if None), and creates those that are new."""
        ambient = current("ExponentialMovingAverage.apply")
        variables = trainable_variables() if var_list is None else list(var_list)
        named: dict[Any, Any] = {}
        for each in variables:
            if not isinstance(each, TensorLike):
                raise ArgumentTypeError(f"Only variables and tensors have averages, not {each!r}.")
            if not jnp.issubdtype(np.dtype(each.dtype), jnp.floating):
                raise ArgumentTypeError(
                    f"The variables must be half, float, or double: {each.name} has dtype {each.dtype.name}."
                )
            # By their names they are found again, and TensorFlow, but not `jscope.tf1`, numbers those of tensors.
            if named.setdefault(_key(each), each) is not each and not isinstance(each, Variable):
                raise ArgumentError(
                    advised(
                        f"Two of the tensors whose averages are to be kept are both called `{each.name}`.",
                        "Give each the name that it has in TensorFlow: `tf.identity(x, name='Mean_1')`.",
                    )
                )
            if self.average(each) is None:
                self._create(ambient, each)
        decay = jnp.asarray(self._decay, jnp.float32)
        if self._num_updates is not None:
            count = jnp.asarray(self._num_updates).astype(jnp.float32)
            decay = jnp.minimum(decay, (1.0 + count) / (10.0 + count))
        for each in variables:
            average = self.average(each)
            old, new = average.__jax_array__(), each.__jax_array__()
            average.assign(old - (old - new.astype(old.dtype)) * (1.0 - decay).astype(old.dtype))
        return group(name=self._name)

    def average(self, var: Any) -> Any:
        """Returns the variable that holds the average, or None before `apply`."""
        return self._made(current("ExponentialMovingAverage.average")).get(_key(var))

    def average_name(self, var: Any) -> str:
        """Returns the full name of the average: the one that it has, or that it would have here."""
        average = self.average(var)
        if average is not None:
            return average.op.name
        scope = current("ExponentialMovingAverage.average_name").memory.name_stack
        name = _path.child(var.op.name, self._name)
        return _path.child(scope, name) if scope else name

    def variables_to_restore(self, moving_avg_variables: Any = None) -> dict[str, Any]:
        """Returns by which name of a checkpoint each variable is restored from its average, or else from itself."""
        if moving_avg_variables is None:
            averaged = [*trainable_variables(), *get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES)]
        else:
            averaged = list(moving_avg_variables)
        found = {self.average_name(each): each for each in dict.fromkeys(averaged)}
        known = {each.name for each in averaged}
        for each in global_variables():
            if each.name not in known:
                found.setdefault(each.op.name, each)
        return found

    def _made(self, ambient: Ambient) -> dict[Any, Any]:
        return ambient.memory.templates.get(self, {})

    def _create(self, ambient: Ambient, var: Any) -> None:
        # Below the current scope, and numbered where it is taken: so TensorFlow names what belongs to a variable.
        with variable_scope(None, _path.child(var.op.name, self._name)) as scope:
            pass
        start = _start_of(ambient, var)
        kind = {"trainable": False, "collections": None, "name": None, "dtype": None, "path": scope.name}
        rest = dict.fromkeys(("caching_device", "constraint", "use_resource", "synchronization", "aggregation"))
        average = ambient.make_variable(ambient, start, call_site(), **kind, **rest)
        if isinstance(var, Variable):
            add(ambient, GraphKeys.MOVING_AVERAGE_VARIABLES, var)
        ambient.memory.templates[self] = {**self._made(ambient), _key(var): average}


def _key(var: Any) -> Any:
    # By name: after JAX has run a body twice, or for a tensor that was wrapped anew, it is another object.
    return var.name


def _start_of(ambient: Ambient, var: Any) -> Any:
    """Returns what the average begins with: for a tensor zero, and otherwise what the variable begins with."""
    value = var.__jax_array__()
    if not isinstance(var, Variable):
        return np.zeros(value.shape, value.dtype)
    spec = _bridge.specs(ambient.core_scope).get(var.op.name)
    # What needs no key is told, and not computed by a run of the model.
    if spec is not None and isinstance(spec.initializer, np.ndarray):
        return spec.initializer
    if spec is not None and isinstance(spec.initializer, _KEYLESS):
        return lambda: spec.initializer(spec.shape, dtype=spec.dtype)
    return value if isinstance(value, Tracer) or ambient.collecting else np.zeros(value.shape, value.dtype)
