"""What the layers of `tf.contrib` have in common: the names of variables, and where they and outputs are collected.

They are the layers of `tf1.layers` under another scope, whose custom getter renames `kernel` to `weights` and `bias` to
`biases`, and puts every variable into `MODEL_VARIABLES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jscope import _path
from jscope.tf1._entering import variable_scope
from jscope.tf1._errors import ArgumentError
from jscope.tf1._tensors import tensor
from jscope.tf1._variables import PartitionedVariable
from jscope.tf1.contrib.framework._variables import add_once, model_variable
from jscope.tf1.contrib.layers.utils import collect_named_outputs, get_variable_collections
from jscope.tf1.layers._kernel import KernelLayer

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


def options_of(
    weights_initializer: Any,
    weights_regularizer: Any,
    biases_initializer: Any,
    biases_regularizer: Any,
    trainable: bool,
) -> dict[str, Any]:
    """Returns the options of a layer's variables as `tf1.layers` calls them."""
    kernel = {"kernel_initializer": weights_initializer, "kernel_regularizer": weights_regularizer}
    bias = {"bias_initializer": biases_initializer, "bias_regularizer": biases_regularizer}
    return {**kernel, **bias, "trainable": trainable}


def layer_output(
    kind: type[KernelLayer],
    inputs: Any,
    sc: Any,
    reuse: Any,
    normalizer_fn: Any,
    variables_collections: Any,
    *sizes: Any,
    kernels: tuple[str, ...] = ("kernel",),
    **options: Any,
) -> Any:
    """Returns the output of a layer under the scope `sc`, after its variables were put into their collections."""
    # A normalizer subtracts the mean, so a bias before it would have no effect.
    use_bias = not normalizer_fn and options["bias_initializer"]
    where = {"name": sc.name, "dtype": inputs.dtype, "_scope": sc, "_reuse": reuse}
    # By its full name and its scope as it stands: the scope is open already, so the layer must not open another one.
    layer = kind(*sizes, use_bias=use_bias, **options, **where)
    outputs = layer(inputs)
    for kernel in kernels:
        collect_variable(getattr(layer, kernel), variables_collections, "weights")
    collect_variable(layer.bias, variables_collections, "biases")
    return outputs


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


def collect_variable(variable: Any, variables_collections: Any, name: str) -> None:
    """Puts a variable of a layer into its collections, unless it is there."""
    # A layer without a bias has none.
    if variable is None:
        return
    # Of a variable that is cut, the collections hold the parts.
    parts = variable.parts() if isinstance(variable, PartitionedVariable) else [variable]
    for collection in get_variable_collections(variables_collections, name) or []:
        for part in parts:
            add_once(collection, part)


def layout(data_format: str | None, allowed: tuple[str, ...] = ("NHWC", "NCHW")) -> str:
    """Returns `data_format` as `tf1.layers` spells it."""
    if data_format not in allowed:
        raise ArgumentError(
            f"data_format has to be either {' or '.join(reversed(allowed))}."
            if len(allowed) == 2
            else f"Invalid data_format: {data_format!r}"
        )
    return "channels_first" if data_format and data_format.startswith("NC") else "channels_last"
