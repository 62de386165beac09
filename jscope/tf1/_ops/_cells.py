"""The cells of `tf.nn.rnn_cell`, with TensorFlow's variables under TensorFlow's names.

A cell knows the variable scope of its first call, and goes back there in every other: that is how the steps of a
sequence share its variables. What it knows belongs to one call of `init` or `apply`, so one object serves for many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1 import initializers
from jscope.tf1._ambient import current
from jscope.tf1._entering import variable_scope
from jscope.tf1._errors import ArgumentError
from jscope.tf1._get_variable import get_variable
from jscope.tf1._ops import _drawing
from jscope.tf1._ops._call import call, plain
from jscope.tf1._ops._flow import tensors_of
from jscope.tf1._ops._shaping import filled
from jscope.tf1._shapes import TensorShape
from jscope.tf1._tensors import tensor

Activation = Callable[[Any], Any]


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM cell: its memory `c`, and its output `h`."""

    c: Any
    h: Any


def _array(value: Any) -> Any:
    return jnp.asarray(plain(value))


def _activate(function: Activation | None, x: Any) -> Any:
    return jnp.tanh(x) if function is None else _array(function(tensor(x)))


def _zeros(size: Any, batch: Any, dtype: Any) -> Any:
    if isinstance(size, list | tuple) and not isinstance(size, TensorShape):
        made = [_zeros(each, batch, dtype) for each in size]
        return size._make(made) if hasattr(size, "_make") else tuple(made)  # pyright: ignore[reportAttributeAccessIssue]
    dims = size.as_list() if isinstance(size, TensorShape) else [size]
    return tensor(filled([int(plain(batch)), *dims], 0, dtype))


class RNNCell:
    """A cell to derive from: with `call(inputs, state)`, or `__call__(inputs, state, scope=None)`.

    Attributes:
      state_size: The size of the state, or sizes of its parts.
      output_size: The size of the output.
    """

    state_size: Any
    output_size: Any

    def __init__(self, trainable: bool = True, name: str | None = None, dtype: Any = None, **options: Any) -> None:
        self.trainable, self.dtype = trainable, dtype
        self._reuse = options.pop("_reuse", None)
        self._base_name = name or re.sub("([a-z])([A-Z])", r"\1_\2", _words(type(self).__name__)).lower()

    @property
    def name(self) -> str:
        """The name of the cell, which is the default name of its variable scope."""
        return self._base_name

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Returns the output and the new state."""
        # In the memory of the call, which goes back where JAX runs a body again: so the second run opens the scope as
        # the first one did.
        templates = current("rnn_cell").memory.templates
        first = self not in templates
        if first:
            with variable_scope(scope, default_name=None if scope else self._base_name) as entered:
                templates[self] = entered
        reuse = self._reuse if first else True
        # The name scope was opened by the first call, and TensorFlow does not open another one for each step.
        with variable_scope(templates[self], reuse=reuse, auxiliary_name_scope=False):
            return self.call(inputs, state, *args, **kwargs)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Returns the output and the new state. Cells define it."""
        raise NotImplementedError(
            f"`{type(self).__name__}` has no `call(inputs, state)`.\n"
            "A class that derives from `RNNCell` defines it, or `__call__(inputs, state, scope=None)`, and returns the "
            "output and the new state."
        )

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """Returns a state of zeros."""
        return _zeros(self.state_size, batch_size, dtype)

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
        """Returns a state of zeros, for the batch of the inputs if they are given."""
        if inputs is not None:
            inputs = _array(inputs)
            return self.zero_state(inputs.shape[0], inputs.dtype)
        return self.zero_state(batch_size, dtype)

    def _affine(self, x: Any, size: int, bias: Any = 0.0, initializer: Any = None, dtype: Any = None) -> Any:
        """Returns `x @ kernel + bias` with the variables `kernel` and `bias`."""
        kernel = get_variable("kernel", [x.shape[-1], size], dtype or self.dtype or x.dtype, initializer)
        start = bias if callable(bias) else initializers.constant(bias)
        offset = get_variable("bias", [size], dtype or self.dtype or x.dtype, start)
        return x @ kernel.operand() + offset.operand().reshape(1, -1)


def _words(name: str) -> str:
    # "BasicLSTMCell" is `basic_lstm_cell`, "GRUCell" is `gru_cell`: TensorFlow separates words, not letters.
    return re.sub("([A-Z]+)([A-Z][a-z])", r"\1_\2", name)


LayerRNNCell = RNNCell


