"""What `tf.contrib` has for sequences, beside its cells: losses of each step, a decoder that is unrolled, and stacks.

Written after TensorFlow 1.15, since no later version has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from jscope.tf1._entering import variable_scope
from jscope.tf1._errors import ArgumentError
from jscope.tf1._name_scopes import name_scope
from jscope.tf1._ops import _normalizing
from jscope.tf1._ops._call import plain
from jscope.tf1._ops._recurrent import bidirectional_dynamic_rnn
from jscope.tf1._ops._weighing import divided
from jscope.tf1._scopes import get_variable_scope
from jscope.tf1._tensors import tensor

Loss = Callable[..., Any]
"""`(labels=..., logits=...)`, which are one class and one row of logits for each step, to one number for each."""


def _of_steps(labels: Any, logits: Any, function: Loss | None) -> Any:
    if function is not None:
        return jnp.asarray(plain(function(labels=tensor(labels), logits=tensor(logits))))
    return _normalizing.sparse_softmax_cross_entropy(labels, logits)


def sequence_loss(
    logits: Any,
    targets: Any,
    weights: Any,
    average_across_timesteps: bool = True,
    average_across_batch: bool = True,
    sum_over_timesteps: bool = False,
    sum_over_batch: bool = False,
    softmax_loss_function: Loss | None = None,
    name: str | None = None,
) -> Any:
    """`tf.contrib.seq2seq.sequence_loss`: the weighted cross entropy of sequences.

    Args:
      logits: `[batch, time, classes]`.
      targets: `[batch, time]`, the classes.
      weights: `[batch, time]`, how much each step counts: nothing beyond the end of a sequence.
      average_across_timesteps: Whether to divide by the weights of all steps.
      average_across_batch: Whether to divide by the weights of all sequences.
      sum_over_timesteps: Whether to sum up the steps, and divide by how many have a weight.
      sum_over_batch: The same of sequences.
      softmax_loss_function: The loss of a step, `(labels=..., logits=...)`.
      name: The name scope.

    Raises:
      ValueError: A shape has another rank, or an axis is both to be averaged and summed up.
    """
    logits, targets, weights = (jnp.asarray(plain(each)) for each in (logits, targets, weights))
    ranks = (logits.ndim, targets.ndim, weights.ndim)
    if ranks != (3, 2, 2):
        raise ArgumentError(
            "Logits must be a [batch_size x sequence_length x logits] tensor, targets and weights "
            f"[batch_size x sequence_length]; they have ranks {ranks}."
        )
    if (average_across_timesteps and sum_over_timesteps) or (average_across_batch and sum_over_batch):
        raise ArgumentError("An axis is either averaged or summed up: set one of the two arguments to False.")
    with name_scope(name, "sequence_loss"):
        flat = _of_steps(targets.reshape(-1), logits.reshape(-1, logits.shape[-1]), softmax_loss_function)
        losses = flat.reshape(weights.shape) * weights.astype(flat.dtype)
        averaged = [axis for axis, on in enumerate((average_across_batch, average_across_timesteps)) if on]
        summed = [axis for axis, on in enumerate((sum_over_batch, sum_over_timesteps)) if on]
        if averaged:
            losses = divided(jnp.sum(losses, averaged), jnp.sum(weights.astype(losses.dtype), averaged))
        elif summed:
            counts = jnp.sum((weights > 0).astype(losses.dtype), summed)
            losses = divided(jnp.sum(losses, summed), counts)
        return tensor(losses, "value")


def sequence_loss_by_example(
    logits: Sequence[Any],
    targets: Sequence[Any],
    weights: Sequence[Any],
    average_across_timesteps: bool = True,
    softmax_loss_function: Loss | None = None,
    name: str | None = None,
) -> Any:
    """`tf.contrib.legacy_seq2seq.sequence_loss_by_example`: of lists with one entry for each step."""
    if not len(logits) == len(targets) == len(weights):
        raise ArgumentError(
            f"Lengths of logits, weights, and targets must be the same {len(logits)}, {len(weights)}, {len(targets)}."
        )
    with name_scope(name, "sequence_loss_by_example"):
        shares = [jnp.asarray(plain(weight)) for weight in weights]
        pairs = [(jnp.asarray(plain(t)), jnp.asarray(plain(x))) for t, x in zip(targets, logits, strict=True)]
        losses = [_of_steps(t if softmax_loss_function else t.reshape(-1), x, softmax_loss_function) for t, x in pairs]
        total = sum(loss * share for loss, share in zip(losses, shares, strict=True))
        return tensor(total / (sum(shares) + 1e-12) if average_across_timesteps else total, "value")


def legacy_sequence_loss(
    logits: Sequence[Any],
    targets: Sequence[Any],
    weights: Sequence[Any],
    average_across_timesteps: bool = True,
    average_across_batch: bool = True,
    softmax_loss_function: Loss | None = None,
    name: str | None = None,
) -> Any:
    """`tf.contrib.legacy_seq2seq.sequence_loss`: the sum of `sequence_loss_by_example`, or its mean."""
    with name_scope(name, "sequence_loss"):
        each = sequence_loss_by_example(logits, targets, weights, average_across_timesteps, softmax_loss_function)
        total = jnp.sum(each.value())
        return tensor(total / jnp.shape(plain(targets[0]))[0] if average_across_batch else total, "value")


def rnn_decoder(
    decoder_inputs: Sequence[Any],
    initial_state: Any,
    cell: Any,
    loop_function: Callable[[Any, int], Any] | None = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """`tf.contrib.legacy_seq2seq.rnn_decoder`: a cell over a list of inputs, or over what its own outputs become."""
    outs: list[Any] = []
    state = initial_state
    with variable_scope(scope or "rnn_decoder"):
        for step, given in enumerate(decoder_inputs):
            x = given
            if loop_function is not None and outs:
                with variable_scope("loop_function", reuse=True):
                    x = loop_function(outs[-1], step)
            if step:
                get_variable_scope().reuse_variables()
            out, state = cell(x, state)
            outs.append(out)
    return outs, state


def stack_bidirectional_dynamic_rnn(
    cells_fw: Sequence[Any],
    cells_bw: Sequence[Any],
    inputs: Any,
    initial_states_fw: Sequence[Any] | None = None,
    initial_states_bw: Sequence[Any] | None = None,
    dtype: Any = None,
    sequence_length: Any = None,
    parallel_iterations: Any = None,
    time_major: bool = False,
    scope: Any = None,
    swap_memory: bool = False,
) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """`tf.contrib.rnn.stack_bidirectional_dynamic_rnn`: each layer reads both directions of the one below."""
    if not cells_fw or len(cells_fw) != len(cells_bw):
        raise ArgumentError(
            f"Must specify as many forward Cells as backward Cells, and at least one; there are {len(cells_fw)} and "
            f"{len(cells_bw)}."
        )
    states = []
    starts = [each or [None] * len(cells_fw) for each in (initial_states_fw, initial_states_bw)]
    options = {"sequence_length": sequence_length, "dtype": dtype, "time_major": time_major}
    with variable_scope(scope or "stack_bidirectional_rnn"):
        for number, (forwards, backwards, *start) in enumerate(zip(cells_fw, cells_bw, *starts, strict=True)):
            first = dict(zip(("initial_state_fw", "initial_state_bw"), start, strict=True))
            with variable_scope(f"cell_{number}"):
                outs, after = bidirectional_dynamic_rnn(forwards, backwards, inputs, **first, **options)
                inputs = tensor(jnp.concatenate([jnp.asarray(plain(out)) for out in outs], 2))
            states.append(after)
    return inputs, tuple(state for state, _ in states), tuple(state for _, state in states)
