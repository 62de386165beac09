"""`Layer`: variables of its own under a variable scope, which it opens when it is called for the first time.

A layer is called twice and shares. What it remembers of a call, its scope and its variables, belongs to the running
`init` or `apply` and stands in the memory of that call, so that one object serves many calls, and a body that JAX runs
twice. When scopes are opened, and with which reuse, is TensorFlow's business to the letter: default names and their
numbers depend on it.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jscope._util._stack import call_site
from jscope.tf1 import _dtypes, initializers
from jscope.tf1._ambient import Ambient, current, current_or_none
from jscope.tf1._arguments import VariableAggregation, VariableSynchronization
from jscope.tf1._arrays import unwrap
from jscope.tf1._collections import GraphKeys, add_to_collection
from jscope.tf1._entering import ScopeChange, reuse_flag, variable_scope
from jscope.tf1._errors import ArgumentError, ArgumentTypeError, advised
from jscope.tf1._get_variable import get_variable
from jscope.tf1._name_scopes import NameScope
from jscope.tf1._scopes import VariableScope
from jscope.tf1._shapes import TensorShape
from jscope.tf1._tensors import TensorLike, as_array, tensor
from jscope.tf1._variables import Variable
from jscope.tf1.losses import RegularizationLoss, add_penalty

_IGNORED = {"autocast", "dynamic", "input_shape", "batch_input_shape", "dtype_policy"}
"""Keywords of Keras's layers that mean nothing here."""


class Past(NamedTuple):
    """What a layer remembers of the running call.

    Attributes:
      scope: The variable scope that it opened, None before.
      built: Whether it has its variables.
      variables: Those, in the order in which they were asked for.
      losses: The penalties that it added.
      updates: The writes that it made.
    """

    scope: VariableScope | None = None
    built: bool = False
    variables: tuple[Any, ...] = ()
    losses: tuple[Any, ...] = ()
    updates: tuple[Any, ...] = ()


_NO_PAST = Past()