class BasicRNNCell(RNNCell):
    """`tanh(concat(inputs, state) @ kernel + bias)`."""

    def __init__(
        self, num_units: int, activation: Any = None, reuse: Any = None, name: Any = None, dtype: Any = None, **_: Any
    ) -> None:
        super().__init__(_reuse=reuse, name=name, dtype=dtype)
        self._num_units = self.state_size = self.output_size = int(num_units)
        self._activation = activation

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Returns the output, which is also the new state."""
        x = jnp.concatenate([_array(inputs), _array(state)], 1)
        out = tensor(_activate(self._activation, self._affine(x, self._num_units)))
        return out, out


class GRUCell(RNNCell):
    """A gated recurrent unit: two gates, and a candidate of which the gates take a part."""

    def __init__(
        self,
        num_units: int,
        activation: Any = None,
        reuse: Any = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        name: Any = None,
        dtype: Any = None,
        **_: Any,
    ) -> None:
        super().__init__(_reuse=reuse, name=name, dtype=dtype)
        self._num_units = self.state_size = self.output_size = int(num_units)
        self._activation = activation
        self._kernel, self._bias = kernel_initializer, bias_initializer

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Returns the output, which is also the new state."""
        x, h = _array(inputs), _array(state)
        with variable_scope("gates"):
            # The gates begin at 1, so that at first a state is neither reset nor replaced.
            both = self._affine(jnp.concatenate([x, h], 1), 2 * self._num_units, self._bias or 1.0, self._kernel)
        reset, update = jnp.split(jax.nn.sigmoid(both), 2, 1)
        with variable_scope("candidate"):
            mixed = jnp.concatenate([x, reset * h], 1)
            candidate = _activate(
                self._activation, self._affine(mixed, self._num_units, self._bias or 0.0, self._kernel)
            )
        out = tensor(update * h + (1 - update) * candidate)
        return out, out


class BasicLSTMCell(RNNCell):
    """An LSTM without peepholes; `forget_bias` is added to the forget gate."""

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: Any = None,
        dtype: Any = None,
        **_: Any,
    ) -> None:
        super().__init__(_reuse=reuse, name=name, dtype=dtype)
        self._num_units = self.output_size = int(num_units)
        self.state_size = LSTMStateTuple(num_units, num_units) if state_is_tuple else 2 * num_units
        self._forget_bias, self._state_is_tuple, self._activation = forget_bias, state_is_tuple, activation

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Returns the output, and memory and output as the new state."""
        c, h = map(_array, state) if self._state_is_tuple else jnp.split(_array(state), 2, 1)
        # The columns of TensorFlow's checkpoints are in this order; Keras has the forget gate second.
        gates = self._affine(jnp.concatenate([_array(inputs), h], 1), 4 * self._num_units)
        i, j, f, o = jnp.split(gates, 4, 1)
        kept = c * jax.nn.sigmoid(f + jnp.asarray(self._forget_bias, f.dtype))
        c = kept + jax.nn.sigmoid(i) * _activate(self._activation, j)
        h = _activate(self._activation, c) * jax.nn.sigmoid(o)
        return tensor(h), _lstm_state(c, h, self._state_is_tuple)


class LSTMBlockCell(BasicLSTMCell):
    """`tf.contrib.rnn.LSTMBlockCell`: a `BasicLSTMCell` whose variables are below `lstm_cell`."""

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        use_peephole: bool = False,
        dtype: Any = None,
        reuse: Any = None,
        name: str = "lstm_cell",
    ) -> None:
        if use_peephole or (cell_clip is not None and cell_clip > 0):
            raise ArgumentError(
                f"`{type(self).__name__}` has no `use_peephole` and no `cell_clip` in `jscope.tf1`.\n"
                "Use `tf.nn.rnn_cell.LSTMCell(num_units, use_peepholes=True, cell_clip=...)`."
            )
        super().__init__(num_units, forget_bias, reuse=reuse, name=name, dtype=dtype)


def _lstm_state(c: Any, h: Any, as_tuple: bool) -> Any:
    return LSTMStateTuple(tensor(c), tensor(h)) if as_tuple else tensor(jnp.concatenate([c, h], 1))


class LSTMCell(RNNCell):
    """An LSTM that may have peepholes, a projection of its output, and limits."""

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: Any = None,
        num_proj_shards: Any = None,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: Any = None,
        dtype: Any = None,
        **_: Any,
    ) -> None:
        super().__init__(_reuse=reuse, name=name, dtype=dtype)
        self._num_units, self._peepholes, self._cell_clip = int(num_units), use_peepholes, cell_clip
        self._initializer, self._num_proj, self._proj_clip = initializer, num_proj, proj_clip
        self._forget_bias, self._state_is_tuple, self._activation = forget_bias, state_is_tuple, activation
        self.output_size = num_proj or self._num_units
        sizes = LSTMStateTuple(self._num_units, self.output_size)
        self.state_size = sizes if state_is_tuple else sum(sizes)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Returns the output, and memory and output as the new state."""
        c, h = map(_array, state) if self._state_is_tuple else jnp.split(_array(state), [self._num_units], 1)
        x = jnp.concatenate([_array(inputs), h], 1)
        i, j, f, o = jnp.split(self._affine(x, 4 * self._num_units, initializer=self._initializer), 4, 1)
        peep = self._peephole(x.dtype)
        kept = jax.nn.sigmoid(f + jnp.asarray(self._forget_bias, f.dtype) + peep("f", c)) * c
        c = kept + jax.nn.sigmoid(i + peep("i", c)) * _activate(self._activation, j)
        if self._cell_clip is not None:
            c = jnp.clip(c, -self._cell_clip, self._cell_clip)
        # The output gate looks at the new memory, the other two at the old one.
        h = jax.nn.sigmoid(o + peep("o", c)) * _activate(self._activation, c)
        if self._num_proj is not None:
            h = self._projected(h)
        return tensor(h), _lstm_state(c, h, self._state_is_tuple)

    def _peephole(self, dtype: Any) -> Callable[[str, Any], Any]:
        if not self._peepholes:
            return lambda gate, c: jnp.zeros((), dtype)
        # All three in TensorFlow's order, which is that of their creation.
        make = lambda gate: get_variable(f"w_{gate}_diag", [self._num_units], dtype, self._initializer)  # noqa: E731
        weights = {gate: make(gate).operand().reshape(1, -1) for gate in "fio"}
        return lambda gate, c: weights[gate] * c

    def _projected(self, h: Any) -> Any:
        with variable_scope("projection"):
            kernel = get_variable("kernel", [self._num_units, self._num_proj], h.dtype, self._initializer)
        h = h @ kernel.operand()
        return h if self._proj_clip is None else jnp.clip(h, -self._proj_clip, self._proj_clip)


