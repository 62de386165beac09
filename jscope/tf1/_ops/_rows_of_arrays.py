"""Rows of shapes, indices and linear algebra."""

from __future__ import annotations

import functools

from jscope.tf1._ops import _indexing, _linear, _shaping
from jscope.tf1._ops._call import Kernel

SHAPED = "shape, dtype=float32, name=None, -layout=None"
LIKE = "tensor, dtype=None, name=None, -optimize=True"
SEGMENT = "data, segment_ids, name=None"
UNSORTED = "data, segment_ids, num_segments, name=None"
UPDATE = "tensor, indices, updates, name=None"

ROWS: tuple[tuple[str, dict[str, Kernel]], ...] = (
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
    (
        "input, shape, name=None",
        # Nothing is fed here, so it is what it is without that.
        {"broadcast_to": _shaping.broadcast_to, "placeholder_with_default": _shaping.ensure_shape},
    ),
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
    ("input, block_shape, paddings, name=None", {"space_to_batch_nd": _shaping.space_to_batch}),
    ("input, block_shape, crops, name=None", {"batch_to_space_nd": _shaping.batch_to_space}),
    (
        "input, paddings, block_size=None, name=None, block_shape=None",
        {"space_to_batch": lambda x, pads, size, blocks: _shaping.space_to_batch(x, blocks or (size, size), pads)},
    ),
    (
        "input, crops, block_size, name=None, block_shape=None",
        {"batch_to_space": lambda x, crops, size, blocks: _shaping.batch_to_space(x, blocks or (size, size), crops)},
    ),
    # --- Indices ---
    ("indices, data, name=None", {"dynamic_stitch": _indexing.dynamic_stitch}),
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
        "params, ids, partition_strategy='mod', name=None, -validate_indices=True, max_norm=None",
        {"nn.embedding_lookup": _indexing.embedding_lookup},
    ),
    ("input_, begin, size, name=None", {"slice": _indexing.slice_}),
    (
        (
            "input_, begin, end, strides=None, begin_mask=0, end_mask=0, ellipsis_mask=0, new_axis_mask=0, "
            "shrink_axis_mask=0, -var=None, name=None"
        ),
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
        (
            "a, b, transpose_a=False, transpose_b=False, adjoint_a=False, adjoint_b=False, -a_is_sparse=False, "
            "-b_is_sparse=False, -output_type=None, -grad_a=False, -grad_b=False, name=None"
        ),
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
    (
        "diagonal, name='diag', k=0, num_rows=-1, num_cols=-1, -padding_value=0, -align='RIGHT_LEFT'",
        {"linalg.diag": _linear.matrix_diag, "matrix_diag": _linear.matrix_diag},
    ),
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
)