class Layer:
    """The base class of layers, also of one's own, which override `build(input_shape)` and `call(inputs)`.

    >>> from jscope import tf1
    >>> class Scale(tf1.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight("factor", input_shape[-1:], initializer=tf1.ones_initializer())
    ...
    ...     def call(self, inputs):
    ...         return inputs * self.factor
    >>> def model(x):
    ...     scale = Scale(name="scale")
    ...     return scale(scale(x))
    >>> params = tf1.transform(model).init(jax.random.key(0), jnp.ones((2, 3)))
    >>> jscope.tree.names(params)
    ['scale/factor']

    Args:
      trainable: Whether its variables are trained.
      name: The name of its scope, made unique where it is opened; None for that of the class.
      dtype: The dtype of its variables; None for that of the first input.
      activity_regularizer: A function of the output, whose value per example is added to the penalties.
      _scope: The scope itself, by name or as a `VariableScope`.
      _reuse: Whether the variables must exist; with `tf1.AUTO_REUSE`, whether or not.
    """

    def __init__(
        self,
        trainable: bool = True,
        name: Any = None,
        dtype: Any = None,
        *,
        activity_regularizer: Callable[..., Any] | None = None,
        _scope: Any = None,
        _reuse: Any = None,
        **options: Any,
    ) -> None:
        if unknown := sorted(set(options) - _IGNORED):
            raise ArgumentTypeError(f"`{type(self).__name__}` has no argument `{unknown[0]}`.")
        self.trainable, self.activity_regularizer = trainable, activity_regularizer
        self._reuse, self._dtype = _reuse, dtype
        self._base_name = name.name if isinstance(name, VariableScope) else name or snake_case(type(self).__name__)
        self._name = name if name and not isinstance(name, VariableScope) else _numbered(self._base_name)
        self._given_scope: VariableScope | None = None
        # At once, and whether or not the layer is ever called: it takes a default name.
        if _scope:
            with variable_scope(_scope) as opened:
                self._given_scope = opened

    def build(self, input_shape: Any) -> None:
        """Creates the variables; runs before the first `call`."""

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes the output."""
        return inputs

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the output, after creating the variables if this is the first call."""
        ambient = current(type(self).__name__)
        # Before it looks at what it remembers: where JAX runs a body again, the layer has to forget the first run.
        ambient.note_use("Layer `{}` was called", self._name)
        scope = self._opened_scope(ambient, kwargs.pop("scope", None))
        reuse = True if self._past(ambient).built else self._reuse
        with _Entered(ambient, scope, reuse):
            inputs = _map_inputs(tensor, inputs)
            self._build_once(ambient, inputs)
            out = self.call(inputs, *args, **kwargs)
            if self.activity_regularizer is not None:
                self._penalize(out)
        return out

    apply = __call__

    def _build_once(self, ambient: Ambient, inputs: Any) -> None:
        if self._past(ambient).built:
            return
        if self._dtype is None:
            self._dtype = _dtypes.as_dtype(jax.tree.leaves(inputs, is_leaf=_is_leaf)[0].dtype)
        self.build(_map_inputs(operator.attrgetter("shape"), inputs))
        self._remember(ambient, built=True)

    def add_weight(
        self,
        name: str,
        shape: Any,
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Callable[..., Any] | None = None,
        trainable: bool | None = None,
        constraint: Callable[..., Any] | None = None,
        use_resource: bool | None = None,
        synchronization: Any = VariableSynchronization.AUTO,
        aggregation: Any = VariableAggregation.NONE,
        partitioner: Callable[..., Any] | None = None,
    ) -> Any:
        """Returns the variable `name` of this layer, created if it is new. As `get_variable`, in the layer's scope."""
        ambient = current("Layer.add_weight")
        ambient.note_use("Layer `{}` asked for a variable", self._name)
        if trainable is None:
            trainable = synchronization is not VariableSynchronization.ON_READ
        dtype = dtype or self._dtype or _dtypes.FLOAT32
        scope, reuse = self._opened_scope(ambient, None), self._past(ambient).built or self._reuse
        with _Entered(ambient, scope, reuse) as here:
            known = len(ambient.memory.store)
            variable = get_variable(
                name,
                shape,
                dtype,
                initializer=self._initializer(initializer, here.initializer),
                trainable=trainable and self.trainable,
                constraint=constraint,
                partitioner=partitioner,
                use_resource=use_resource,
                synchronization=synchronization,
                aggregation=aggregation,
            )
            # Beside that of the scope, which `get_variable` has added, and for the variables that this call created.
            if regularizer and len(ambient.memory.store) > known:
                self._regularize(ambient, variable, regularizer)
        self._remember(ambient, variables=(*self._past(ambient).variables, variable))
        return variable

    add_variable = add_weight

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Adds penalties, to the collection `REGULARIZATION_LOSSES`."""
        given = losses if isinstance(losses, list | tuple) else [losses]
        made = [loss() if callable(loss) and not isinstance(loss, TensorLike) else loss for loss in given]
        for loss in made:
            if loss is not None:
                self._add_loss(tensor(loss))

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Adds what was written, to the collection `UPDATE_OPS`. It was written already: see `tf1.assign`."""
        ambient = current("Layer.add_update")
        for update in updates if isinstance(updates, list | tuple) else [updates]:
            made = update() if callable(update) and not isinstance(update, TensorLike) else update
            add_to_collection(GraphKeys.UPDATE_OPS, made)
            self._remember(ambient, updates=(*self._past(ambient).updates, made))

    @property
    def name(self) -> str:
        """The name that was given, or that of the class, with the number of the layer."""
        return self._name

    @property
    def dtype(self) -> Any:
        """The dtype of its variables; before the first call None, unless it was given."""
        return None if self._dtype is None else _dtypes.wrapped(_dtypes.as_dtype(self._dtype))

    @property
    def scope_name(self) -> str:
        """The full name of its variable scope, which it has from the first call on."""
        scope = self._given_scope or self._past(current("Layer.scope_name")).scope
        if scope is None:
            raise ArgumentError(
                advised(
                    f'No name available for layer scope because the layer "{self._name}" has not been used yet.',
                    "The scope name is determined the first time the layer instance is called.",
                )
            )
        return scope.name

    @property
    def built(self) -> bool:
        """Whether it has its variables in the running call."""
        ambient = current_or_none()
        return ambient is not None and self._past(ambient).built

    @built.setter
    def built(self, _: bool) -> None:
        # Layers of one's own set it at the end of `build`, after which it is set anyway.
        pass

    @property
    def variables(self) -> list[Any]:
        """Its variables: those that are trained, then the others."""
        return self.trainable_variables + self.non_trainable_variables

    @property
    def trainable_variables(self) -> list[Any]:
        """Its variables that are trained."""
        return [each for each in self._own() if self.trainable and getattr(each, "trainable", True)]

    @property
    def non_trainable_variables(self) -> list[Any]:
        """Its variables that are not trained."""
        trained = {id(each) for each in self.trainable_variables}
        return [each for each in self._own() if id(each) not in trained]

    weights, trainable_weights, non_trainable_weights = variables, trainable_variables, non_trainable_variables

    @property
    def losses(self) -> list[Any]:
        """The penalties that it added in the running call."""
        return list(self._past(current("Layer.losses")).losses)

    @property
    def updates(self) -> list[Any]:
        """The values that it wrote in the running call."""
        return list(self._past(current("Layer.updates")).updates)

    def _own(self) -> tuple[Any, ...]:
        ambient = current_or_none()
        return () if ambient is None else self._past(ambient).variables

    def _past(self, ambient: Ambient) -> Past:
        return ambient.memory.templates.get(self, _NO_PAST)

    def _remember(self, ambient: Ambient, **facts: Any) -> None:
        ambient.memory.templates[self] = self._past(ambient)._replace(**facts)

    def _opened_scope(self, ambient: Ambient, wanted: Any) -> VariableScope:
        """Returns the layer's scope, which it opens if it has none: by a default name, unless it reuses."""
        if self._given_scope is not None:
            return self._given_scope
        scope = self._past(ambient).scope
        if scope is not None:
            return scope
        by_name = self._base_name if wanted is None else wanted
        opening = variable_scope(by_name) if self._reuse else variable_scope(wanted, default_name=self._base_name)
        with opening as opened:
            self._remember(ambient, scope=opened)
        return opened

    def _initializer(self, given: Any, of_scope: Any) -> Any:
        if isinstance(given, str):
            return getattr(initializers, given)()
        return of_scope if given is None else given

    def _regularize(self, ambient: Ambient, variable: Any, regularizer: Callable[..., Any]) -> None:
        if isinstance(variable, Variable):
            add_penalty(ambient, variable, regularizer)
            loss = RegularizationLoss(variable, regularizer)
            self._remember(ambient, losses=(*self._past(ambient).losses, loss))
        else:
            # A getter has made something else of it, and that is what is penalized.
            self.add_loss(regularizer(variable))

    def _penalize(self, out: Any) -> None:
        assert self.activity_regularizer is not None
        for each in jax.tree.leaves(out, is_leaf=_is_leaf):
            # By the size of the batch, as in TensorFlow: the penalty of an example does not depend on how many there
            # are.
            penalty = self.activity_regularizer(each)
            self._add_loss(tensor(jnp.asarray(penalty) / each.shape[0], "ActivityRegularizer"))

    def _add_loss(self, loss: Any) -> None:
        ambient = current("Layer.add_loss")
        add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
        self._remember(ambient, losses=(*self._past(ambient).losses, loss))


