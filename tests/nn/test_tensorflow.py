"""TensorFlow judges padding, strides and sizes: recorded outputs. See `oracle/regenerate_tensorflow.py`."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import nn
from tests.nn.sequence_cases import numbers
from tests.nn.tensorflow_cases import CASES


@functools.cache
def recorded():
    """What TensorFlow gave, by case."""
    with np.load(Path(__file__).parent / "data" / "tensorflow.npz") as stored:
        names, shapes, values = stored["names"], stored["shapes"], stored["values"]
    parts = np.split(values, np.cumsum(shapes.prod(1))[:-1])
    return {str(name): part.reshape(shape) for name, shape, part in zip(names, shapes, parts, strict=True)}


def ours(case, x, kernel):
    options = {"strides": case.strides, "padding": case.padding}
    if case.function.endswith("pool2d"):
        return (nn.max_pool if case.function.startswith("max") else nn.avg_pool)(x, case.size, **options)
    options["use_bias"] = False
    if case.function == "depthwise_conv2d":
        options["depth_multiplier"] = case.options["multiplier"]
        return jscope.apply(nn.depthwise_conv, {"depthwise_kernel": kernel}, x, case.size, **options)
    layer = nn.conv_transpose if case.function == "conv2d_transpose" else nn.conv
    options["dilation"] = case.options.get("dilations", 1)
    return jscope.apply(layer, {"kernel": kernel}, x, 3, case.size, **options)


def inputs(case):
    """The image and the kernel."""
    ends = (3, 2) if case.function == "conv2d_transpose" else (2, 3)
    return jnp.asarray(numbers("x", (1, *case.space, 2))), jnp.asarray(numbers("kernel", (*case.size, *ends)))


@pytest.mark.parametrize("function", sorted({case.function for case in CASES}))
def test_windows_are_those_of_tensorflow(function):
    """Sizes and values, whatever padding and strides."""
    cases = [case for case in CASES if case.function == function]
    run = jax.jit(lambda args: [ours(case, *each) for case, each in zip(cases, args, strict=True)])
    for case, y in zip(cases, run([inputs(case) for case in cases]), strict=True):
        expected = recorded()[case.name]
        assert y.shape == expected.shape, case.name
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5, err_msg=case.name)
