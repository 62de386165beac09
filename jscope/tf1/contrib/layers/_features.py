"""`spatial_softmax` and `embed_sequence`: from maps to points, and from tokens to vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1 import nn
from jscope.tf1._arguments import constant_initializer, ones_initializer
from jscope.tf1._entering import variable_scope
from jscope.tf1._errors import ArgumentError
from jscope.tf1._tensors import tensor
from jscope.tf1.contrib.framework._variables import model_variable
from jscope.tf1.contrib.layers._common import layout
from jscope.tf1.contrib.layers.utils import get_variable_collections
from jscope.tf1.layers._layer import array_of, channels_last


def spatial_softmax(
    features: Any,
    temperature: float | None = None,
    name: Any = None,
    variables_collections: Any = None,
    trainable: bool = True,
    data_format: str = "NHWC",
) -> Any:
    """Returns where in each channel the features are large, as `(batch, 2 * channels)` numbers from -1 to 1.

    Of each channel these are the mean row and column under a softmax over all places (https://arxiv.org/abs/1509.06113).

    Args:
      features: Of shape (batch, height, width, channels), or (batch, channels, height, width).
      temperature: What the softmax begins to divide by: the `temperature`, a variable without axes.
      name: The variable scope.
      variables_collections: Where the variable is put, by the key `temperature` of a dict, or all of them.
      trainable: Whether it is trained.
      data_format: `"NHWC"` or `"NCHW"`.
    """
    with variable_scope(name, "spatial_softmax"):
        x = channels_last(array_of(tensor(features)), layout(data_format))
        batch, height, width, channels = x.shape
        start = ones_initializer() if temperature is None else constant_initializer(temperature)
        keys = get_variable_collections(variables_collections, "temperature") if trainable else None
        scale = array_of(model_variable("temperature", (), initializer=start, collections=keys, trainable=trainable))
        # The variable is float32, or what a getter makes of it; the points are of the dtype of the features.
        weights = jax.nn.softmax(x / scale.astype(x.dtype), (1, 2))
        rows, columns = (np.linspace(-1, 1, size).astype(x.dtype) for size in (height, width))
        places = jnp.einsum("bhwc,h->bc", weights, rows), jnp.einsum("bhwc,w->bc", weights, columns)
        return tensor(jnp.stack(places, 2).reshape(batch, 2 * channels))


def embed_sequence(
    ids: Any,
    vocab_size: int | None = None,
    embed_dim: int | None = None,
    unique: bool = False,
    initializer: Any = None,
    regularizer: Callable[..., Any] | None = None,
    trainable: bool = True,
    scope: Any = None,
    reuse: Any = None,
) -> Any:
    """Returns the rows of `embeddings`, of shape (vocab_size, embed_dim), that stand at `ids`.

    >>> from jscope import tf1
    >>> model = tf1.transform(lambda ids: tf1.contrib.layers.embed_sequence(ids, 5, 2))
    >>> params = model.init(jax.random.key(0), np.array([[0, 4, 1]]))
    >>> jscope.tree.names(params), model.apply(params, np.array([[0, 4, 1]])).shape
    (['EmbedSequence/embeddings'], (1, 3, 2))

    Args:
      ids: Integers of any shape.
      vocab_size: How many rows there are; with `reuse` it may be left out.
      embed_dim: How long a row is; with `reuse` it may be left out.
      unique: Accepted, without effect: TensorFlow looks equal ids up once.
      initializer: Where the rows start.
      regularizer: Their penalty.
      trainable: Whether they are trained.
      scope: The variable scope.
      reuse: Whether the variable must exist.
    """
    if not (reuse or (vocab_size and embed_dim)):
        raise ArgumentError(
            "Must specify vocab size and embedding dimension when not reusing. "
            f"Got vocab_size={vocab_size} and embed_dim={embed_dim}"
        )
    with variable_scope(scope, "EmbedSequence", [ids], reuse=reuse):
        shape = [vocab_size, embed_dim] if vocab_size and embed_dim else None
        options = {"initializer": initializer, "regularizer": regularizer, "trainable": trainable}
        return nn.embedding_lookup(model_variable("embeddings", shape, **options), ids)