class _Entered:
    """The scope of a layer, entered again: by a jump, and under the name scope of its first entry."""

    __slots__ = ("_ambient", "_change", "_names")

    def __init__(self, ambient: Ambient, scope: VariableScope, reuse: Any) -> None:
        # TensorFlow enters a `variable_scope` that has no name scope of its own, then the layer's name scope. The first
        # leaves the names as they are, so its change of variable scopes is all that is left of it here: this happens
        # for each variable of each layer.
        reuse, names = reuse_flag(reuse), scope.original_name_scope
        self._change = ScopeChange(scope, reuse, names, {}, call_site() if reuse else "")
        self._ambient, self._names = ambient, NameScope(names)

    def __enter__(self) -> VariableScope:
        self._names.enter(self._ambient)
        return self._change.enter(self._ambient)

    def __exit__(self, *_: object) -> None:
        try:
            self._change.leave(self._ambient)
        finally:
            self._names.__exit__()


def _is_leaf(value: Any) -> bool:
    return isinstance(value, TensorLike)


def _map_inputs(function: Callable[[Any], Any], inputs: Any) -> Any:
    # Nearly always there is one, and JAX takes longer to find that out than `function` takes.
    return function(inputs) if _is_leaf(inputs) else jax.tree.map(function, inputs, is_leaf=_is_leaf)


