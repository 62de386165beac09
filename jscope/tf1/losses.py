"""Losses that variables bring along: the penalties of their regularizers.

A loss is in the collection `REGULARIZATION_LOSSES` as soon as its variable is created. Its value is computed when it is
asked for, from the value that the variable has then. Outside the function,
`model.specs(...).regularization_loss(params)` gives the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jscope.errors import DTypeMismatchError
from jscope.tf1 import _bridge
from jscope.tf1._ambient import Ambient
from jscope.tf1._arrays import unwrap
from jscope.tf1._collections import GraphKeys, add, add_to_collection, get_collection
from jscope.tf1._errors import advised
from jscope.tf1._lazy import finder
from jscope.tf1._tensors import TensorLike
from jscope.tf1._variables import Variable, without_output_number

# The losses of labels and predictions, such as `tf.losses.mean_squared_error`, are operations.
__getattr__, __dir__ = finder("losses")


class RegularizationLoss(TensorLike):
    """The penalty of one variable, computed where it is used. It stands for a scalar array."""

    __slots__ = ("regularizer", "variable")

    def __init__(self, variable: Variable, regularizer: Callable[[Any], Any]) -> None:
        self.variable = variable
        self.regularizer = regularizer

    @property
    def name(self) -> str:
        """The name by which collections filter: that of an op `Regularizer` below the variable."""
        return f"{_bridge.join(without_output_number(self.variable.name), 'Regularizer')}:0"

    @property
    def counts(self) -> bool:
        """Whether there is a penalty, that is, whether the regularizer returns anything but None."""
        value = jax.ShapeDtypeStruct(self.variable.shape, self.variable.dtype)
        return jax.eval_shape(lambda v: unwrap(self.regularizer(v)), value) is not None

    def value(self) -> Any:
        """Returns the penalty."""
        return unwrap(self.regularizer(self.variable.value()))

    def __repr__(self) -> str:
        return f"<tf1.RegularizationLoss of '{self.variable.name}'>"


# What comes out of a JAX transform is the value itself, since nothing is left to compute.
jax.tree_util.register_pytree_node(
    RegularizationLoss, lambda loss: ((loss.value(),), None), lambda _, children: children[0]
)


def add_penalty(ambient: Ambient, variable: Variable, regularizer: Any) -> None:
    """Puts the penalty of a new variable into its collection, unless the regularizer returns None.

    In `apply` nothing is computed before it is asked for: there `get_collection` finds out whether there is a penalty.
    """
    if not ambient.collecting or regularizer(variable.value()) is not None:
        add(ambient, GraphKeys.REGULARIZATION_LOSSES, RegularizationLoss(variable, regularizer))


def get_regularization_losses(scope: str | None = None) -> list[Any]:
    """Returns the penalties of the running call's variables; with `scope`, only of those whose names begin so."""
    return get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(scope: str | None = None, name: str = "total_regularization_loss") -> jax.Array:
    """Returns the sum of the penalties of the running call, 0.0 if there are none.

    >>> from jscope import tf1
    >>> def model(x):
    ...     with tf1.variable_scope("foo", regularizer=tf1.contrib.layers.l2_regularizer(0.5)):
    ...         return x * tf1.get_variable("w", []), tf1.losses.get_regularization_loss()
    >>> float(tf1.transform(model).apply({"foo": {"w": 2.0}}, 1.0)[1])
    1.0

    Raises:
      DTypeMismatchError: Their dtypes differ; TensorFlow does not add such tensors.
    """
    return _sum(get_regularization_losses(scope))


def add_loss(loss: Any, loss_collection: Any = GraphKeys.LOSSES) -> None:
    """Puts a loss into a collection."""
    if loss_collection:
        add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: Any = GraphKeys.LOSSES) -> list[Any]:
    """Returns the losses in a collection."""
    return get_collection(loss_collection, scope)


def get_total_loss(
    add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None
) -> jax.Array:
    """Returns the sum of the losses and, unless switched off, of the penalties."""
    return _sum(get_losses(scope) + (get_regularization_losses(scope) if add_regularization_losses else []))


def _sum(losses: list[Any]) -> jax.Array:
    values = [jnp.asarray(unwrap(loss)) for loss in losses]
    # jscope's own sums may promote, but TensorFlow's `AddN` does not.
    dtypes = sorted({str(value.dtype) for value in values})
    if len(dtypes) > 1:
        raise DTypeMismatchError(
            advised(
                f"Tensors in list passed to 'inputs' of 'AddN' Op have types {dtypes} that don't all match.",
                "Cast the value inside the regularizer, so that all penalties are of one dtype.",
            )
        )
    return sum(values[1:], values[0]) if values else jnp.zeros((), jnp.float32)
