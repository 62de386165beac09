"""Layers with options, beside what Keras calls the same: the oracle runs the one side, the tests the other.

Inputs and variables are waves, so that they need not be stored: only what Keras gives is, in `data/keras.npz`.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jscope import nn

DATA = Path(__file__).parent / "data"
STEPS = 3


def wave(shape, seed):
    """Returns numbers between -1 and 1 that do not repeat, the same on every machine."""
    count = np.arange(np.prod(shape, dtype=int))
    return np.sin(count * (0.7 + 0.13 * seed) + seed).astype(np.float32).reshape(shape)


def value_of(name, shape):
    """Returns the value that a variable has in a case. Variances are positive."""
    value = wave(shape, sum(map(ord, name)) % 7)
    return 0.5 + value**2 if "variance" in name else value


@dataclass(frozen=True)
class Case:
    """One layer with options.

    Attributes:
      keras: The class of Keras, or a function of its `ops`, by name.
      options: Its arguments; those of ours are the same where `ours` does not say otherwise.
      shape: Of the input.
      ours: A function of a scope (or of nothing, for pools) and the input.
      ids: The number of ids, where the input consists of such.
      training: Passed on to both, where it is not None; with True, state is followed for three steps.
      mask: Whether there is a mask of the input's shape without the channels.
    """

    keras: str
    options: dict[str, Any]
    shape: tuple[int, ...]
    ours: Callable[..., Any]
    ids: int | None = None
    training: bool | None = None
    mask: bool = False
    rename: dict[str, str] = field(default_factory=dict)

    @property
    def name(self):
        """What it is stored as."""
        said = ",".join(f"{name}={value}" for name, value in self.options.items())
        more = f"{'' if self.training is None else f' training={self.training}'}{' mask' if self.mask else ''}"
        return f"{self.keras}({said}) {'x'.join(map(str, self.shape))}{more}".replace(" ", "_").replace("/", "|")

    def x(self, step=0):
        """Returns the input."""
        if self.ids is not None:
            return (np.arange(np.prod(self.shape)) * 3 % self.ids).astype(np.int32).reshape(self.shape)
        return wave(self.shape, 1 + step)

    def extra(self):
        """Returns the arguments besides the input."""
        given = {} if self.training is None else {"training": self.training}
        return given | ({"mask": wave(self.shape[:-1], 2) > 0} if self.mask else {})


def case_of(keras, shape, function, *args, given=None, **options):
    """Returns a case where both sides have the same options, those of ours by the names in `given`."""
    renamed = {{"dilation_rate": "dilation"}.get(name, name): value for name, value in options.items()}
    fields = {name: renamed.pop(name) for name in ("ids", "training", "mask", "rename") if name in renamed}
    options = {name: value for name, value in options.items() if name not in fields}
    names = list(inspect.signature(function).parameters)
    takes_scope = names[0] == "scope"
    ours = functools.partial(_call, function, takes_scope, tuple(args), renamed)
    return Case(keras, (given or {}) | options, shape, ours, **fields)


def _call(function, takes_scope, args, options, scope, x, **extra):
    return function(*((scope,) if takes_scope else ()), x, *args, **options, **extra)


def einsum_case(shape, equation, output_shape, sizes, **options):
    """Returns a case of `EinsumDense`, whose arguments stand in another order."""
    ours = lambda scope, x: nn.einsum(scope, equation, x, sizes, **options)  # noqa: E731
    return Case("EinsumDense", {"equation": equation, "output_shape": output_shape, **options}, shape, ours)


def conv_cases():
    """Yields convolutions."""
    for kernel, shape in ((3, (2, 7, 2)), ((2, 3), (1, 5, 6, 2)), ((2, 1, 2), (1, 3, 3, 4, 2))):
        rank = len(shape) - 2
        size = (kernel,) if rank == 1 else kernel
        several = (
            {},
            {"padding": "same"},
            {"padding": "same", "strides": 2, "use_bias": False},
            {"padding": "valid", "dilation_rate": 2 if rank < 3 else (1, 2, 1)},
            {"padding": "same", "dilation_rate": (2, 1)[:rank] if rank < 3 else (1, 2, 1)},
            {"groups": 2, "strides": 2},
        )
        for options in several:
            given = {"filters": 4, "kernel_size": size}
            yield case_of(f"Conv{rank}D", shape, nn.conv, 4, size, given=given, **options)
    for options in (
        {"padding": "causal"},
        {"padding": "causal", "dilation_rate": 2},
        {"padding": "causal", "strides": 2},
    ):
        given = {"filters": 3, "kernel_size": (3,)}
        yield case_of("Conv1D", (2, 6, 2), nn.conv, 3, (3,), given=given, **options)


def transpose_cases():
    """Yields transposed convolutions: kernels smaller than the stride, as large, larger, odd and even."""
    for padding in ("valid", "same"):
        for size, strides in ((1, 2), (2, 1), (2, 3), (3, 1), (3, 2), (4, 2)):
            given = {"filters": 2, "kernel_size": (size,)}
            options = {"strides": strides, "padding": padding}
            yield case_of("Conv1DTranspose", (1, 4, 3), nn.conv_transpose, 2, (size,), given=given, **options)
        given = {"filters": 2, "kernel_size": (3, 2)}
        yield case_of(
            "Conv2DTranspose", (1, 3, 2, 3), nn.conv_transpose, 2, (3, 2), given=given, strides=(2, 1), padding=padding
        )
        yield case_of(
            "Conv2DTranspose", (1, 3, 2, 3), nn.conv_transpose, 2, (3, 2), given=given, dilation_rate=2, padding=padding
        )
        for size, strides, end in ((2, 3, 0), (3, 2, 1), (4, 3, 2), (1, 2, 1), (3, 1, 0)):
            given = {"filters": 2, "kernel_size": (size,)}
            options = {"strides": strides, "padding": padding, "output_padding": end}
            yield case_of("Conv1DTranspose", (1, 4, 3), nn.conv_transpose, 2, (size,), given=given, **options)
        given = {"filters": 2, "kernel_size": (3, 2)}
        options = {"strides": (2, 3), "padding": padding, "output_padding": (0, 2)}
        yield case_of("Conv2DTranspose", (1, 3, 2, 3), nn.conv_transpose, 2, (3, 2), given=given, **options)
        given = {"filters": 2, "kernel_size": (2, 1, 2)}
        yield case_of("Conv3DTranspose", (1, 2, 2, 2, 1), nn.conv_transpose, 2, (2, 1, 2), given=given, padding=padding)


def separable_cases():
    """Yields depthwise and separable convolutions."""
    for kernel, shape in (((3,), (2, 6, 2)), ((3, 2), (1, 5, 4, 2))):
        rank = len(kernel)
        for options in ({}, {"padding": "same", "depth_multiplier": 3}, {"padding": "same", "strides": 2}):
            for keras, layer, args, given in (
                (f"DepthwiseConv{rank}D", nn.depthwise_conv, (), {}),
                (f"SeparableConv{rank}D", nn.separable_conv, (3,), {"filters": 3}),
            ):
                given = {**given, "kernel_size": kernel}
                rename = {"kernel": "depthwise_kernel"} if not args else {}
                yield case_of(keras, shape, layer, *args, kernel, given=given, rename=rename, **options)


def norm_cases():
    """Yields norms."""
    for options in ({}, {"axis": [1, 2]}, {"epsilon": 1e-5, "center": False}, {"scale": False}):
        yield case_of("LayerNormalization", (2, 3, 4), nn.layer_norm, **options)
    for options in ({}, {"axis": [1, 2]}, {"epsilon": 1e-3}):
        yield case_of("RMSNormalization", (2, 3, 4), nn.rms_norm, **options)
    for groups, shape, options in (
        (2, (2, 3, 2, 6), {}),
        (3, (2, 5, 6), {"epsilon": 1e-5}),
        (2, (2, 4, 3), {"axis": 1}),
        (2, (2, 4), {"center": False}),
    ):
        yield case_of("GroupNormalization", shape, nn.group_norm, groups, given={"groups": groups}, **options)
    yield case_of("GroupNormalization", (2, 3, 3, 4), nn.instance_norm, given={"groups": -1})
    yield case_of("UnitNormalization", (2, 3, 4), nn.l2_normalize)
    for shape, options in (
        ((4, 3), {}),
        ((2, 3, 2, 3), {"momentum": 0.9, "epsilon": 1e-5}),
        ((2, 3, 4), {"axis": 1, "center": False}),
    ):
        for training in (True, False):
            yield case_of("BatchNormalization", shape, nn.batch_norm, training=training, **options)
    yield case_of("BatchNormalization", (2, 5, 3), nn.batch_norm, training=True, mask=True)


def pool_cases():
    """Yields pools, and what makes images larger."""
    for size, shape in (((2,), (2, 5, 2)), ((3, 2), (1, 6, 5, 2)), ((2, 1, 2), (1, 3, 3, 4, 2))):
        for kind, layer in (("Max", nn.max_pool), ("Average", nn.avg_pool)):
            for options in ({"strides": 3}, {"padding": "same"}, {"padding": "same", "strides": 1}):
                name = f"{kind}Pooling{len(size)}D"
                yield case_of(name, shape, layer, size, given={"pool_size": size}, **options)
        for kind, layer in (("Max", nn.global_max_pool), ("Average", nn.global_avg_pool)):
            yield case_of(
                f"Global{kind}Pooling{len(size)}D", shape, layer, **({"keepdims": True} if len(size) == 2 else {})
            )
    yield case_of("GlobalAveragePooling1D", (2, 4, 2), nn.global_avg_pool, mask=True)
    yield case_of("UpSampling1D", (1, 3, 2), nn.upsample, (2,), given={"size": 2})
    yield case_of("UpSampling2D", (1, 2, 3, 2), nn.upsample, (2, 3), given={"size": (2, 3)})
    yield case_of("UpSampling2D", (1, 2, 3, 1), nn.upsample, (2, 3), given={"size": (2, 3)}, interpolation="bilinear")
    yield case_of("UpSampling3D", (1, 2, 1, 2, 1), nn.upsample, (2, 1, 3), given={"size": (2, 1, 3)})
    yield case_of("ops.depth_to_space", (1, 2, 3, 8), nn.pixel_shuffle, 2, given={"block_size": 2})


DENSE = [
    case_of("Dense", (2, 3), nn.dense, 4, given={"units": 4}),
    case_of("Dense", (2, 2, 3), nn.dense, 4, given={"units": 4}, use_bias=False),
    einsum_case((2, 3, 4), "btd,dhk->bthk", (None, 2, 3), (2, 3), bias_axes="hk"),
    einsum_case((2, 3, 2, 3), "bthk,hkd->btd", (None, 4), 4, bias_axes="d"),
    einsum_case((2, 3, 4), "...x,xy->...y", 5, 5),
    einsum_case((2, 3, 4), "bed,edf->bef", (3, 2), 2),
]
EMBEDDING = [case_of("Embedding", (2, 3), nn.embedding, 5, 4, given={"input_dim": 5, "output_dim": 4}, ids=5)]
FAMILIES = {
    "dense": DENSE,
    "conv": [*conv_cases(), *transpose_cases(), *separable_cases()],
    "embedding": EMBEDDING,
    "norm": list(norm_cases()),
    "pool": list(pool_cases()),
}
CASES = {case.name: case for family in FAMILIES.values() for case in family}


def save(file, arrays):
    """Writes arrays by case and name: end to end, with an index, which takes half the room of one file each."""
    flat = {
        case: {name: np.asarray(value, np.float32) for name, value in each.items()} for case, each in arrays.items()
    }
    index = {case: {name: value.shape for name, value in each.items()} for case, each in flat.items()}
    values = np.concatenate([value.ravel() for each in flat.values() for value in each.values()])
    np.savez_compressed(DATA / file, values=values, index=np.frombuffer(json.dumps(index).encode(), np.uint8))


@functools.cache
def load(file):
    """Returns what `save` wrote."""
    with np.load(DATA / file) as stored:
        values, index = stored["values"], json.loads(stored["index"].tobytes())
    out, start = {}, 0
    for case, shapes in index.items():
        out[case] = {}
        for name, shape in shapes.items():
            end = start + int(np.prod(shape))
            out[case][name] = values[start:end].reshape(shape)
            start = end
    return out


def weights_of(y):
    """Returns what the output is multiplied with, to have one number to differentiate."""
    return jnp.asarray(wave(y.shape, 5))
