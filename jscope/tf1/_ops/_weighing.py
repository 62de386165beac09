"""The losses of `tf.losses`: a number for each element, weighed, and reduced to one, which goes into a collection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jscope.tf1._arrays import absolute as magnitude
from jscope.tf1._errors import ArgumentError
from jscope.tf1._name_scopes import name_scope
from jscope.tf1._ops import _normalizing
from jscope.tf1._ops._call import plain, takes_tensors
from jscope.tf1._tensors import as_array, tensor
from jscope.tf1.losses import add_loss


class Reduction:
    """How a loss becomes one number."""

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """Returns all of them."""
        return cls.NONE, cls.SUM, cls.MEAN, cls.SUM_OVER_BATCH_SIZE, cls.SUM_BY_NONZERO_WEIGHTS


BY_WEIGHT = Reduction.SUM_BY_NONZERO_WEIGHTS


def divided(total: Any, count: Any) -> Any:
    """Returns `total / count`, and zero where nothing counts."""
    # Chosen before and after the division, or the gradient where nothing counts would be NaN.
    return jnp.where(count == 0, jnp.zeros_like(total), total / jnp.where(count == 0, jnp.ones_like(count), count))


def weighed(losses: Any, weights: Any, scope: Any, collection: Any, reduction: str) -> Any:
    """Returns the reduced loss, and puts it into the collection."""
    losses = jnp.asarray(plain(losses))
    weights = jnp.asarray(plain(weights)).astype(losses.dtype)
    # TensorFlow fits weights to losses by one axis of size 1 at the end, which either may lack.
    if 0 < weights.ndim < losses.ndim and weights.ndim == losses.ndim - 1:
        weights = weights[..., None]
    if weights.ndim == losses.ndim + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if reduction not in Reduction.all():
        raise ArgumentError(f"Invalid reduction: {reduction!r} is not one of {Reduction.all()}.")
    each = losses * weights
    everywhere = jnp.broadcast_to(weights, losses.shape)
    sizes: dict[str, Callable[[], Any]] = {
        Reduction.MEAN: lambda: jnp.sum(everywhere),
        Reduction.SUM_OVER_BATCH_SIZE: lambda: jnp.asarray(losses.size, losses.dtype),
        BY_WEIGHT: lambda: jnp.sum((everywhere != 0).astype(losses.dtype)),
    }
    found = each if reduction == Reduction.NONE else jnp.sum(each)
    found = tensor(divided(found, sizes[reduction]()) if reduction in sizes else found, scope)
    add_loss(found, collection)
    return found


def loss(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Returns the kernel of a loss of labels and predictions; its own arguments come after the weights."""

    def kernel(labels: Any, predictions: Any, weights: Any, *rest: Any) -> Any:
        *own, scope, collection, how = rest
        labels, predictions = plain(labels), jnp.asarray(plain(predictions))
        # The name scope around the loss, and its name inside, are those of TensorFlow's graph.
        with name_scope(scope, name):
            return weighed(function(labels, predictions, *own), weights, "value", collection, how)

    return takes_tensors(kernel)


@takes_tensors
def compute_weighted_loss(losses: Any, weights: Any, scope: Any, collection: Any, reduction: str) -> Any:
    """`weighed`, in a name scope."""
    with name_scope(scope, "weighted_loss"):
        return weighed(losses, weights, "value", collection, reduction)


def _alike(labels: Any, predictions: Any) -> Any:
    return as_array(labels).astype(predictions.dtype)


def squared(labels: Any, predictions: Any) -> Any:
    """The square of the error."""
    return jnp.square(predictions - _alike(labels, predictions))


def absolute(labels: Any, predictions: Any) -> Any:
    """The size of the error."""
    return magnitude(predictions - _alike(labels, predictions))


def huber(labels: Any, predictions: Any, delta: Any) -> Any:
    """Half the square of a small error; of a large one, more than `delta`, a line."""
    error = absolute(labels, predictions)
    # Without a choice between two formulas: the gradient of both ends is that of one expression.
    small = jnp.minimum(error, jnp.asarray(delta, error.dtype))
    return 0.5 * small * small + delta * (error - small)


def hinge(labels: Any, logits: Any) -> Any:
    """How much is missing to a margin of 1; labels are 0 and 1."""
    signs = 2 * _alike(labels, logits) - 1
    return jax.nn.relu(1 - signs * logits)


def log(labels: Any, predictions: Any, epsilon: Any) -> Any:
    """The cross entropy of probabilities."""
    labels = _alike(labels, predictions)
    return -labels * jnp.log(predictions + epsilon) - (1 - labels) * jnp.log(1 - predictions + epsilon)


def cosine(labels: Any, predictions: Any, axis: Any) -> Any:
    """1 less the product of vectors that are of length 1."""
    return 1 - jnp.sum(predictions * _alike(labels, predictions), int(axis), keepdims=True)


@takes_tensors
def cosine_distance(labels: Any, predictions: Any, axis: Any, weights: Any, *rest: Any) -> Any:
    """The kernel of `tf.losses.cosine_distance`, whose own argument comes before the weights."""
    return loss(cosine, "cosine_distance_loss")(labels, predictions, weights, axis, *rest)


def softmax(labels: Any, logits: Any, smoothing: Any) -> Any:
    """The cross entropy of the softmax with probabilities."""
    labels = _alike(labels, logits)
    if smoothing:
        labels = labels * (1 - smoothing) + smoothing / labels.shape[-1]
    return _normalizing.softmax_cross_entropy_v1(labels, logits, None)


def sparse_softmax(labels: Any, logits: Any) -> Any:
    """The cross entropy of the softmax with classes."""
    labels = as_array(labels)
    labels = labels[..., 0] if labels.ndim == logits.ndim and labels.shape[-1] == 1 else labels
    return _normalizing.sparse_softmax_cross_entropy(labels, logits)


def sigmoid(labels: Any, logits: Any, smoothing: Any) -> Any:
    """The cross entropy of the sigmoid with probabilities."""
    labels = _alike(labels, logits)
    labels = labels * (1 - smoothing) + 0.5 * smoothing if smoothing else labels
    return _normalizing.sigmoid_cross_entropy(labels, logits)
