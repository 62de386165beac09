"""Synchronization and aggregation: how TensorFlow keeps copies of a variable on several devices.

JAX has one array on all devices, so these have no effect; they are checked as in TensorFlow, and `ON_READ` still makes
a variable not trainable.
"""

from __future__ import annotations

import enum
from typing import Any

from jscope.tf1._errors import ArgumentError


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


def checked(synchronization: Any, aggregation: Any, trainable: Any, name: Any) -> tuple[Any, Any, Any]:
    """Returns the first three arguments resolved, or raises TensorFlow's error."""
    if synchronization is VariableSynchronization.AUTO and aggregation is VariableAggregation.NONE:
        return synchronization, aggregation, True if trainable is None else trainable
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
