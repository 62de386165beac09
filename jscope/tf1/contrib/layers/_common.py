"""What the layers of `tf.contrib` have in common: the names of variables, and where they and outputs are collected.

They are the layers of `tf1.layers` under another scope, whose custom getter renames `kernel` to `weights` and `bias` to
`biases`, and puts every variable into `MODEL_VARIABLES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jscope import _path
from jscope.tf1._collections import add_to_collections, get_collection
from jscope.tf1._entering import variable_scope
from jscope.tf1._errors import ArgumentError
from jscope.tf1._tensors import tensor
from jscope.tf1.contrib.framework._variables import model_variable
from jscope.tf1.contrib.layers.utils import collect_named_outputs

RENAMED = {"bias": "biases", "kernel": "weights"}
relu = jax.nn.relu


def layer_scope(scope: Any, default: str, reuse: Any, renamed: dict[str, str] | None = None) -> variable_scope:
    """Returns the variable scope of a layer, in which variables are those of models."""
    return variable_scope(scope, default, reuse=reuse, custom_getter=_model_getter(renamed or {}))


def _model_getter(renamed: dict[str, str]) -> Callable[..., Any]:
    def getter(getter: Callable[..., Any], name: str, **options: Any) -> Any:
        last = _path.basename(name)
        name = name[: len(name) - len(last)] + renamed.get(last, last)
        # What TensorFlow's getter knows; reuse is that of the scope, and the others are left out.
        known = ("shape", "dtype", "initializer", "regularizer", "collections", "trainable", "caching_device")
        kept = {role: options[role] for role in (*known, "partitioner", "use_resource") if role in options}
        return model_variable(name, **kept, custom_getter=getter)

    return getter


def finished(
    outputs: Any,
    sc: Any,
    normalizer_fn: Callable[..., Any] | None,
    normalizer_params: dict[str, Any] | None,
    activation_fn: Callable[..., Any] | None,
    outputs_collections: Any,
) -> Any:
    """Returns the output of a layer after its normalizer and its activation, and collects it under the layer's name."""
    if normalizer_fn is not None:
        outputs = normalizer_fn(outputs, **(normalizer_params or {}))
    return activated(outputs, sc, activation_fn, outputs_collections)


def activated(outputs: Any, sc: Any, activation_fn: Callable[..., Any] | None, outputs_collections: Any) -> Any:
    """Returns the output of a layer after its activation, and collects it under the layer's name."""
    if activation_fn is not None:
        outputs = tensor(activation_fn(outputs))
    return collect_named_outputs(outputs_collections, sc.name, outputs)


def collections_of(variables_collections: Any, name: str) -> Any:
    """Returns the collections of one variable of a layer: a dict has them by name."""
    return variables_collections.get(name) if isinstance(variables_collections, dict) else variables_collections


def collect_variable(variable: Any, variables_collections: Any, name: str) -> None:
    """Puts a variable of a layer into its collections, unless it is there."""
    if variable is None:
        return
    parts = list(variable) if getattr(getattr(variable, "facts", None), "partitions", None) else [variable]
    for collection in collections_of(variables_collections, name) or []:
        for part in parts:
            if not any(each is part for each in get_collection(collection)):
                add_to_collections([collection], part)


def layout(data_format: str | None, allowed: tuple[str, ...] = ("NHWC", "NCHW")) -> str:
    """Returns `data_format` as `tf1.layers` spells it."""
    if data_format not in allowed:
        raise ArgumentError(
            f"data_format has to be either {' or '.join(reversed(allowed))}."
            if len(allowed) == 2
            else f"Invalid data_format: {data_format!r}"
        )
    return "channels_first" if data_format and data_format.startswith("NC") else "channels_last"
