"""Kernels of batch normalization and of losses on logits."""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import jax.numpy as jnp

from jscope.tf1._ambient import current_or_none
from jscope.tf1._arrays import absolute
from jscope.tf1._name_scopes import name_scope
from jscope.tf1._ops._call import call
from jscope.tf1._ops._reductions import moments
from jscope.tf1._tensors import as_array, tensor


def named_moments(
    x: Any, axes: Any, shift: Any = None, name: Any = None, keep_dims: Any = None, keepdims: Any = None
) -> tuple[Any, Any]:
    """TensorFlow's `tf.nn.moments`: mean and variance."""
    keep = keepdims if keep_dims is None else keep_dims
    # The averages that batch norms written by hand keep of the two are named after them, in checkpoints.
    with contextlib.nullcontext() if current_or_none() is None else name_scope(name, "moments"):
        mean, variance = call(moments, (x, axes, keep), None)
        return tensor(mean, "mean" if keep else "Squeeze"), tensor(variance, "variance" if keep else "Squeeze_1")


def batch_normalization(x: Any, mean: Any, variance: Any, offset: Any, scale: Any, epsilon: Any) -> Any:
    """The numbers with this mean and variance taken out, scaled and moved."""
    x = as_array(x)
    mean, variance, offset, scale = (_of_rank(v, x.ndim) for v in (mean, variance, offset, scale))
    # One factor and one summand, in TensorFlow's order: to center first would be nearer to the truth, but would round
    # otherwise.
    factor = jax.lax.rsqrt(variance + jnp.asarray(epsilon, variance.dtype))
    factor = factor if scale is None else factor * scale
    moved = -mean * factor if offset is None else offset - mean * factor
    return x * factor.astype(x.dtype) + moved.astype(x.dtype)


def global_normalization(x: Any, mean: Any, variance: Any, beta: Any, gamma: Any, epsilon: Any, scaled: bool) -> Any:
    """`batch_normalization`, with its arguments as in `tf.nn.batch_norm_with_global_normalization`."""
    return batch_normalization(x, mean, variance, beta, gamma if scaled else None, epsilon)


def fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any,
    variance: Any,
    epsilon: Any,
    data_format: str,
    is_training: bool,
    factor: float,
) -> tuple[Any, Any, Any]:
    """The normalized input, its mean, and its variance as if the batch were a sample (divided by n - 1)."""
    x, channels = as_array(x), 1 if data_format.startswith("NC") else jnp.ndim(x) - 1
    over = tuple(axis for axis in range(x.ndim) if axis != channels)
    shape = [-1 if axis == channels else 1 for axis in range(x.ndim)]
    old_mean, old_variance = mean, variance
    # TensorFlow does not differentiate by statistics that are given.
    mean, variance = (None if v is None else jax.lax.stop_gradient(as_array(v)) for v in (mean, variance))
    if is_training:
        mean, variance = moments(as_array(x).astype(jnp.float32), over, False)
    by_channel = lambda v: as_array(v).reshape(shape)  # noqa: E731
    moved, scaled = by_channel(offset), by_channel(scale)
    wide = x.astype(jnp.float32)
    out = batch_normalization(wide, by_channel(mean), by_channel(variance), moved, scaled, epsilon).astype(x.dtype)
    if is_training:
        count = x.size // x.shape[channels]
        variance = variance * (count / max(count - 1, 1))
        if factor != 1.0:
            mean = old_mean * (1 - factor) + mean * factor
            variance = old_variance * (1 - factor) + variance * factor
    # They are for moving averages; TensorFlow does not differentiate them, either.
    return out, jax.lax.stop_gradient(as_array(mean)), jax.lax.stop_gradient(as_array(variance))


def _of_rank(value: Any, rank: int) -> Any:
    if value is None:
        return None
    value = as_array(value)
    return value.reshape((1,) * (rank - value.ndim) + value.shape) if value.ndim else value


def xw_plus_b(x: Any, weights: Any, biases: Any) -> Any:
    """`x @ weights + biases`."""
    return as_array(x) @ as_array(weights) + as_array(biases).reshape(1, -1)


def relu_layer(x: Any, weights: Any, biases: Any) -> Any:
    """`relu(x @ weights + biases)`."""
    return jax.nn.relu(xw_plus_b(x, weights, biases))


def softmax_cross_entropy(labels: Any, logits: Any, axis: Any) -> Any:
    """The cross entropy of the softmax of logits with probabilities."""
    logits, axis = as_array(logits), -1 if axis is None else int(axis)
    labels = as_array(labels).astype(logits.dtype)
    # TensorFlow's gradient is `softmax - labels` whatever the labels add up to, as those of a row that is masked do not
    # add up to 1. The true one is `softmax * sum(labels) - labels`, so what is missing is added: to the gradient alone.
    total = jax.nn.logsumexp(logits, axis)
    missing = jax.lax.stop_gradient(1 - jnp.sum(labels, axis)) * (total - jax.lax.stop_gradient(total))
    return missing - jnp.sum(labels * jax.nn.log_softmax(logits, axis), axis)


def softmax_cross_entropy_v1(labels: Any, logits: Any, axis: Any) -> Any:
    """As `softmax_cross_entropy`, without gradient for the labels."""
    return softmax_cross_entropy(jax.lax.stop_gradient(as_array(labels)), logits, axis)


def sparse_softmax_cross_entropy(labels: Any, logits: Any) -> Any:
    """The cross entropy of the softmax of logits with the numbers of classes."""
    logits, labels = as_array(logits), as_array(labels)
    # A label that no class has gives NaN, as on TensorFlow's GPUs, rather than the loss of the last class.
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits, -1), labels[..., None], -1, mode="fill", fill_value=jnp.nan)
    return -chosen[..., 0]


def sigmoid_cross_entropy(labels: Any, logits: Any) -> Any:
    """The cross entropy of the sigmoid of logits with probabilities."""
    logits = as_array(logits)
    labels = as_array(labels).astype(logits.dtype)
    # In this form no large logit overflows, of either sign; and where it is zero, both parts choose the same side, or
    # the gradient would be neither of the two.
    above = logits >= 0
    return jnp.where(above, logits, 0) - logits * labels + jnp.log1p(jnp.exp(jnp.where(above, -logits, logits)))


def weighted_cross_entropy(labels: Any, logits: Any, pos_weight: Any) -> Any:
    """As `sigmoid_cross_entropy`, where what should be 1 counts `pos_weight` times."""
    logits = as_array(logits)
    labels = as_array(labels).astype(logits.dtype)
    weight = 1 + (jnp.asarray(pos_weight, logits.dtype) - 1) * labels
    return (1 - labels) * logits + weight * (jnp.log1p(jnp.exp(-absolute(logits))) + jax.nn.relu(-logits))


def log_poisson_loss(targets: Any, log_input: Any, full: bool) -> Any:
    """The negative log likelihood of a Poisson distribution, given the logarithm of its rate."""
    targets, log_input = as_array(targets), as_array(log_input)
    loss = jnp.exp(log_input) - log_input * targets
    # Stirling's formula holds for targets above 1; `safe` keeps the gradient of the others, which are not chosen, from
    # NaN.
    if full:
        safe = jnp.maximum(targets, 1)
        stirling = targets * jnp.log(safe) - targets + 0.5 * jnp.log(2 * jnp.pi * safe)
        loss += jnp.where((targets >= 0) & (targets <= 1), jnp.zeros_like(loss), stirling)
    return loss
