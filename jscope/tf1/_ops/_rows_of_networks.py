"""Rows of convolutions, pools, normalization, and losses on logits."""

from __future__ import annotations

from jscope.tf1._ops import _convolving, _drawing, _normalizing
from jscope.tf1._ops._call import Kernel

POOL = "value, ksize, strides, padding, data_format='NHWC', name=None, ~input:value"
POOLED = "input, ksize, strides, padding, data_format='{}', name=None"

ROWS: tuple[tuple[str, dict[str, Kernel]], ...] = (
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
        (
            "input, filter=None, strides=None, padding=None, -use_cudnn_on_gpu=True, data_format='NHWC', "
            "dilations=[1, 1, 1, 1], name=None, ~filters:filter"
        ),
        {"nn.conv2d": _convolving.conv},
    ),
    (
        (
            "input, filter=None, strides=None, padding=None, data_format='NDHWC', dilations=[1, 1, 1, 1, 1], "
            "name=None, ~filters:filter"
        ),
        {"nn.conv3d": _convolving.conv},
    ),
    (
        (
            "value=None, filter=None, output_shape=None, strides=None, padding='SAME', data_format='NHWC', name=None, "
            "~input:value, ~filters:filter, dilations=None"
        ),
        {"nn.conv2d_transpose": _convolving.conv_transpose},
    ),
    (
        (
            "value, filter=None, output_shape=None, strides=None, padding='SAME', data_format='NDHWC', name=None, "
            "~input:value, ~filters:filter, dilations=None"
        ),
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
        (
            "input_sizes, filter=None, out_backprop=None, strides=None, padding=None, -use_cudnn_on_gpu=True, "
            "data_format='NHWC', dilations=[1, 1, 1, 1], name=None, ~filters:filter"
        ),
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
        (
            "input, depthwise_filter, pointwise_filter, strides, padding, rate=None, name=None, data_format=None, "
            "~dilations:rate"
        ),
        {"nn.separable_conv2d": _convolving.separable},
    ),
    ("value, filters, rate, padding, name=None", {"nn.atrous_conv2d": _convolving.atrous_conv2d}),
    (
        "value, filters, output_shape, rate, padding, name=None",
        {"nn.atrous_conv2d_transpose": _convolving.atrous_transpose},
    ),
    (
        (
            "input, filter, padding, strides=None, dilation_rate=None, name=None, data_format=None, ~filters:filter, "
            "~dilations:dilation_rate"
        ),
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
        (
            "input, ksize, strides, padding, -data_format='NHWC', Targmax=None, name=None, output_dtype=None, "
            "include_batch_in_index=False"
        ),
        {"nn.max_pool_with_argmax": _convolving.max_pool_with_argmax},
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
        (
            "input, window_shape, pooling_type, padding, ~dilation_rate:dilations, strides=None, name=None, "
            "data_format=None, dilations=None"
        ),
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
        (
            "t=None, m=None, v=None, beta=None, gamma=None, variance_epsilon=None, scale_after_normalization=None, "
            "name=None, ~input:t, ~mean:m, ~variance:v"
        ),
        {"nn.batch_norm_with_global_normalization": _normalizing.global_normalization},
    ),
    (
        (
            "x, scale, offset, mean=None, variance=None, epsilon=0.001, data_format='NHWC', is_training=True, "
            "name=None, exponential_avg_factor=1.0"
        ),
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
)