class LayerNormBasicLSTMCell(RNNCell):
    """An LSTM whose gates and memory are normalized, and whose candidate may be dropped out."""

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        input_size: Any = None,
        activation: Any = None,
        layer_norm: bool = True,
        norm_gain: float = 1.0,
        norm_shift: float = 0.0,
        dropout_keep_prob: Any = 1.0,
        dropout_prob_seed: Any = None,
        reuse: Any = None,
    ) -> None:
        super().__init__(_reuse=reuse)
        self._num_units = self.output_size = int(num_units)
        self.state_size = LSTMStateTuple(self._num_units, self._num_units)
        self._forget_bias, self._activation = forget_bias, activation
        self._layer_norm, self._gain, self._shift = layer_norm, norm_gain, norm_shift
        self._keep, self._seed = dropout_keep_prob, dropout_prob_seed

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Returns the output, and memory and output as the new state."""
        c, h = map(_array, state)
        x = jnp.concatenate([_array(inputs), h], 1)
        # Without a bias where a norm follows, whose `beta` does the same.
        if self._layer_norm:
            kernel = get_variable("kernel", [x.shape[1], 4 * self._num_units], x.dtype)
            i, j, f, o = jnp.split(x @ kernel.operand(), 4, 1)
        else:
            i, j, f, o = jnp.split(self._affine(x, 4 * self._num_units), 4, 1)
        i, j, f, o = map(self._normed, (i, j, f, o), ("input", "transform", "forget", "output"))
        candidate = plain(
            call(_drawing.dropout, (_activate(self._activation, j), self._keep, None, self._seed, None), None)
        )
        kept = c * jax.nn.sigmoid(f + jnp.asarray(self._forget_bias, f.dtype))
        c = self._normed(kept + jax.nn.sigmoid(i) * candidate, "state")
        h = _activate(self._activation, c) * jax.nn.sigmoid(o)
        return tensor(h), LSTMStateTuple(tensor(c), tensor(h))

    def _normed(self, x: Any, scope: str) -> Any:
        if not self._layer_norm:
            return x
        with variable_scope(scope):
            gain = get_variable("gamma", [x.shape[-1]], x.dtype, initializers.constant(self._gain)).operand()
            shift = get_variable("beta", [x.shape[-1]], x.dtype, initializers.constant(self._shift)).operand()
        middle = jnp.mean(x, -1, keepdims=True)
        # The epsilon of `tf.contrib.layers.layer_norm`, by which TensorFlow's cell normalizes.
        scale = jax.lax.rsqrt(jnp.var(x, -1, keepdims=True) + 1e-12)
        return (x - middle) * scale * gain.reshape(1, -1) + shift.reshape(1, -1)


class MultiRNNCell(RNNCell):
    """Cells one above the other: `cell_0`, `cell_1`, ..."""

    def __init__(self, cells: Sequence[Any], state_is_tuple: bool = True) -> None:
        super().__init__()
        if not isinstance(cells, list | tuple) or not cells:
            raise ArgumentError(f"cells must be a list of cells, not {cells!r}.")
        self._cells, self._state_is_tuple = list(cells), state_is_tuple
        sizes = tuple(cell.state_size for cell in cells)
        self.state_size, self.output_size = sizes if state_is_tuple else sum(sizes), cells[-1].output_size

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Returns the output of the cell on top, and the states of all."""
        if not self._state_is_tuple:
            cuts = np.cumsum([cell.state_size for cell in self._cells])[:-1].tolist()
            state = tensors_of(jnp.split(_array(state), cuts, 1))
        after = []
        for number, (cell, before) in enumerate(zip(self._cells, state, strict=True)):
            with variable_scope(f"cell_{number}"):
                inputs, own = cell(inputs, before)
            after.append(own)
        return inputs, tuple(after) if self._state_is_tuple else tensor(jnp.concatenate(list(map(_array, after)), 1))