def _numbered(base: str) -> str:
    """Returns the name of a layer of which only the class is known: `dense_1`, `dense_2`, ..."""
    ambient = current_or_none()
    if ambient is None:
        return f"{base}_1"
    key = Layer, base
    number = ambient.memory.templates.get(key, 0) + 1
    ambient.memory.templates[key] = number
    return f"{base}_{number}"


@functools.cache
def snake_case(name: str) -> str:
    """Returns the name of a class as Keras spells layers.

    >>> snake_case("Conv2DTranspose"), snake_case("BatchNormalization")
    ('conv2d_transpose', 'batch_normalization')
    """
    words = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()


def array_of(value: Any) -> Any:
    """Returns the array that a tensor, a variable or a constant stands for."""
    return as_array(unwrap(value))


def channels_last(x: Any, data_format: str) -> Any:
    """Returns an array with the channels as its last axis."""
    return jnp.moveaxis(x, 1, -1) if is_channels_first(data_format) else x


def as_given(y: Any, data_format: str) -> Any:
    """Returns an array with the channels where `data_format` says, after `channels_last`."""
    return jnp.moveaxis(y, -1, 1) if is_channels_first(data_format) else y


def is_channels_first(data_format: str) -> bool:
    """Whether the channels stand before the spatial axes."""
    if data_format not in ("channels_first", "channels_last"):
        raise ArgumentError(
            f'The `data_format` argument must be one of "channels_first", "channels_last". Received: {data_format}'
        )
    return data_format == "channels_first"


def activated(y: Any, activation: Any, name: str) -> Any:
    """Returns an output as a tensor of this name, after the activation: a function, or the name of one of `jax.nn`."""
    out = tensor(y, name)
    # Keras's word for none, which TensorFlow's layers take as well.
    if activation == "linear":
        activation = None
    elif isinstance(activation, str):
        known = getattr(jax.nn, activation, None)
        if known is None:
            raise ArgumentError(
                advised(
                    f"Unknown activation function: {activation}", "Give a function, or the name of one of `jax.nn`."
                )
            )
        activation = known
    return out if activation is None else tensor(activation(out))


def channels_of(shape: TensorShape, data_format: str = "channels_last") -> int:
    """Returns the number of channels of an input."""
    return int(shape[1 if is_channels_first(data_format) else -1])


def check_rank(layer: Layer, x: Any, wanted: str, *, fits: bool) -> None:
    """Raises unless the input has the rank that a layer wants: `"ndim=4"`, say."""
    if not fits:
        raise ArgumentError(
            f'Input 0 of layer "{layer.name}" is incompatible with the layer: expected {wanted}, '
            f"found ndim={x.ndim}. Full shape received: {x.shape}"
        )


def sizes(name: str, value: Any, rank: int) -> tuple[int, ...]:
    """Returns an argument that has one int for each of `rank` spatial axes, or one for all of them."""
    found = tuple(map(int, value)) if hasattr(value, "__len__") else (int(value),) * rank
    if len(found) != rank:
        raise ArgumentError(f"The `{name}` argument must be a tuple of {rank} integers. Received: {value}")
    return found
