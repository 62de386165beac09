"""`tf.contrib.rnn.LSTMBlockFusedCell`: a cell that is called with a whole sequence."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jscope.tf1._errors import ArgumentError
from jscope.tf1._ops._call import plain
from jscope.tf1._ops._cells import LSTMBlockCell, LSTMStateTuple
from jscope.tf1._ops._recurrent import dynamic_rnn
from jscope.tf1._scopes import get_variable_scope
from jscope.tf1._tensors import tensor


class LSTMBlockFusedCell(LSTMBlockCell):
    """An LSTM that is given all steps at once, time first. Its variables are below `lstm_fused_cell`."""

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        use_peephole: bool = False,
        reuse: Any = None,
        dtype: Any = None,
        name: str = "lstm_fused_cell",
    ) -> None:
        super().__init__(num_units, forget_bias, cell_clip, use_peephole, dtype, reuse, name)

    def __call__(
        self,
        inputs: Any,
        initial_state: Any = None,
        dtype: Any = None,
        sequence_length: Any = None,
        scope: Any = None,
    ) -> tuple[Any, Any]:
        """Returns the outputs and the last state.

        Args:
          inputs: Of shape (time, batch, features), or a list of steps; outputs are what inputs are.
          initial_state: The memory and the output to begin with; zeros if None.
          dtype: The dtype of these zeros.
          sequence_length: How long each sequence is: outputs after its end are zero, and the state stays.
          scope: The variable scope, in the place of one that is named after the cell.
        """
        if initial_state is None and dtype is None:
            raise ArgumentError("Either initial_state or dtype needs to be specified")
        return super().__call__(inputs, initial_state, scope, dtype, sequence_length)

    def call(self, inputs: Any, state: Any, dtype: Any = None, sequence_length: Any = None) -> tuple[Any, Any]:
        """Returns the outputs and the last state."""
        steps = tensor(jnp.stack(plain(inputs)) if isinstance(inputs, list) else inputs)
        start = self.zero_state(steps.shape[1], dtype) if state is None else LSTMStateTuple(*state)
        # In the scope that is open here, so that each step is one of the plain cell's, under the names of this one.
        step, here = super().call, get_variable_scope()
        outs, after = dynamic_rnn(step, steps, sequence_length, start, time_major=True, scope=here)
        return ([outs[i] for i in range(len(inputs))] if isinstance(inputs, list) else outs), after