class _Wrapper(RNNCell):
    """A cell around another one, whose variables it leaves where they are."""

    def __init__(self, cell: Any) -> None:
        super().__init__()
        self._cell, self.state_size, self.output_size = cell, cell.state_size, cell.output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """Returns a state of zeros of the inner cell."""
        return self._cell.zero_state(batch_size, dtype)

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Returns the output and the new state."""
        # A cell of one's own may be called with inputs and state only.
        return self._cell(inputs, state, scope) if scope is not None else self._cell(inputs, state)


class DropoutWrapper(_Wrapper):
    """A cell whose inputs, outputs and states are dropped out."""

    def __init__(
        self,
        cell: Any,
        input_keep_prob: Any = 1.0,
        output_keep_prob: Any = 1.0,
        state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False,
        input_size: Any = None,
        dtype: Any = None,
        seed: Any = None,
        dropout_state_filter_visitor: Any = None,
    ) -> None:
        super().__init__(cell)
        if variational_recurrent:
            raise ArgumentError("variational_recurrent=True is not in `jscope.tf1`: draw the mask outside of the loop.")
        self._keep = input_keep_prob, output_keep_prob, state_keep_prob
        self._seed, self._visitor = seed, dropout_state_filter_visitor

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Returns the output and the new state."""
        out, after = super().__call__(self._dropped(inputs, self._keep[0]), state, scope)
        return self._dropped(out, self._keep[1]), self._dropped_state(after)

    def _dropped(self, value: Any, keep: Any) -> Any:
        drop = lambda x: call(_drawing.dropout, (x, keep, None, self._seed, None), "dropout")  # noqa: E731
        return jax.tree.map(drop, value, is_leaf=lambda leaf: not isinstance(leaf, list | tuple | dict))

    def _dropped_state(self, state: Any) -> Any:
        # The memory of an LSTM is kept, only its output is dropped out.
        if isinstance(state, LSTMStateTuple) and self._visitor is None:
            return LSTMStateTuple(state.c, self._dropped(state.h, self._keep[2]))
        if isinstance(state, list | tuple):
            parts = [self._dropped_state(part) for part in state]
            return state._make(parts) if hasattr(state, "_make") else tuple(parts)  # pyright: ignore[reportAttributeAccessIssue]
        return self._dropped(state, self._keep[2])


class ResidualWrapper(_Wrapper):
    """A cell whose inputs are added to its outputs."""

    def __init__(self, cell: Any, residual_fn: Any = None) -> None:
        super().__init__(cell)
        self._residual = residual_fn or (
            lambda inputs, out: jax.tree.map(
                lambda i, o: tensor(_array(i) + _array(o)),
                inputs,
                out,
                is_leaf=lambda leaf: not isinstance(leaf, list | tuple),
            )
        )

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Returns the output and the new state."""
        out, after = super().__call__(inputs, state, scope)
        return self._residual(inputs, out), after


class DeviceWrapper(_Wrapper):
    """A cell that TensorFlow would have put on a device; without effect."""

    def __init__(self, cell: Any, device: Any) -> None:
        super().__init__(cell)
