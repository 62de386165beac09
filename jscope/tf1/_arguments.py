"""What old code passes by name: initializers as `tf` itself spells them, `no_regularizer`, and how to synchronize.

Synchronization and aggregation say how TensorFlow keeps copies of a variable on several devices. JAX has one array on
all devices, so they have no effect; they are checked as in TensorFlow, and `ON_READ` still makes a variable not
trainable.
"""

from __future__ import annotations

import enum
from typing import Any

from jscope.tf1 import initializers
from jscope.tf1._errors import ArgumentError

constant_initializer = initializers.constant
glorot_normal_initializer = initializers.glorot_normal
glorot_uniform_initializer = initializers.glorot_uniform
ones_initializer = initializers.ones
orthogonal_initializer = initializers.orthogonal
random_normal_initializer = initializers.random_normal
random_uniform_initializer = initializers.random_uniform
truncated_normal_initializer = initializers.truncated_normal
uniform_unit_scaling_initializer = initializers.uniform_unit_scaling
variance_scaling_initializer = initializers.variance_scaling
zeros_initializer = initializers.zeros

ZEROS, ONES = zeros_initializer(), ones_initializer()
"""How the variables of layers start that start as constants."""


def no_regularizer(_: Any) -> None:
    """Switches an inherited regularizer off: `regularizer=tf1.no_regularizer`."""
    return


class VariableSynchronization(enum.Enum):
    """When copies of a variable are made equal. Without effect here."""

    AUTO = 0
    NONE = 1
    ON_WRITE = 2
    ON_READ = 3


class VariableAggregation(enum.Enum):
    """How updates from several devices are combined. Without effect here."""

    NONE = 0
    SUM = 1
    MEAN = 2
    ONLY_FIRST_REPLICA = 3


def resolve_synchronization(synchronization: Any, aggregation: Any, trainable: Any, name: Any) -> tuple[Any, Any, Any]:
    """Returns the first three arguments with their defaults filled in, or raises TensorFlow's error."""
    # Nearly every request passes neither, and need not pay for two lookups of enum members.
    if synchronization is VariableSynchronization.AUTO and aggregation is VariableAggregation.NONE:
        return synchronization, aggregation, True if trainable is None else trainable
    # Aggregation first, as in TensorFlow: where both are wrong, the error is about it.
    try:
        aggregation = VariableAggregation(VariableAggregation.NONE if aggregation is None else aggregation)
    except ValueError:
        raise ArgumentError(f"Invalid variable aggregation mode: {aggregation} for variable: {name}") from None
    try:
        asked = VariableSynchronization.AUTO if synchronization is None else synchronization
        synchronization = VariableSynchronization(asked)
    except ValueError:
        raise ArgumentError(f"Invalid variable synchronization mode: {synchronization} for variable: {name}") from None
    if trainable is None:
        trainable = synchronization is not VariableSynchronization.ON_READ
    return synchronization, aggregation, trainable
