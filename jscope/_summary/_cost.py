"""What one equation of a jaxpr costs.

The rules are those by which XLA counts the operations of a program before it optimizes it, so that the two can be
compared: a multiplication and an addition are two operations, whatever is done to each element is one, moving data is
none, and functions such as `exp` and `tanh` are counted apart, as transcendental. Of a convolution only what is not
padding counts. What a primitive that is not known here does, it does to each element of its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Cost(NamedTuple):
    """Operations: arithmetic ones, and transcendental functions."""

    flops: int = 0
    transcendentals: int = 0

    def times(self, number: int) -> Cost:
        """Returns the cost of doing it so many times."""
        return Cost(self.flops * number, self.transcendentals * number)

    def plus(self, other: Cost) -> Cost:
        """Returns the cost of doing both."""
        return Cost(self.flops + other.flops, self.transcendentals + other.transcendentals)


NOTHING = Cost()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MOVES = _words(
    """
    all_gather all_to_all approx_top_k bitcast_convert_type broadcast_in_dim concatenate copy copy_p create_token
    device_put dynamic_slice dynamic_update_slice empty empty2 expand_dims gather get iota layout_constraint
    optimization_barrier pad pbroadcast ppermute pvary random_seed random_fold_in random_split random_unwrap
    random_wrap reduce_precision reshape reshard rev scatter select_and_gather_add sharding_constraint slice split
    squeeze stop_gradient swap top_k transpose zeros_like axis_index psum_invariant name mesh_cast
    """
)
"""Primitives that move data, and do not compute."""

TRANSCENDENTAL = _words(
    """
    atan2 cbrt cos erf exp expm1 log log1p pow rsqrt sin sqrt tan tanh acos asin acosh asinh atan atanh cosh sinh
    """
)
"""Primitives that are one transcendental function of each element."""

# As XLA counts what JAX lowers each of these to; `tests/summary/test_cost.py` asks it.
COMPOSED = {
    "exp2": (1, 1),
    "logistic": (3, 1),
    "erf_inv": (37, 2),
    "erfc": (62, 1),
    "random_bits": (31, 0),
    "threefry2x32": (31, 0),
    "square": (1, 0),
    "one_minus_square": (2, 0),
}
"""Primitives that JAX lowers to several operations on each element: arithmetic ones, transcendental ones."""

REDUCTIONS = _words(
    """
    reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor psum pmax pmin reduce_scatter
    """
)
"""Primitives that combine all elements along some axes by one operation each."""


def cost(equation: Any) -> Cost:
    """Returns the cost of an equation that does not contain others."""
    name = equation.primitive.name
    if name in MOVES:
        return NOTHING
    if name in TRANSCENDENTAL:
        return Cost(0, _elements(equation.outvars))
    if name in COMPOSED:
        return Cost(*COMPOSED[name]).times(_elements(equation.outvars))
    if name in REDUCTIONS:
        # Of a `psum`, nothing: it has as many results as operands, and combines them with those of other devices.
        return Cost(max(_elements(equation.invars) - _elements(equation.outvars), 0))
    # Whatever else there is, XLA counts one for each element of the result: integers and comparisons, too.
    return Cost(RULES[name](equation) if name in RULES else _elements(equation.outvars))


def _elements(variables: Sequence[Any]) -> int:
    return sum(math.prod(getattr(variable.aval, "shape", ())) for variable in variables)


def _dot(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * _elements(equation.outvars) * math.prod(shape[axis] for axis in contracted)


def _ragged_dot(equation: Any) -> int:
    rows, groups = equation.invars[0].aval.shape, equation.invars[1].aval.shape
    # Each row meets the matrix of its own group only.
    return 2 * math.prod(rows) * groups[-1]


def _convolution(equation: Any) -> int:
    params = equation.params
    numbers, (x, kernel) = params["dimension_numbers"], (variable.aval.shape for variable in equation.invars)
    out_features, in_features, *kernel_axes = numbers.rhs_spec
    batch, spatial = x[numbers.lhs_spec[0]], numbers.lhs_spec[2:]
    out_spatial = [equation.outvars[0].aval.shape[axis] for axis in numbers.out_spec[2:]]
    pairs = math.prod(
        _pairs(x[at], kernel[k], out, stride, padding, x_dilation, dilation)
        for at, k, out, stride, padding, x_dilation, dilation in zip(
            spatial,
            kernel_axes,
            out_spatial,
            params["window_strides"],
            params["padding"],
            params["lhs_dilation"],
            params["rhs_dilation"],
            strict=True,
        )
    )
    # The kernel's axis of inputs holds the features of one group only.
    return 2 * pairs * kernel[in_features] * kernel[out_features] * batch // params["batch_group_count"]


def _pairs(
    size: int, kernel: int, out: int, stride: int, padding: tuple[int, int], x_dilation: int, dilation: int
) -> int:
    """Counts the pairs of an output and an element of the kernel that meet an input, rather than padding or a hole."""
    # Counted one by one: no formula holds for any padding, stride and dilations at once, and along one axis they are
    # few.
    last = (size - 1) * x_dilation
    return sum(
        0 <= (at := i * stride + k * dilation - padding[0]) <= last and at % x_dilation == 0
        for k in range(kernel)
        for i in range(out)
    )


def _window(equation: Any) -> int:
    return _elements(equation.outvars) * (math.prod(equation.params["window_dimensions"]) - 1)


def _select_and_scatter(equation: Any) -> int:
    return _elements(equation.invars[:1]) * math.prod(equation.params["window_dimensions"])


def _updates(equation: Any) -> int:
    return _elements(equation.invars[-1:])


def _power(equation: Any) -> int:
    power = equation.params["y"]
    # By squaring: one multiplication for each bit, and one more for each that is set; a division if it is negative.
    exponent = abs(power)
    products = max(exponent.bit_length() - 1 + exponent.bit_count() - 1, 0)
    return _elements(equation.outvars) * (products + (power < 0))


def _sort(equation: Any) -> int:
    size = _elements(equation.invars[:1])
    return size * math.ceil(math.log2(max(size, 1)))


def _fourier(equation: Any) -> int:
    real = max(_elements(equation.invars), _elements(equation.outvars))
    return 8 * real * math.prod(max(length.bit_length() - 1, 1) for length in equation.params["fft_lengths"])


# XLA counts nothing of a call of a library. These are the leading terms of the usual algorithms.
def _cubes(numerator: int, denominator: int) -> Callable[[Any], int]:
    """Returns the rule of a decomposition of matrices: a multiple of the cube of their size."""

    def rule(equation: Any) -> int:
        *batch, rows, columns = equation.invars[0].aval.shape
        least, most = sorted((rows, columns))
        return numerator * math.prod(batch) * least * least * most // denominator

    return rule


def _triangular(equation: Any) -> int:
    return _elements(equation.invars[1:2]) * equation.invars[0].aval.shape[-1]


def _scan_along(equation: Any) -> int:
    return _elements(equation.outvars)


RULES: dict[str, Callable[[Any], int]] = {
    "dot_general": _dot,
    "ragged_dot": _ragged_dot,
    "ragged_dot_general": _ragged_dot,
    "conv_general_dilated": _convolution,
    "reduce_window_sum": _window,
    "reduce_window_max": _window,
    "reduce_window_min": _window,
    "reduce_window": _window,
    "select_and_scatter_add": _select_and_scatter,
    "select_and_scatter": _select_and_scatter,
    "scatter-add": _updates,
    "scatter_add": _updates,
    "scatter-mul": _updates,
    "scatter_mul": _updates,
    "scatter_max": _updates,
    "scatter_min": _updates,
    "scatter-max": _updates,
    "scatter-min": _updates,
    "reduce": lambda equation: _elements(equation.invars) // 2,
    "argmax": lambda equation: 9 * (_elements(equation.invars) - _elements(equation.outvars)),
    "argmin": lambda equation: 9 * (_elements(equation.invars) - _elements(equation.outvars)),
    "integer_pow": _power,
    "sort": _sort,
    "fft": _fourier,
    "cholesky": _cubes(1, 3),
    "lu": _cubes(2, 3),
    "qr": _cubes(4, 3),
    "geqrf": _cubes(4, 3),
    "householder_product": _cubes(4, 3),
    "eigh": _cubes(9, 1),
    "eig": _cubes(25, 1),
    "svd": _cubes(14, 1),
    "triangular_solve": _triangular,
    "cumsum": _scan_along,
    "cumprod": _scan_along,
    "cummax": _scan_along,
    "cummin": _scan_along,
    "cumlogsumexp": _scan_along,
}
"""Operations of the primitives that are not one for each element of the result."""
