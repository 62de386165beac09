"""Rows of losses, random numbers, images, control flow and checks."""

from __future__ import annotations

from jscope.tf1._ops import _checks, _colors, _drawing, _flow, _images, _weighing
from jscope.tf1._ops._call import Kernel

DRAW = "shape, mean=0.0, stddev=1.0, dtype=float32, seed=None, name=None"
FOLD = "fn, elems, initializer=None, -parallel_iterations=10, -back_prop=True, -swap_memory=False, name=None"
COMPARE = "x, y, data=None, -summarize=None, message=None, name=None"
CHECK = "x, data=None, -summarize=None, message=None, name=None"
RANK = "x, rank, data=None, -summarize=None, message=None, name=None"
WEIGHED = "weights=1.0, scope=None, loss_collection='losses', reduction='weighted_sum_by_nonzero_weights'"
SMOOTHED = WEIGHED.replace("scope", "label_smoothing=0, scope", 1)
CROPS = "crop_size=None, method='bilinear', extrapolation_value=0"

ROWS: tuple[tuple[str, dict[str, Kernel]], ...] = (
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
            "image.resize_bicubic": _images.resize_bicubic,
            "image.resize_bilinear": _images.resize_bilinear,
            "image.resize_nearest_neighbor": _images.resize_nearest,
        },
    ),
    (
        f"image, boxes, ~box_ind:box_indices, {CROPS}, name=None, box_indices=None",
        {"image.crop_and_resize": _images.crop_and_resize},
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
    ("images, size, align_corners=False, name=None", {"image.resize_area": _images.resize_area}),
    ("image, delta", {"image.adjust_brightness": _images.adjust_brightness}),
    ("image, delta, name=None", {"image.adjust_hue": _colors.adjust_hue}),
    ("image, saturation_factor, name=None", {"image.adjust_saturation": _colors.adjust_saturation}),
    (
        "image, max_delta, seed=None",
        {
            "image.random_brightness": _colors.by_a_random(_images.adjust_brightness),
            "image.random_hue": _colors.by_a_random(_colors.adjust_hue, 0.5),
        },
    ),
    (
        "image, lower, upper, seed=None",
        {
            "image.random_contrast": _colors.by_a_random(_images.adjust_contrast),
            "image.random_saturation": _colors.by_a_random(_colors.adjust_saturation),
        },
    ),
    ("images, contrast_factor", {"image.adjust_contrast": _images.adjust_contrast}),
    (
        "images, name=None",
        {
            "image.grayscale_to_rgb": _images.grayscale_to_rgb,
            "image.hsv_to_rgb": _colors.hsv_to_rgb,
            "image.rgb_to_hsv": _colors.rgb_to_hsv,
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
        (
            "cond, body, loop_vars, shape_invariants=None, -parallel_iterations=10, -back_prop=True, "
            "-swap_memory=False, name=None, maximum_iterations=None, return_same_structure=False"
        ),
        {"while_loop": _flow.while_loop},
    ),
    (
        (
            "fn, elems, -dtype=None, -parallel_iterations=None, -back_prop=True, -swap_memory=False, "
            "-infer_shape=True, name=None, -fn_output_signature=None"
        ),
        {"map_fn": _flow.map_fn},
    ),
    (
        (
            "fn, elems, initializer=None, -parallel_iterations=10, -back_prop=True, -swap_memory=False, "
            "-infer_shape=True, reverse=False, name=None"
        ),
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
