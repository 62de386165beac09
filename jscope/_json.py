"""Specs as JSON: enough to check and read a checkpoint, not enough to make initial values again."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jscope._spec import StackAxis, VariableSpec
from jscope.errors import InvalidArgumentError

VERSION = 1
_CALLABLES = ("initializer", "regularizer", "constraint")


def encode(specs: Mapping[str, VariableSpec]) -> str:
    """Returns specs by name as JSON text: a line for each variable, sorted, and nothing that depends on the machine."""
    rows = [f"  {json.dumps(name)}: {json.dumps(_row(specs[name]), sort_keys=True)}" for name in sorted(specs)]
    variables = ",\n".join(rows)
    return f'{{\n "jscope.specs": {VERSION},\n "variables": {{\n{variables}\n }}\n}}'


def decode(text: str) -> dict[str, VariableSpec]:
    """Returns the specs by name that `encode` wrote."""
    try:
        data = json.loads(text)
        if data["jscope.specs"] != VERSION:
            raise ValueError(f"version {data['jscope.specs']!r}")
        return {name: _spec(row) for name, row in data["variables"].items()}
    # Valid JSON may be anything: a list, rows without a field, fields of other types.
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgumentError(
            f"This is not what `Specs.to_json` of jscope writes (version {VERSION}): {error}."
        ) from error


def name_of(value: Any) -> str:
    """Returns a readable name of a callable, or of an array by shape and dtype.

    >>> name_of(len), name_of(np.zeros(3))
    ('len', 'float64[3]')
    """
    # In specs that were read from JSON, callables are names already.
    if isinstance(value, str):
        return value
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, functools.partial):
        given = [*map(repr, value.args), *(f"{name}={item!r}" for name, item in value.keywords.items())]
        return f"{name_of(value.func)}({', '.join(given)})"
    return getattr(value, "__qualname__", str(value)).rpartition("<locals>.")[2]


def stable_name_of(value: Any) -> str:
    """Returns a readable name that is the same in every process: without the addresses that Python prints of objects.

    >>> stable_name_of(functools.partial(len, object()))
    'len(<object object>)'
    """
    return re.sub(r" at 0x[0-9a-f]+", "", name_of(value))


def _row(spec: VariableSpec) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(spec, name) for name in ("path", "trainable")}
    for name in _CALLABLES:
        value = getattr(spec, name)
        row[name] = None if value is None else stable_name_of(value)
    row |= {"shape": list(spec.shape), "dtype": np.dtype(spec.dtype).name, "collections": list(spec.collections)}
    row["axes"] = None if spec.axes is None else list(spec.axes)
    row["stack"] = [[axis.depth, axis.size, axis.name] for axis in spec.stack]
    return row


def _spec(row: dict[str, Any]) -> VariableSpec:
    fields = dict(row)
    fields |= {name: tuple(fields[name]) for name in ("shape", "collections")}
    # NumPy knows `bfloat16` and its like by name, because JAX has registered them.
    fields["dtype"] = np.dtype(fields["dtype"])
    fields["axes"] = None if fields["axes"] is None else tuple(fields["axes"])
    fields["stack"] = tuple(StackAxis(*axis) for axis in fields["stack"])
    return VariableSpec(**fields)
