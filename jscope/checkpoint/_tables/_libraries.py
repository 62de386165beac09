"""The libraries: what each calls the variables of a layer, and how it lays them out.

Names and layouts of ours are Keras's. Each row was compared with the library itself: with its weights taken over by
it, our layer gives its outputs (`tests/checkpoint/test_tables.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from jscope._path import SEPARATOR, join
from jscope.checkpoint._tables._layers import Layer
from jscope.checkpoint._tables._rows import Also, Library, Row

_Rows: TypeAlias = Mapping[str, Sequence[Row]]

_PARTS = {"part": ("query", "key", "value")}
_BIAS = Row("bias", "bias")


def _by_kind(rows: _Rows) -> Callable[[Layer], Sequence[Row] | None]:
    return lambda layer: rows.get(layer.kind)


def _renamed(**names: str) -> tuple[Row, ...]:
    return tuple(Row(ours, theirs) for ours, theirs in names.items())


# Gates of ours: input, forget, candidate, output, or update, reset, candidate.
_RESET_FIRST = {"gate": (1, 0, 2)}
_BOTH = {"side": ("ih", "hh")}


def _torch_cell(axes: str, order: Mapping[str, Sequence[int]], bias: Row) -> tuple[Row, ...]:
    names = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh"}
    rows = (*(Row(ours, theirs, axes, order=order) for ours, theirs in names.items()), bias)
    # Layers above each other are one there. What is not said to be of another is the first.
    return tuple(replace(row, ending="_l0") for row in rows)


_TORCH: _Rows = {
    "dense": (Row("kernel", "weight", "out in -> in out"), _BIAS),
    "conv": (Row("kernel", "weight", "out in ... -> ... in out"), _BIAS),
    # Both are the gradient of a convolution, so nothing is turned around.
    "conv_transpose": (Row("kernel", "weight", "in out ... -> ... out in"), _BIAS),
    "depthwise_conv": (Row("depthwise_kernel", "weight", "(in m) 1 ... -> ... in m"), _BIAS),
    "embedding": _renamed(embeddings="weight"),
    "norm": _renamed(gamma="weight", beta="bias", moving_mean="running_mean", moving_variance="running_var"),
    "rms_norm": _renamed(scale="weight"),
    "lstm": _torch_cell("out in -> in out", {}, Row("bias", "bias_{side}", "u -> side u", _BOTH, function="sum")),
    "rnn": _torch_cell("out in -> in out", {}, Row("bias", "bias_{side}", "u -> side u", _BOTH, function="sum")),
    # Not summed: the second bias of the candidate is within what the reset multiplies.
    "gru": _torch_cell(
        "(gate u) in -> in (gate u)",
        _RESET_FIRST,
        Row("bias", "bias_{side}", "(gate u) -> side (gate u)", _BOTH, _RESET_FIRST),
    ),
    "bias": (_BIAS,),
    "other": (),
}


def _torch(layer: Layer) -> Sequence[Row] | None:
    if layer.kind != "attention":
        return _TORCH.get(layer.kind)
    inputs, *heads = zip(*(layer.shape(join(part, "kernel")) for part in _PARTS["part"]), strict=True)
    if any(len(set(sizes)) > 1 for sizes in heads):
        return None  # Grouped queries, or values of another size.
    # One matrix, or three where what is looked at has another size than what looks.
    kernels = [Row("{part}/kernel", "in_proj_weight", "(part h k) in -> in h k", _PARTS)]
    if len(set(inputs)) > 1:
        kernels = [Row(join(part, "kernel"), f"{part[0]}_proj_weight", "(h k) in -> in h k") for part in _PARTS["part"]]
    return [
        *kernels,
        Row("{part}/bias", "in_proj_bias", "(part h k) -> h k", _PARTS),
        Row("attention_output/kernel", "out_proj.weight", "out (h k) -> h k out"),
        Row("attention_output/bias", "out_proj.bias"),
    ]


PYTORCH = Library(
    "PyTorch",
    ".",
    _torch,
    (Also("running_mean", "moving_mean", "num_batches_tracked", 0, "int64"),),
    directions={"forward": "", "backward": "_reverse"},
)

_FLAX: _Rows = {
    "dense": (Row("kernel", "kernel"), _BIAS),
    "conv": (Row("kernel", "kernel"), _BIAS),
    # There the kernel slides over the spread-out input as over any other; in the gradient it is turned around.
    "conv_transpose": (Row("kernel", "kernel", "... in out -> ... out in", flipped=True), _BIAS),
    "depthwise_conv": (Row("depthwise_kernel", "kernel", "... 1 (in m) -> ... in m"), _BIAS),
    "embedding": _renamed(embeddings="embedding"),
    "norm": _renamed(gamma="scale", beta="bias", moving_mean="mean", moving_variance="var"),
    "rms_norm": _renamed(scale="scale"),
    "attention": (
        *(Row(join(part, leaf), join(part, leaf)) for part in _PARTS["part"] for leaf in ("kernel", "bias")),
        Row("attention_output/kernel", "out/kernel"),
        Row("attention_output/bias", "out/bias"),
    ),
    "bias": (_BIAS,),
    "other": (),
}


def _gate(axes: str, *gates: str, function: str = "") -> Callable[[str, str], Row]:
    return lambda ours, theirs: Row(ours, theirs, axes, {"gate": gates}, function=function)


_LINEN: _Rows = {
    **_FLAX,
    "rnn": _renamed(kernel="i/kernel", recurrent_kernel="h/kernel", bias="i/bias"),
    "lstm": (
        _gate("in u -> in (gate u)", "ii", "if", "ig", "io")("kernel", "{gate}/kernel"),
        _gate("in u -> in (gate u)", "hi", "hf", "hg", "ho")("recurrent_kernel", "{gate}/kernel"),
        _gate("u -> (gate u)", "hi", "hf", "hg", "ho")("bias", "{gate}/bias"),
    ),
    "gru": (
        _gate("in u -> in (gate u)", "iz", "ir", "in")("kernel", "{gate}/kernel"),
        _gate("in u -> in (gate u)", "hz", "hr", "hn")("recurrent_kernel", "{gate}/kernel"),
        _gate("u -> gate u", "iz", "ir", "in", "hn", function="spread")("bias", "{gate}/bias"),
    ),
}

LINEN = Library("Flax Linen", SEPARATOR, _by_kind(_LINEN), collections=("params", "batch_stats"))

_NNX: _Rows = {
    **_FLAX,
    "rnn": _renamed(kernel="dense_i/kernel", recurrent_kernel="dense_h/kernel", bias="dense_i/bias"),
    "lstm": (
        # Not `if`, which is no name of an attribute in Python.
        _gate("in u -> in (gate u)", "ii", "if_", "ig", "io")("kernel", "{gate}/kernel"),
        *_LINEN["lstm"][1:],
    ),
    "gru": (
        Row("kernel", "dense_i/kernel", "in (gate u) -> in (gate u)", order=_RESET_FIRST),
        Row("recurrent_kernel", "dense_h/kernel", "in (gate u) -> in (gate u)", order=_RESET_FIRST),
        Row("bias", "dense_i/bias", "(gate u) -> (gate u)", order=_RESET_FIRST, function="of_input"),
    ),
}
_OPTIMIZED: _Rows = {
    **_NNX,
    "lstm": _renamed(kernel="dense_i/kernel", recurrent_kernel="dense_h/kernel", bias="dense_h/bias"),
}

NNX = Library("Flax NNX", SEPARATOR, _by_kind(_NNX))
NNX_OPTIMIZED = Library("Flax NNX", SEPARATOR, _by_kind(_OPTIMIZED))


def haiku(ndim: int) -> Library:
    """Returns Haiku, in which batch norms have arrays of the rank of their inputs."""
    ones = "1 " * (ndim - 1)
    averages = {"moving_mean": "~/mean_ema", "moving_variance": "~/var_ema"}
    also = [
        Also(join(theirs, "average"), ours, join(theirs, leaf), 0, dtype, like=ndim if leaf == "hidden" else 0)
        for ours, theirs in averages.items()
        for leaf, dtype in (("hidden", "float32"), ("counter", "int32"))
    ]
    wide = {"gamma": "scale", "beta": "offset"} | {ours: join(theirs, "average") for ours, theirs in averages.items()}
    batch_norm = tuple(Row(ours, theirs, f"{ones}c -> c") for ours, theirs in wide.items())

    def rows(layer: Layer) -> Sequence[Row] | None:
        return batch_norm if "moving_mean" in layer.specs else _HAIKU.get(layer.kind)

    return Library("Haiku", SEPARATOR, rows, tuple(also))


_B = Row("bias", "b")
# Gates there: input, candidate, forget, output.
_FORGET_LATER = {"gate": (0, 2, 1, 3)}
_KERNELS = {"part": ("kernel", "recurrent_kernel")}

_HAIKU: _Rows = {
    "dense": (Row("kernel", "w"), _B),
    "conv": (Row("kernel", "w"), _B),
    "conv_transpose": (Row("kernel", "w", "... out in -> ... out in", flipped=True), _B),
    "depthwise_conv": (Row("depthwise_kernel", "w", "... 1 (in m) -> ... in m"), _B),
    "embedding": _renamed(embeddings="embeddings"),
    "norm": _renamed(gamma="scale", beta="offset"),
    "rms_norm": _renamed(scale="scale"),
    "attention": (
        *(Row(join(part, "kernel"), join(part, "w"), "in (h k) -> in h k") for part in _PARTS["part"]),
        *(Row(join(part, "bias"), join(part, "b"), "(h k) -> h k") for part in _PARTS["part"]),
        Row("attention_output/kernel", "linear/w", "(h k) out -> h k out"),
        Row("attention_output/bias", "linear/b"),
    ),
    # Inputs and state stand one below the other in one matrix.
    "lstm": (
        Row("{part}", "linear/w", "(part in) (gate u) -> in (gate u)", _KERNELS, _FORGET_LATER),
        Row("bias", "linear/b", "(gate u) -> (gate u)", order=_FORGET_LATER, function="forget"),
    ),
    "gru_reset_before": (
        Row("kernel", "w_i", function="negated"),
        Row("recurrent_kernel", "w_h", function="negated"),
        Row("bias", "b", function="negated"),
    ),
    "rnn": (
        Row("kernel", "linear/w"),
        Row("recurrent_kernel", "linear_1/w"),
        Row("bias", "linear{side:_}/b", "u -> side u", function="sum"),
    ),
    "bias": (_B,),
    "other": (),
}

_CELL = {"cell": ("kernel", "recurrent_kernel", "bias")}
_SUBLAYERS = {"query": "query_dense", "key": "key_dense", "value": "value_dense", "attention_output": "output_dense"}

_GROUPS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "attention": {theirs: (join(ours, "kernel"), join(ours, "bias")) for ours, theirs in _SUBLAYERS.items()},
    "conv": {"": ("kernel", "bias")},
    "conv_transpose": {"": ("kernel", "bias")},
    "dense": {"": ("kernel", "bias")},
    "depthwise_conv": {"": ("depthwise_kernel", "bias")},
    "embedding": {"": ("embeddings",)},
    "gru": _CELL,
    "gru_reset_before": _CELL,
    "lstm": _CELL,
    "norm": {"": ("gamma", "beta", "moving_mean", "moving_variance")},
    "rms_norm": {"": ("scale",)},
    "rnn": _CELL,
    "separable_conv": {"": ("depthwise_kernel", "pointwise_kernel", "bias")},
}


def _keras(layer: Layer) -> Sequence[Row] | None:
    if layer.kind not in _GROUPS:
        return None
    # A variable is known by how many of its group come before it, so one that is not there moves those after it.
    groups = {group: [name for name in names if name in layer.specs] for group, names in _GROUPS[layer.kind].items()}
    return [Row(name, join(group, str(at))) for group, names in groups.items() for at, name in enumerate(names)]


KERAS = Library("Keras", SEPARATOR, _keras)

# Their names and layouts, and the order of their gates, are ours.
TF1 = Library("TensorFlow 1", SEPARATOR, lambda layer: [Row(name, name) for name in layer.specs])
