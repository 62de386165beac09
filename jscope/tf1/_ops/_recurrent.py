"""`tf.nn.dynamic_rnn` and its kin: a cell over the steps of sequences.

Sequences may be of different lengths: beyond its end a sequence puts out zeros, and its state stays what it was.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1._entering import variable_scope
from jscope.tf1._errors import ArgumentError
from jscope.tf1._ops import _shaping
from jscope.tf1._ops._call import plain
from jscope.tf1._ops._flow import arrays_of, loop, tensors_of


def _initial(cell: Any, state: Any, batch: int, dtype: Any) -> Any:
    if state is not None:
        return state
    if dtype is None:
        raise ArgumentError("If there is no initial_state, you must give a dtype.")
    return cell.zero_state(batch, dtype)


def _step(cell: Any, x: Any, state: Any, running: Any) -> tuple[Any, Any]:
    """Calls the cell; where a sequence has ended, puts out zeros and keeps the state."""
    out, after = cell(x, state)
    if running is None:
        return out, after
    running = jnp.asarray(plain(running))

    def chosen(new: Any, old: Any) -> Any:
        # A state without a batch, such as a count, goes on.
        return jnp.where(running.reshape((-1,) + (1,) * (new.ndim - 1)), new, old) if new.ndim else new

    out, after, state = arrays_of(out), arrays_of(after), arrays_of(state)
    out = jax.tree.map(lambda new: chosen(new, jnp.zeros_like(new)), out)
    return tensors_of(out), tensors_of(jax.tree.map(chosen, after, state))


def dynamic_rnn(
    cell: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: Any = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, Any]:
    """TensorFlow's `tf.nn.dynamic_rnn`: the outputs of all steps, and the last state.

    Args:
      cell: The cell.
      inputs: `[batch, time, ...]`, or a tree of such tensors; time comes first if `time_major`.
      sequence_length: How long each sequence is.
      initial_state: The state to begin with; zeros of `dtype` otherwise.
      dtype: The dtype of the state.
      parallel_iterations: Without effect.
      swap_memory: Without effect.
      time_major: Whether the first axis is time, and the second the batch.
      scope: The variable scope, `rnn` if None.
    """
    with variable_scope(scope or "rnn"):
        xs = arrays_of(inputs)
        # Time first, since JAX loops over the first axis.
        xs = xs if time_major else jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), xs)
        steps, batch = jax.tree.leaves(xs)[0].shape[:2]
        lengths = None if sequence_length is None else jnp.asarray(plain(sequence_length))
        state = _initial(cell, initial_state, batch, dtype)

        def step(carry: Any, at: Any) -> tuple[Any, Any]:
            x, time = at
            running = None if lengths is None else plain(time) < lengths
            out, after = _step(cell, x, carry, running)
            return after, out

        state, outs = loop(step, state, (xs, jnp.arange(steps, dtype=jnp.int32)), steps)
        outs = outs if time_major else jax.tree.map(lambda y: jnp.swapaxes(y, 0, 1), arrays_of(outs))
        return tensors_of(outs), state


def _reversed(inputs: Any, lengths: Any, time_axis: int) -> Any:
    def turned(x: Any) -> Any:
        if lengths is None:
            return jnp.flip(x, time_axis)
        # Only what belongs to a sequence is turned; what fills it up stays at its end, or the cell would begin with it.
        return _shaping.reverse_sequence(x, plain(lengths), time_axis, 1 - time_axis)

    return tensors_of(jax.tree.map(turned, arrays_of(inputs)))


def bidirectional_dynamic_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: Any = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """TensorFlow's `tf.nn.bidirectional_dynamic_rnn`: one cell forwards, another one backwards."""
    time_axis = 0 if time_major else 1
    options = {"dtype": dtype, "time_major": time_major}
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as forwards:
            out_fw, state_fw = dynamic_rnn(
                cell_fw, inputs, sequence_length, initial_state_fw, scope=forwards, **options
            )
        with variable_scope("bw") as backwards:
            turned = _reversed(inputs, sequence_length, time_axis)
            found, state_bw = dynamic_rnn(
                cell_bw, turned, sequence_length, initial_state_bw, scope=backwards, **options
            )
        return (out_fw, _reversed(found, sequence_length, time_axis)), (state_fw, state_bw)


def static_rnn(
    cell: Any,
    inputs: Any,
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """TensorFlow's `tf.nn.static_rnn`: `inputs` is a list with one tensor for each step."""
    if not isinstance(inputs, list | tuple) or not inputs:
        raise ArgumentError("inputs must be a list of tensors, one for each step.")
    outs = []
    with variable_scope(scope or "rnn") as varscope:
        batch = jnp.asarray(plain(jax.tree.leaves(inputs[0])[0])).shape[0]
        state = _initial(cell, initial_state, batch, dtype)
        for time, x in enumerate(inputs):
            # Also cells that open no scope of their own share their variables from the second step on.
            if time:
                varscope.reuse_variables()
            running = None if sequence_length is None else time < jnp.asarray(plain(sequence_length))
            out, state = _step(cell, x, state, running)
            outs.append(out)
    return outs, state


def static_bidirectional_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any, Any]:
    """TensorFlow's `tf.nn.static_bidirectional_rnn`: outputs of both directions side by side, and both last states."""
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as forwards:
            out_fw, state_fw = static_rnn(cell_fw, inputs, initial_state_fw, dtype, sequence_length, forwards)
        with variable_scope("bw") as backwards:
            turned = _turned_list(inputs, sequence_length)
            found, state_bw = static_rnn(cell_bw, turned, initial_state_bw, dtype, sequence_length, backwards)
        out_bw = _turned_list(found, sequence_length)
    both = zip(map(arrays_of, out_fw), map(arrays_of, out_bw), strict=True)
    return [tensors_of(jnp.concatenate(pair, 1)) for pair in both], state_fw, state_bw


def _turned_list(values: Any, lengths: Any) -> list[Any]:
    if lengths is None:
        return list(values)[::-1]
    stacked = jnp.stack([arrays_of(value) for value in values])
    turned = arrays_of(_reversed(stacked, lengths, 0))
    return [tensors_of(turned[i]) for i in range(np.shape(turned)[0])]
