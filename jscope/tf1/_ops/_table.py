"""The table: which operations there are, with TensorFlow's names and arguments, and the kernel of each.

A row is a signature and all operations that have it. `_call.py` says what `~` and `-` in it mean. A name without a dot
is one of `tf` itself; `tf.math`, `tf.linalg` and `tf.random` have it, too, if TensorFlow has it there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy import special

from jscope.tf1 import _dtypes
from jscope.tf1._ops import (
    _checks,
    _convolving,
    _drawing,
    _elementwise,
    _flow,
    _images,
    _indexing,
    _linear,
    _normalizing,
    _recurrent,
    _reductions,
    _shaping,
    _weighing,
    rnn_cell,
)
from jscope.tf1._ops._elementwise import of_one, of_two

Kernel = Callable[..., Any]

X = "x, name=None"
XY = "x, y, name=None"
INPUT = "input, name=None"
FEATURES = "features, name=None"
REDUCE = "input_tensor, axis=None, keepdims=None, name=None, ~reduction_indices:axis, ~keep_dims:keepdims"
ARG = "input, axis=None, name=None, ~dimension:axis, output_type=int64"
CUMULATIVE = "x, axis=0, exclusive=False, reverse=False, name=None"
LOGITS = "logits, axis=None, name=None, ~dim:axis"
SHAPED = "shape, dtype=float32, name=None, -layout=None"
LIKE = "tensor, dtype=None, name=None, -optimize=True"
SEGMENT = "data, segment_ids, name=None"
UNSORTED = "data, segment_ids, num_segments, name=None"
DRAW = "shape, mean=0.0, stddev=1.0, dtype=float32, seed=None, name=None"
FOLD = "fn, elems, initializer=None, -parallel_iterations=10, -back_prop=True, -swap_memory=False, name=None"
COMPARE = "x, y, data=None, -summarize=None, message=None, name=None"
CHECK = "x, data=None, -summarize=None, message=None, name=None"
RANK = "x, rank, data=None, -summarize=None, message=None, name=None"
WEIGHED = "weights=1.0, scope=None, loss_collection='losses', reduction='weighted_sum_by_nonzero_weights'"
SMOOTHED = WEIGHED.replace("scope", "label_smoothing=0, scope", 1)
POOL = "value, ksize, strides, padding, data_format='NHWC', name=None, ~input:value"
POOLED = "input, ksize, strides, padding, data_format='{}', name=None"
RESIZE = "images, size, align_corners=False, name=None, half_pixel_centers=False"
UPDATE = "tensor, indices, updates, name=None"


TABLE: tuple[tuple[str, dict[str, Kernel]], ...] = (
    # --- Each element by itself ---
    (
        X,
        {
            "abs": of_one(jnp.abs),
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
            "nn.selu": of_one(jax.nn.selu),
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
        "input_tensor=None, axis=None, keepdims=None, dtype=int64, name=None, ~reduction_indices:axis, "
        "~keep_dims:keepdims, ~input:input_tensor",
        {"count_nonzero": _reductions.count_nonzero},
    ),
    (ARG, {"argmax": _reductions.arg(jnp.argmax), "argmin": _reductions.arg(jnp.argmin)}),
    (CUMULATIVE, {"cumprod": _reductions.cumulative(jnp.cumprod, 1), "cumsum": _reductions.cumulative(jnp.cumsum, 0)}),
    (
        "tensor, ord='euclidean', axis=None, keepdims=None, name=None, ~keep_dims:keepdims",
        {"linalg.norm": _reductions.norm, "norm": _reductions.norm},
    ),
    ("value, name=None", {"nn.zero_fraction": _reductions.zero_fraction}),
    (
        "x, axes, -shift=None, name=None, ~keep_dims:keepdims, keepdims=None",
        {"nn.moments": _reductions.moments},
    ),
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
    # --- Shapes ---
    ("input, name=None, out_type=None", {"shape": _shaping.shape, "size": _shaping.size}),
    ("input, out_type=int32, name=None", {"shape_n": _shaping.shape_n}),
    ("x, shape, name=None", {"ensure_shape": _shaping.ensure_shape}),
    ("tensor, shape, name=None", {"reshape": _shaping.reshape}),
    ("a, perm=None, name='transpose', conjugate=False", {"transpose": _shaping.transpose}),
    ("a, name='matrix_transpose', conjugate=False", {"matrix_transpose": _shaping.matrix_transpose}),
    ("input, axis=None, name=None, ~dim:axis", {"expand_dims": _shaping.expand_dims}),
    ("input, axis=None, name=None, ~squeeze_dims:axis", {"squeeze": _shaping.squeeze}),
    ("values, axis, name='concat'", {"concat": _shaping.concat}),
    ("values, axis=0, name='stack'", {"stack": _shaping.stack}),
    ("values, name='parallel_stack'", {"parallel_stack": functools.partial(_shaping.stack, axis=0)}),
    ("value, num=None, axis=0, name='unstack'", {"unstack": _shaping.unstack}),
    ("value, num_or_size_splits, axis=0, num=None, name='split'", {"split": _shaping.split}),
    ("input, multiples, name=None", {"tile": _shaping.tile}),
    ("input, repeats, axis=None, name=None", {"repeat": _shaping.repeat}),
    ("tensor, paddings, mode='CONSTANT', name=None, constant_values=0", {"pad": _shaping.pad}),
    ("tensor, axis, name=None", {"reverse": _shaping.reverse, "reverse_v2": _shaping.reverse}),
    (
        "input, seq_lengths, seq_axis=None, batch_axis=None, name=None, ~seq_dim:seq_axis, ~batch_dim:batch_axis",
        {"reverse_sequence": _shaping.reverse_sequence},
    ),
    ("input, shift, axis, name=None", {"roll": _shaping.roll}),
    ("input, shape, name=None", {"broadcast_to": _shaping.broadcast_to}),
    (
        "shape_x, shape_y",
        {
            "broadcast_dynamic_shape": _shaping.broadcast_sizes,
            "broadcast_static_shape": _shaping.broadcast_shape,
        },
    ),
    (SHAPED, {"ones": _shaping.ones, "zeros": _shaping.zeros}),
    (LIKE, {"ones_like": _shaping.ones_like, "zeros_like": _shaping.zeros_like}),
    ("dims, value, name=None, -layout=None", {"fill": _shaping.fill}),
    ("num_rows, num_columns=None, batch_shape=None, dtype=float32, name=None", {"eye": _shaping.eye}),
    ("value, dtype=None, shape=None, name='Const', -verify_shape=False", {"constant": _shaping.constant}),
    (
        "value, dtype=None, name=None, ~preferred_dtype:dtype_hint, dtype_hint=None",
        {"convert_to_tensor": _shaping.convert_to_tensor},
    ),
    ("start, limit=None, delta=1, dtype=None, name='range'", {"range": _shaping.range_}),
    ("start, stop, num, name=None, axis=0", {"lin_space": _shaping.linspace, "linspace": _shaping.linspace}),
    (
        "input, block_size, name=None, data_format='NHWC'",
        {
            "depth_to_space": _shaping.depth_to_space,
            "nn.depth_to_space": _shaping.depth_to_space,
            "nn.space_to_depth": _shaping.space_to_depth,
            "space_to_depth": _shaping.space_to_depth,
        },
    ),
    # --- Indices ---
    (
        "params, indices, -validate_indices=None, name=None, axis=None, batch_dims=0",
        {"gather": _indexing.gather},
    ),
    ("params, indices, name=None", {"batch_gather": _indexing.batch_gather}),
    (
        "params, indices, name=None, batch_dims=0, -bad_indices_policy=''",
        {"gather_nd": _indexing.gather_nd},
    ),
    (
        "params, ids, -partition_strategy='mod', name=None, -validate_indices=True, max_norm=None",
        {"nn.embedding_lookup": _indexing.embedding_lookup},
    ),
    ("input_, begin, size, name=None", {"slice": _indexing.slice_}),
    (
        "input_, begin, end, strides=None, begin_mask=0, end_mask=0, ellipsis_mask=0, new_axis_mask=0, "
        "shrink_axis_mask=0, -var=None, name=None",
        {"strided_slice": _indexing.strided_slice},
    ),
    ("tensor, mask, name='boolean_mask', axis=None", {"boolean_mask": _indexing.boolean_mask}),
    ("condition, x=None, y=None, name=None", {"where": _indexing.where, "where_v2": _indexing.where_v2}),
    (
        "indices, depth, on_value=None, off_value=None, axis=None, dtype=None, name=None",
        {"one_hot": _indexing.one_hot},
    ),
    ("lengths, maxlen=None, dtype=bool, name=None", {"sequence_mask": _indexing.sequence_mask}),
    ("indices, updates, shape, -bad_indices_policy='', name=None", {"scatter_nd": _indexing.scatter_nd}),
    (UPDATE, {f"tensor_scatter_{word}update": _indexing.scattering("set") for word in ("", "nd_")}),
    (
        UPDATE.replace("name", "-bad_indices_policy='', name"),
        {
            f"tensor_scatter_{name}": _indexing.scattering(how)
            for name, how in {
                "add": "add",
                "nd_add": "add",
                "nd_max": "max",
                "nd_min": "min",
                "nd_sub": "subtract",
                "sub": "subtract",
            }.items()
        },
    ),
    (
        "sparse_indices, output_shape, sparse_values, default_value=0, -validate_indices=True, name=None",
        {"sparse_to_dense": _indexing.sparse_to_dense},
    ),
    (
        SEGMENT,
        {f"segment_{how}": _indexing.segments(how, sorted_ids=True) for how in ("max", "mean", "min", "prod", "sum")},
    ),
    (
        UNSORTED,
        {
            f"unsorted_segment_{how}": _indexing.segments(how, sorted_ids=False)
            for how in ("max", "mean", "min", "prod", "sum")
        },
    ),
    (
        "input, k=1, -sorted=True, index_type=int32, name=None",
        {"math.top_k": _indexing.top_k, "nn.top_k": _indexing.top_k},
    ),
    ("values, axis=-1, direction='ASCENDING', name=None", {"sort": _indexing.sort}),
    ("values, axis=-1, direction='ASCENDING', -stable=False, name=None", {"argsort": _indexing.argsort}),
    ("sorted_sequence, values, side='left', out_type=int32, name=None", {"searchsorted": _indexing.searchsorted}),
    ("x, out_idx=int32, name=None", {"unique": _indexing.unique}),
    (
        "labels, predictions, num_classes=None, dtype=int32, name=None, weights=None",
        {"confusion_matrix": _indexing.confusion_matrix, "math.confusion_matrix": _indexing.confusion_matrix},
    ),
    (
        "arr, weights=None, minlength=None, maxlength=None, dtype=int32",
        {"bincount": _indexing.bincount, "math.bincount": _indexing.bincount},
    ),
    # --- Linear algebra ---
    (
        "a, b, transpose_a=False, transpose_b=False, adjoint_a=False, adjoint_b=False, -a_is_sparse=False, "
        "-b_is_sparse=False, -output_type=None, -grad_a=False, -grad_b=False, name=None",
        {"matmul": _linear.matmul},
    ),
    (
        "a, b, transpose_a=False, adjoint_a=False, -a_is_sparse=False, -b_is_sparse=False, name=None",
        {"linalg.matvec": _linear.matvec},
    ),
    ("a, b, axes, name=None", {"tensordot": _linear.tensordot}),
    ("a, b, name=None", {"cross": _linear.cross, "linalg.cross": _linear.cross}),
    (
        "input, num_lower, num_upper, name=None",
        {"linalg.band_part": _linear.band_part, "matrix_band_part": _linear.band_part},
    ),
    ("diagonal, name='diag', k=0, num_rows=-1, num_cols=-1, -padding_value=0, -align='RIGHT_LEFT'", {"linalg.diag": _linear.matrix_diag, "matrix_diag": _linear.matrix_diag}),
    (
        "input, name='diag_part', k=0, -padding_value=0, -align='RIGHT_LEFT'",
        {"linalg.diag_part": _linear.matrix_diag_part, "matrix_diag_part": _linear.matrix_diag_part},
    ),
    (
        "input, diagonal, name='set_diag', k=0, -align='RIGHT_LEFT'",
        {"linalg.set_diag": _linear.matrix_set_diag, "matrix_set_diag": _linear.matrix_set_diag},
    ),
    ("diagonal, name=None", {"diag": _linear.diag}),
    (
        "input, adjoint=False, name=None",
        {"linalg.inv": _linear.matrix_inverse, "matrix_inverse": _linear.matrix_inverse},
    ),
    (
        "matrix, rhs, adjoint=False, name=None",
        {"linalg.solve": _linear.matrix_solve, "matrix_solve": _linear.matrix_solve},
    ),
    (
        "matrix, rhs, lower=True, adjoint=False, name=None",
        dict.fromkeys(("linalg.triangular_solve", "matrix_triangular_solve"), _linear.triangular_solve),
    ),
    (
        "tensor, full_matrices=False, compute_uv=True, name=None",
        {"linalg.svd": _linear.svd, "svd": _linear.svd},
    ),
    ("tensor, name=None", {"linalg.eigh": _linear.eigh, "self_adjoint_eig": _linear.eigh}),
    ("input, full_matrices=False, name=None", {"linalg.qr": _linear.qr, "qr": _linear.qr}),
    ("coeffs, x, name=None", {"math.polyval": _linear.polyval}),
    # --- Neural networks ---
    (
        "~value:input, filters, stride, padding, -use_cudnn_on_gpu=None, data_format=None, name=None, "
        "input=None, dilations=None".replace("filters, stride, padding", "filters=None, stride=None, padding=None"),
        {
            "nn.conv1d": lambda filters, stride, padding, form, x, holes: _convolving.conv(
                x, filters, stride, padding, form, holes
            )
        },
    ),
    (
        "input, filter=None, strides=None, padding=None, -use_cudnn_on_gpu=True, data_format='NHWC', "
        "dilations=[1, 1, 1, 1], name=None, ~filters:filter",
        {"nn.conv2d": _convolving.conv},
    ),
    (
        "input, filter=None, strides=None, padding=None, data_format='NDHWC', dilations=[1, 1, 1, 1, 1], name=None, "
        "~filters:filter",
        {"nn.conv3d": _convolving.conv},
    ),
    (
        "value=None, filter=None, output_shape=None, strides=None, padding='SAME', data_format='NHWC', name=None, "
        "~input:value, ~filters:filter, dilations=None",
        {"nn.conv2d_transpose": _convolving.conv_transpose},
    ),
    (
        "value, filter=None, output_shape=None, strides=None, padding='SAME', data_format='NDHWC', name=None, "
        "~input:value, ~filters:filter, dilations=None",
        {"nn.conv3d_transpose": _convolving.conv_transpose},
    ),
    (
        "input, filters, output_shape, strides, padding='SAME', data_format='NWC', dilations=None, name=None",
        {"nn.conv1d_transpose": _convolving.conv_transpose},
    ),
    (
        "input, filters, output_shape, strides, padding='SAME', data_format=None, dilations=None, name=None",
        {"nn.conv_transpose": _convolving.conv_transpose},
    ),
    (
        "input_sizes, filter=None, out_backprop=None, strides=None, padding=None, -use_cudnn_on_gpu=True, "
        "data_format='NHWC', dilations=[1, 1, 1, 1], name=None, ~filters:filter",
        {"nn.conv2d_backprop_input": _convolving.backprop_input},
    ),
    (
        "input, filter, strides, padding, ~rate:dilations, name=None, data_format=None, dilations=None",
        {"nn.depthwise_conv2d": lambda x, k, s, p, form, holes: _convolving.depthwise(x, k, s, p, holes, form)},
    ),
    (
        "input, filter, strides, padding, data_format='NHWC', dilations=[1, 1, 1, 1], name=None",
        {"nn.depthwise_conv2d_native": _convolving.depthwise_native},
    ),
    (
        "input, depthwise_filter, pointwise_filter, strides, padding, rate=None, name=None, data_format=None, "
        "~dilations:rate",
        {"nn.separable_conv2d": _convolving.separable},
    ),
    ("value, filters, rate, padding, name=None", {"nn.atrous_conv2d": _convolving.atrous_conv2d}),
    (
        "value, filters, output_shape, rate, padding, name=None",
        {"nn.atrous_conv2d_transpose": _convolving.atrous_transpose},
    ),
    (
        "input, filter, padding, strides=None, dilation_rate=None, name=None, data_format=None, ~filters:filter, "
        "~dilations:dilation_rate",
        {"nn.convolution": _convolving.convolution},
    ),
    (
        POOL,
        {
            "nn.avg_pool": _convolving.avg_pool,
            "nn.avg_pool2d": _convolving.avg_pool,
            "nn.max_pool": _convolving.max_pool,
        },
    ),
    (
        POOLED.format("NHWC"),
        {"nn.max_pool2d": _convolving.max_pool},
    ),
    (
        POOLED.format("NWC"),
        {"nn.avg_pool1d": _convolving.avg_pool, "nn.max_pool1d": _convolving.max_pool},
    ),
    (
        POOLED.format("NDHWC"),
        {"nn.avg_pool3d": _convolving.avg_pool, "nn.max_pool3d": _convolving.max_pool},
    ),
    (
        "input, window_shape, pooling_type, padding, ~dilation_rate:dilations, strides=None, name=None, "
        "data_format=None, dilations=None",
        {"nn.pool": lambda x, w, kind, p, s, form, holes: _convolving.pool(x, w, kind, p, holes, s, form)},
    ),
    ("value, bias, data_format=None, name=None", {"nn.bias_add": _convolving.bias_add}),
    (
        "x, weights, biases, name=None",
        {"nn.relu_layer": _normalizing.relu_layer, "nn.xw_plus_b": _normalizing.xw_plus_b},
    ),
    (
        "input, depth_radius=5, bias=1, alpha=1, beta=0.5, name=None",
        dict.fromkeys(("nn.local_response_normalization", "nn.lrn"), _convolving.local_response),
    ),
    (
        "images, ksizes=None, strides=None, rates=None, padding=None, name=None, ~sizes:ksizes",
        dict.fromkeys(("extract_image_patches", "image.extract_image_patches"), _convolving.patches),
    ),
    (
        "x, mean, variance, offset, scale, variance_epsilon, name=None",
        {"nn.batch_normalization": _normalizing.batch_normalization},
    ),
    (
        "x, scale, offset, mean=None, variance=None, epsilon=0.001, data_format='NHWC', is_training=True, name=None, "
        "exponential_avg_factor=1.0",
        {"nn.fused_batch_norm": _normalizing.fused_batch_norm},
    ),
    (
        "x, keep_prob=None, noise_shape=None, seed=None, name=None, rate=None",
        {"nn.dropout": _drawing.dropout},
    ),
    (
        "labels=None, logits=None, ~dim:axis, name=None, axis=None",
        {"nn.softmax_cross_entropy_with_logits": _normalizing.softmax_cross_entropy_v1},
    ),
    (
        "labels, logits, axis=None, name=None, ~dim:axis",
        {"nn.softmax_cross_entropy_with_logits_v2": _normalizing.softmax_cross_entropy},
    ),
    (
        "labels=None, logits=None, name=None",
        {
            "nn.sigmoid_cross_entropy_with_logits": _normalizing.sigmoid_cross_entropy,
            "nn.sparse_softmax_cross_entropy_with_logits": _normalizing.sparse_softmax_cross_entropy,
        },
    ),
    (
        "labels=None, logits=None, pos_weight=None, name=None, ~targets:labels",
        {"nn.weighted_cross_entropy_with_logits": _normalizing.weighted_cross_entropy},
    ),
    ("targets, log_input, compute_full_loss=False, name=None", {"nn.log_poisson_loss": _normalizing.log_poisson_loss}),
    # --- Losses ---
    (
        f"labels, predictions, {WEIGHED}",
        {
            "losses.absolute_difference": _weighing.loss(_weighing.absolute, "absolute_difference"),
            "losses.mean_squared_error": _weighing.loss(_weighing.squared, "mean_squared_error"),
        },
    ),
    (
        f"labels, predictions, {WEIGHED.replace('scope', 'delta=1.0, scope', 1)}",
        {"losses.huber_loss": _weighing.loss(_weighing.huber, "huber_loss")},
    ),
    (
        f"labels, predictions, {WEIGHED.replace('scope', 'epsilon=1e-07, scope', 1)}",
        {"losses.log_loss": _weighing.loss(_weighing.log, "log_loss")},
    ),
    (f"labels, predictions, axis=None, {WEIGHED}, ~dim:axis", {"losses.cosine_distance": _weighing.cosine_distance}),
    (
        f"labels, logits, {WEIGHED}",
        {
            "losses.hinge_loss": _weighing.loss(_weighing.hinge, "hinge_loss"),
            "losses.sparse_softmax_cross_entropy": _weighing.loss(
                _weighing.sparse_softmax, "sparse_softmax_cross_entropy_loss"
            ),
        },
    ),
    (
        f"onehot_labels, logits, {SMOOTHED}",
        {"losses.softmax_cross_entropy": _weighing.loss(_weighing.softmax, "softmax_cross_entropy_loss")},
    ),
    (
        f"multi_class_labels, logits, {SMOOTHED}",
        {"losses.sigmoid_cross_entropy": _weighing.loss(_weighing.sigmoid, "sigmoid_cross_entropy_loss")},
    ),
    (f"losses, {WEIGHED}", {"losses.compute_weighted_loss": _weighing.compute_weighted_loss}),
    # --- Random numbers ---
    (
        DRAW,
        {
            "random.normal": _drawing.normal,
            "random.truncated_normal": _drawing.truncated_normal,
            "random_normal": _drawing.normal,
            "truncated_normal": _drawing.truncated_normal,
        },
    ),
    (
        "shape, minval=0, maxval=None, dtype=float32, seed=None, name=None",
        {"random.uniform": _drawing.uniform, "random_uniform": _drawing.uniform},
    ),
    ("value, seed=None, name=None", {"random.shuffle": _drawing.shuffle, "random_shuffle": _drawing.shuffle}),
    (
        "value, size, seed=None, name=None",
        {"image.random_crop": _drawing.crop, "random_crop": _drawing.crop},
    ),
    (
        "logits, num_samples, dtype=None, seed=None, name=None",
        {"random.categorical": _drawing.categorical},
    ),
    (
        "logits, num_samples, seed=None, name=None, output_dtype=None",
        {"multinomial": lambda logits, count, seed, dtype: _drawing.categorical(logits, count, dtype, seed)},
    ),
    (
        "shape, alpha, beta=None, dtype=float32, seed=None, name=None",
        {"random.gamma": _drawing.gamma, "random_gamma": _drawing.gamma},
    ),
    (
        "lam, shape, dtype=float32, seed=None, name=None",
        {"random.poisson": _drawing.poisson, "random_poisson": _drawing.poisson},
    ),
    # --- Images ---
    (
        "images, size, method=0, align_corners=False, preserve_aspect_ratio=False, name=None",
        {"image.resize": _images.resize_images, "image.resize_images": _images.resize_images},
    ),
    (
        "images, size, align_corners=False, name=None, half_pixel_centers=False",
        {
            "image.resize_bilinear": _images.resize_bilinear,
            "image.resize_nearest_neighbor": _images.resize_nearest,
        },
    ),
    (
        "image",
        {
            "image.flip_left_right": _images.flip(-2),
            "image.flip_up_down": _images.flip(-3),
            "image.per_image_standardization": _images.per_image_standardization,
        },
    ),
    (
        "image, seed=None",
        {
            "image.random_flip_left_right": _drawing.flip(-2),
            "image.random_flip_up_down": _drawing.flip(-3),
        },
    ),
    ("image, name=None", {"image.transpose_image": _images.transpose}),
    ("image, k=1, name=None", {"image.rot90": _images.rot90}),
    ("image, delta", {"image.adjust_brightness": _images.adjust_brightness}),
    ("images, contrast_factor", {"image.adjust_contrast": _images.adjust_contrast}),
    (
        "images, name=None",
        {
            "image.grayscale_to_rgb": _images.grayscale_to_rgb,
            "image.rgb_to_grayscale": _images.rgb_to_grayscale,
            "image.total_variation": _images.total_variation,
        },
    ),
    ("image, central_fraction", {"image.central_crop": _images.central_crop}),
    (
        "image, offset_height, offset_width, target_height, target_width",
        {"image.crop_to_bounding_box": _images.crop_to_box, "image.pad_to_bounding_box": _images.pad_to_box},
    ),
    (
        "image, target_height, target_width",
        dict.fromkeys(("image.resize_image_with_crop_or_pad", "image.resize_with_crop_or_pad"), _images.crop_or_pad),
    ),
    ("image, dtype, -saturate=False, name=None", {"image.convert_image_dtype": _images.convert_dtype}),
    # --- Control flow ---
    (
        "pred, true_fn=None, false_fn=None, -strict=False, name=None, ~fn1:true_fn, ~fn2:false_fn",
        {"cond": _flow.cond},
    ),
    ("pred_fn_pairs, default=None, -exclusive=False, -strict=False, name='case'", {"case": _flow.case}),
    (
        "cond, body, loop_vars, shape_invariants=None, -parallel_iterations=10, -back_prop=True, -swap_memory=False, "
        "name=None, maximum_iterations=None, return_same_structure=False",
        {"while_loop": _flow.while_loop},
    ),
    (
        "fn, elems, -dtype=None, -parallel_iterations=None, -back_prop=True, -swap_memory=False, -infer_shape=True, "
        "name=None, -fn_output_signature=None",
        {"map_fn": _flow.map_fn},
    ),
    (
        "fn, elems, initializer=None, -parallel_iterations=10, -back_prop=True, -swap_memory=False, "
        "-infer_shape=True, reverse=False, name=None",
        {"scan": _flow.scan},
    ),
    (FOLD, {"foldl": _flow.fold(reverse=False), "foldr": _flow.fold(reverse=True)}),
    ("tensors, name=None, -control_inputs=None", {"tuple": _flow.tuple_}),
    # --- Checks ---
    (
        COMPARE,
        {
            "assert_equal": _checks.comparison(lambda x, y: x == y, "=="),
            "assert_greater": _checks.comparison(lambda x, y: x > y, ">"),
            "assert_greater_equal": _checks.comparison(lambda x, y: x >= y, ">="),
            "assert_less": _checks.comparison(lambda x, y: x < y, "<"),
            "assert_less_equal": _checks.comparison(lambda x, y: x <= y, "<="),
            "assert_none_equal": _checks.comparison(lambda x, y: x != y, "!="),
        },
    ),
    (
        "x, y, rtol=None, atol=None, data=None, -summarize=None, message=None, name=None",
        {"assert_near": _checks.assert_near},
    ),
    (
        CHECK,
        {
            "assert_negative": _checks.sign(lambda x: x < 0, "<"),
            "assert_non_negative": _checks.sign(lambda x: x >= 0, ">="),
            "assert_non_positive": _checks.sign(lambda x: x <= 0, "<="),
            "assert_positive": _checks.sign(lambda x: x > 0, ">"),
        },
    ),
    (
        RANK,
        {
            "assert_rank": _checks.rank(lambda found, wanted: found == int(wanted), "=="),
            "assert_rank_at_least": _checks.rank(lambda found, wanted: found >= int(wanted), ">="),
        },
    ),
    (
        RANK.replace("rank", "ranks"),
        {"assert_rank_in": _checks.rank(lambda found, wanted: found in list(map(int, wanted)), "in")},
    ),
    ("x, message=None, name=None", {"assert_integer": _checks.assert_integer}),
    ("tensor, tf_type, message=None, name=None", {"assert_type": _checks.assert_type}),
    ("condition, data, -summarize=None, name=None", {"Assert": _checks.assert_true}),
    (
        "input_, data, message=None, -first_n=None, -summarize=None, name=None",
        {"Print": _checks.print_through},
    ),
)

CELLS = {name: value for name, value in vars(rnn_cell).items() if not name.startswith("_")}
WHOLE: dict[str, Any] = {
    **{f"contrib.rnn.{name}": value for name, value in CELLS.items()},
    "__version__": "1.15.0",  # Old files ask; the names here are those of that version.
    "as_dtype": _checks.as_dtype,
    "bool": _dtypes.bool_,
    "custom_gradient": _flow.custom_gradient,
    "einsum": _linear.einsum,
    "errors.InvalidArgumentError": _checks.InvalidArgumentError,
    "get_static_value": _checks.get_static_value,
    "image.ResizeMethod": _images.ResizeMethod,
    "is_tensor": _checks.is_tensor,
    "losses.Reduction": _weighing.Reduction,
    "newaxis": None,
    "meshgrid": _linear.meshgrid,
    "nn.bidirectional_dynamic_rnn": _recurrent.bidirectional_dynamic_rnn,
    "nn.dynamic_rnn": _recurrent.dynamic_rnn,
    "nn.rnn_cell": rnn_cell,
    "nn.static_bidirectional_rnn": _recurrent.static_bidirectional_rnn,
    "nn.static_rnn": _recurrent.static_rnn,
    "numpy_function": _checks.py_func,
    "print": _checks.print_,
    "py_func": _checks.py_func,
    "recompute_grad": _flow.recompute_grad,
    "set_random_seed": _checks.set_random_seed,
    "random.set_random_seed": _checks.set_random_seed,
}
"""What is not made from a row, because it has another kind of signature, or is a class."""


def rows() -> Iterator[tuple[str, str, Kernel]]:
    """Yields the name, the signature and the kernel of each operation that a row makes."""
    for signature, kernels in TABLE:
        for name, kernel in kernels.items():
            yield name, signature, kernel
