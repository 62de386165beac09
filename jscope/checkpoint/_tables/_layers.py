"""Which layers a model has, by the names and shapes of its variables.

Names of variables are those of `jscope.nn` everywhere, and so say what a layer is: `recurrent_kernel` is in a recurrent
cell, of which the shape tells how many gates. What they do not say is said by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from jscope import _path
from jscope._spec import StackAxis, VariableSpec
from jscope._types import Shape
from jscope._util import _text
from jscope.checkpoint._errors import ConversionError

Kinds: TypeAlias = Mapping[str, "str | None"]
"""What layers are whose names do not tell: `{regular expression in the path of their scope: kind, or None}`."""

KINDS = (
    "attention", "bias", "conv", "conv_transpose", "dense", "depthwise_conv", "embedding", "gru", "gru_reset_before",
    "lstm", "norm", "other", "rms_norm", "rnn", "separable_conv",
)  # fmt: skip
"""The kinds of layers; `other` is what goes by its own names everywhere."""

CELLS = ("gru", "gru_reset_before", "lstm", "rnn")
"""The kinds that run over time."""

_CELLS = {1: "rnn", 3: "gru", 4: "lstm"}
_ALONE = {
    "depthwise_kernel": "depthwise_conv",
    "embeddings": "embedding",
    "gamma": "norm",
    "beta": "norm",
    "moving_mean": "norm",
    "scale": "rms_norm",
}
_PROJECTIONS = ("query", "key", "value", "attention_output")


@dataclass(frozen=True)
class Layer:
    """A layer of a model.

    Attributes:
      scope: The path of its scope.
      kind: One of `KINDS`.
      specs: Its variables, by their names below the scope.
    """

    scope: str
    kind: str
    specs: Mapping[str, VariableSpec]

    @property
    def stack(self) -> tuple[StackAxis, ...]:
        """The axes along which there are several such layers."""
        return next(iter(self.specs.values())).stack

    def shape(self, name: str) -> Shape:
        """Returns the shape of a variable of one such layer."""
        return self.specs[name].unstacked_shape


def layers_of(specs: Mapping[str, VariableSpec], told: Kinds) -> list[Layer]:
    """Returns the layers that have these variables, in their order.

    >>> def model(scope, x):
    ...     return jscope.nn.layer_norm(scope / "norm", jscope.nn.dense(scope / "in", x, 3))
    >>> found = layers_of(jscope.specs(model, jnp.ones((1, 2))).flat(), {})
    >>> [(layer.scope, layer.kind) for layer in found]
    [('in', 'dense'), ('norm', 'norm')]

    Raises:
      ConversionError: `told` has a kind that there is not, or an expression that no scope matches.
    """
    _check(told)
    scopes: dict[str, dict[str, VariableSpec]] = {}
    for path, spec in specs.items():
        scopes.setdefault(_path.parent(path), {})[_path.basename(path)] = spec
    attentions = {_path.parent(scope) for scope in scopes if _is_attention(_path.parent(scope), scopes)}
    for scope in attentions:
        parts = {_path.join(scope, name): name for name in _PROJECTIONS}
        scopes[scope] = {
            **scopes.get(scope, {}),
            **{_path.join(name, leaf): spec for part, name in parts.items() for leaf, spec in scopes.pop(part).items()},
        }
    unused = {regex: None for regex in told if not any(re.search(regex, scope) for scope in scopes)}
    if unused:
        regex = next(iter(unused))
        raise ConversionError(f"`layers`: no scope matches `{regex}`.{_text.did_you_mean(regex, scopes)}")
    kinds = {scope: _kind(scope, each, scope in attentions, told) for scope, each in scopes.items()}
    return [Layer(scope, kind, scopes[scope]) for scope, kind in kinds.items() if kind is not None]


def assumed(specs: Mapping[str, VariableSpec]) -> Kinds:
    """Returns the layers whose names and shapes are those of another kind, too, as which that is told.

    >>> specs = jscope.specs(lambda scope, x: jscope.nn.conv(scope / "conv", x, 3, 2), jnp.ones((1, 4, 4, 3)))
    >>> assumed(specs.flat())
    {'^conv$': 'conv_transpose'}
    """
    found = {}
    for layer in layers_of(specs, {}):
        scope = f"^{re.escape(layer.scope)}$"
        if layer.kind == "conv" and ("bias" not in layer.specs or len({*layer.shape("kernel")[-2:]}) == 1):
            found[scope] = "conv_transpose"
        if layer.kind == "gru" and "bias" not in layer.specs:
            found[scope] = "gru_reset_before"
    return found


def _check(told: Kinds) -> None:
    for regex, kind in told.items():
        _text.pattern(regex, "`layers`: ")
        if kind is not None and kind not in KINDS:
            near = _text.did_you_mean(str(kind), KINDS)
            raise ConversionError(f"`layers` has {kind!r} for `{regex}`; there are {', '.join(KINDS)}, and None.{near}")


def _is_attention(scope: str, scopes: Mapping[str, Mapping[str, VariableSpec]]) -> bool:
    kernels = [scopes.get(_path.join(scope, name), {}).get("kernel") for name in _PROJECTIONS]
    # Only with an axis of heads: four matrices under these names are four dense layers.
    return all(kernel is not None and len(kernel.unstacked_shape) == 3 for kernel in kernels)


def _kind(scope: str, specs: Mapping[str, VariableSpec], is_attention: bool, told: Kinds) -> str | None:
    for regex, kind in told.items():
        if re.search(regex, scope):
            return kind
    if is_attention:
        return "attention"
    if "recurrent_kernel" in specs:
        return _cell(specs)
    if "depthwise_kernel" in specs and "pointwise_kernel" in specs:
        return "separable_conv"
    if "kernel" in specs:
        return _of_kernel(specs)
    if set(specs) == {"bias"}:
        return "bias"
    return next((kind for name, kind in _ALONE.items() if name in specs), "other")


def _cell(specs: Mapping[str, VariableSpec]) -> str:
    units, width = specs["recurrent_kernel"].unstacked_shape[-2:]
    kind = _CELLS.get(width // units, "other") if len(specs["recurrent_kernel"].unstacked_shape) == 2 else "other"
    # The two bring the state in at different places, which shows only in whether it has a bias of its own.
    before = kind == "gru" and "bias" in specs and len(specs["bias"].unstacked_shape) == 1
    return "gru_reset_before" if before else kind


def _of_kernel(specs: Mapping[str, VariableSpec]) -> str:
    shape = specs["kernel"].unstacked_shape
    if len(shape) == 2:
        return "dense"
    if len(shape) not in (3, 4, 5):
        return "other"
    bias = specs["bias"].unstacked_shape if "bias" in specs else shape[-1:]
    # A bias is as long as there are outputs, which a transposed convolution has before its inputs. Without a bias, or
    # with as many of both, nothing tells: then it is the more frequent of the two, unless the caller says otherwise.
    return "conv_transpose" if bias == shape[-2:-1] != shape[-1:] else "conv" if bias == shape[-1:] else "other"
