"""Rows of arithmetic: each element by itself, two arrays, reductions."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.scipy import special

from jscope.tf1._arrays import absolute
from jscope.tf1._ops import _elementwise, _flow, _indexing, _linear, _reductions, _shaping
from jscope.tf1._ops._call import Kernel
from jscope.tf1._ops._elementwise import of_one, of_two

X = "x, name=None"
XY = "x, y, name=None"
INPUT = "input, name=None"
FEATURES = "features, name=None"
REDUCE = "input_tensor, axis=None, keepdims=None, name=None, ~reduction_indices:axis, ~keep_dims:keepdims"
ARG = "input, axis=None, name=None, ~dimension:axis, output_type=int64"
CUMULATIVE = "x, axis=0, exclusive=False, reverse=False, name=None"
LOGITS = "logits, axis=None, name=None, ~dim:axis"

ROWS: tuple[tuple[str, dict[str, Kernel]], ...] = (
    # --- Each element by itself ---
    (
        X,
        {
            "abs": of_one(absolute),
            "acos": of_one(jnp.arccos),
            "acosh": of_one(jnp.arccosh),
            "asin": of_one(jnp.arcsin),
            "asinh": of_one(jnp.arcsinh),
            "atan": of_one(jnp.arctan),
            "atanh": of_one(jnp.arctanh),
            "ceil": of_one(jnp.ceil),
            "conj": of_one(jnp.conj),
            "cos": of_one(jnp.cos),
            "cosh": of_one(jnp.cosh),
            "digamma": of_one(special.digamma),
            "erf": of_one(special.erf),
            "erfc": of_one(special.erfc),
            "exp": of_one(jnp.exp),
            "expm1": of_one(jnp.expm1),
            "floor": of_one(jnp.floor),
            "is_finite": of_one(jnp.isfinite),
            "is_inf": of_one(jnp.isinf),
            "is_nan": of_one(jnp.isnan),
            "lgamma": of_one(special.gammaln),
            "log": of_one(jnp.log),
            "log1p": of_one(jnp.log1p),
            "log_sigmoid": of_one(jax.nn.log_sigmoid),
            "logical_not": of_one(jnp.logical_not),
            "math.ceil": of_one(jnp.ceil),
            "math.erfinv": of_one(special.erfinv),
            "math.bessel_i0": of_one(special.i0),
            "negative": of_one(jnp.negative),
            "nn.sigmoid": of_one(jax.nn.sigmoid),
            "nn.tanh": of_one(jnp.tanh),
            "reciprocal": of_one(jnp.reciprocal),
            "rint": of_one(jnp.rint),
            "round": of_one(jnp.round),
            "rsqrt": of_one(jax.lax.rsqrt),
            "sigmoid": of_one(jax.nn.sigmoid),
            "sign": of_one(jnp.sign),
            "sin": of_one(jnp.sin),
            "sinh": of_one(jnp.sinh),
            "sqrt": of_one(jnp.sqrt),
            "square": of_one(jnp.square),
            "tan": of_one(jnp.tan),
            "tanh": of_one(jnp.tanh),
            "to_bfloat16": functools.partial(_elementwise.cast, dtype="bfloat16"),
            "to_complex64": functools.partial(_elementwise.cast, dtype="complex64"),
            "to_double": functools.partial(_elementwise.cast, dtype="float64"),
            "to_float": functools.partial(_elementwise.cast, dtype="float32"),
            "to_int32": functools.partial(_elementwise.cast, dtype="int32"),
            "to_int64": functools.partial(_elementwise.cast, dtype="int64"),
            "trace": _linear.trace,
            "invert_permutation": _indexing.invert_permutation,
        },
    ),
    (
        INPUT,
        {
            "angle": of_one(jnp.angle),
            "cholesky": of_one(jnp.linalg.cholesky),
            "diag_part": _linear.diag_part,
            "identity": _flow.identity,
            "identity_n": _flow.identity_n,
            "imag": of_one(jnp.imag),
            "linalg.det": of_one(jnp.linalg.det),
            "linalg.slogdet": of_one(lambda x: tuple(jnp.linalg.slogdet(x))),
            "matrix_determinant": of_one(jnp.linalg.det),
            "rank": _shaping.rank,
            "real": of_one(jnp.real),
            "stop_gradient": _flow.stop_gradient,
        },
    ),
    (
        FEATURES,
        {
            "math.softplus": of_one(jax.nn.softplus),
            "math.softsign": of_one(jax.nn.soft_sign),
            "nn.elu": of_one(jax.nn.elu),
            "nn.relu": of_one(jax.nn.relu),
            "nn.relu6": of_one(jax.nn.relu6),
            "nn.selu": of_one(_elementwise.selu),
            "nn.softplus": of_one(jax.nn.softplus),
            "nn.softsign": of_one(jax.nn.soft_sign),
        },
    ),
    ("features, alpha=0.2, name=None", {"nn.leaky_relu": _elementwise.leaky_relu}),
    ("features, name=None, axis=-1", {"nn.crelu": _elementwise.crelu}),
    ("features, beta=1.0", {"nn.swish": _elementwise.swish, "nn.silu": _elementwise.swish}),
    (
        LOGITS,
        {
            "math.log_softmax": _elementwise.log_softmax,
            "math.softmax": _elementwise.softmax,
            "nn.log_softmax": _elementwise.log_softmax,
            "nn.softmax": _elementwise.softmax,
        },
    ),
    ("x, dtype, name=None", {"cast": _elementwise.cast}),
    ("value, dtype, name=None", {"saturate_cast": _elementwise.saturate_cast}),
    ("input, type, name=None", {"bitcast": _elementwise.bitcast}),
    ("tensor, message, name=None", {"check_numerics": _elementwise.is_finite_or_raises}),
    ("t, clip_value_min, clip_value_max, name=None", {"clip_by_value": _elementwise.clip_by_value}),
    ("inputs, name=None", {"add_n": _elementwise.add_n}),
    ("inputs, -shape=None, -tensor_dtype=None, name=None", {"accumulate_n": _elementwise.add_n}),
    ("real, imag, name=None", {"complex": of_two(jax.lax.complex)}),
    ("scalar, x, name=None", {"scalar_mul": of_two(jnp.multiply)}),
    # --- Two arrays ---
    (
        XY,
        {
            "add": of_two(jnp.add),
            "div": of_two(_elementwise.div),
            "div_no_nan": of_two(_elementwise.div_no_nan),
            "divide": of_two(jnp.divide),
            "equal": of_two(jnp.equal),
            "floor_div": of_two(jnp.floor_divide),
            "floordiv": of_two(jnp.floor_divide),
            "floormod": of_two(jnp.mod),
            "greater": of_two(jnp.greater),
            "greater_equal": of_two(jnp.greater_equal),
            "less": of_two(jnp.less),
            "less_equal": of_two(jnp.less_equal),
            "logical_and": of_two(jnp.logical_and),
            "logical_or": of_two(jnp.logical_or),
            "logical_xor": of_two(jnp.logical_xor),
            "math.multiply_no_nan": of_two(_elementwise.multiply_no_nan),
            "math.xdivy": of_two(lambda x, y: jnp.where(x == 0, jnp.zeros((), y.dtype), x / y)),
            "math.xlogy": of_two(special.xlogy),
            "maximum": of_two(_elementwise.maximum),
            "minimum": of_two(_elementwise.minimum),
            "mod": of_two(jnp.mod),
            "multiply": of_two(jnp.multiply),
            "not_equal": of_two(jnp.not_equal),
            "pow": of_two(jnp.power),
            "realdiv": of_two(jnp.divide),
            "squared_difference": of_two(_elementwise.squared_difference),
            "subtract": of_two(jnp.subtract),
            "truediv": of_two(jnp.true_divide),
            "truncatediv": of_two(_elementwise.truncatediv),
            "truncatemod": of_two(_elementwise.truncatemod),
        },
    ),
    ("y, x, name=None", {"atan2": of_two(jnp.arctan2)}),
    ("a, x, name=None", {"igamma": of_two(special.gammainc)}),
    # --- Reductions ---
    (
        REDUCE,
        {
            "reduce_all": _reductions.reduction(jnp.all),
            "reduce_any": _reductions.reduction(jnp.any),
            "reduce_logsumexp": _reductions.logsumexp,
            "reduce_max": _reductions.reduction(jnp.max),
            "reduce_mean": _reductions.mean,
            "reduce_min": _reductions.reduction(jnp.min),
            "reduce_prod": _reductions.reduction(jnp.prod),
            "reduce_sum": _reductions.reduction(jnp.sum),
        },
    ),
    (
        "input_tensor, axis=None, keepdims=False, name=None",
        {
            "math.reduce_euclidean_norm": _reductions.euclidean,
            "math.reduce_std": _reductions.reduction(jnp.std),
            "math.reduce_variance": _reductions.reduction(jnp.var),
        },
    ),
    (
        (
            "input_tensor=None, axis=None, keepdims=None, dtype=int64, name=None, ~reduction_indices:axis, "
            "~keep_dims:keepdims, ~input:input_tensor"
        ),
        {"count_nonzero": _reductions.count_nonzero},
    ),
    (ARG, {"argmax": _reductions.arg(jnp.argmax), "argmin": _reductions.arg(jnp.argmin)}),
    (
        "input, dimension, output_type=int64, name=None",
        {"arg_max": _reductions.arg(jnp.argmax), "arg_min": _reductions.arg(jnp.argmin)},
    ),
    (CUMULATIVE, {"cumprod": _reductions.cumulative(jnp.cumprod, 1), "cumsum": _reductions.cumulative(jnp.cumsum, 0)}),
    (
        "tensor, ord='euclidean', axis=None, keepdims=None, name=None, ~keep_dims:keepdims",
        {"linalg.norm": _reductions.norm, "norm": _reductions.norm},
    ),
    ("value, name=None", {"nn.zero_fraction": _reductions.zero_fraction}),
    (
        "x, axes, frequency_weights, name=None, ~keep_dims:keepdims, keepdims=None",
        {"nn.weighted_moments": _reductions.weighted_moments},
    ),
    (
        "x, axes, shift=None, ~keep_dims:keepdims, name=None, keepdims=None",
        {"nn.sufficient_statistics": _reductions.sufficient_statistics},
    ),
    ("counts, mean_ss, variance_ss, shift, name=None", {"nn.normalize_moments": _reductions.normalize_moments}),
    ("t, name=None", {"nn.l2_loss": _reductions.l2_loss}),
    (
        "x, axis=None, epsilon=1e-12, name=None, ~dim:axis",
        dict.fromkeys(("linalg.l2_normalize", "math.l2_normalize", "nn.l2_normalize"), _reductions.l2_normalize),
    ),
    ("t_list, name=None", {"global_norm": _reductions.global_norm}),
    ("t, clip_norm, axes=None, name=None", {"clip_by_norm": _reductions.clip_by_norm}),
    ("t, clip_norm, name=None", {"clip_by_average_norm": _reductions.clip_by_average_norm}),
    ("t_list, clip_norm, use_norm=None, name=None", {"clip_by_global_norm": _reductions.clip_by_global_norm}),
    (
        "predictions, targets, k, name=None",
        {"math.in_top_k": _reductions.in_top_k, "nn.in_top_k": _reductions.in_top_k},
    ),
)
