"""The table: which operations there are, with TensorFlow's names and arguments, and the kernel of each.

A row is a signature and all operations that have it. `_call.py` says what `~` and `-` in it mean. A name without a dot
is one of `tf` itself; `tf.math`, `tf.linalg` and `tf.random` have it, too, if TensorFlow has it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jscope.tf1 import _dtypes
from jscope.tf1._collections import global_variables
from jscope.tf1._ops import (
    _checks,
    _flow,
    _images,
    _linear,
    _normalizing,
    _recurrent,
    _rows_of_arrays,
    _rows_of_models,
    _rows_of_networks,
    _rows_of_numbers,
    _sequences,
    _weighing,
    rnn_cell,
)
from jscope.tf1._ops._call import Kernel
from jscope.tf1._ops._cells import LSTMBlockCell
from jscope.tf1._ops._fused import LSTMBlockFusedCell
from jscope.tf1._ops._tensor_array import TensorArray
from jscope.tf1._tensors import Tensor

CELLS = {name: value for name, value in vars(rnn_cell).items() if not name.startswith("_")}
SWITCHES = (
    *("disable_control_flow_v2", "disable_eager_execution", "disable_resource_variables", "disable_tensor_equality"),
    *("disable_v2_behavior", "disable_v2_tensorshape", "enable_control_flow_v2", "enable_resource_variables"),
)
WHOLE: dict[str, Any] = {
    **{f"contrib.rnn.{name}": value for name, value in CELLS.items()},
    "contrib.legacy_seq2seq.rnn_decoder": _sequences.rnn_decoder,
    "contrib.legacy_seq2seq.sequence_loss": _sequences.legacy_sequence_loss,
    "contrib.legacy_seq2seq.sequence_loss_by_example": _sequences.sequence_loss_by_example,
    "contrib.rnn.LSTMBlockCell": LSTMBlockCell,
    "contrib.rnn.LSTMBlockFusedCell": LSTMBlockFusedCell,
    "contrib.rnn.stack_bidirectional_dynamic_rnn": _sequences.stack_bidirectional_dynamic_rnn,
    "contrib.util.constant_value": _checks.get_static_value,
    "contrib.seq2seq.sequence_loss": _sequences.sequence_loss,
    # Old files ask.
    **dict.fromkeys(("__version__", "VERSION"), _checks.version.VERSION),
    "version": _checks.version,
    "Tensor": Tensor,
    "TensorArray": TensorArray,
    "as_dtype": _checks.as_dtype,
    "bool": _dtypes.bool_,
    "colocate_with": _checks.anywhere,
    "container": _checks.anywhere,
    "device": _checks.anywhere,
    "custom_gradient": _flow.custom_gradient,
    "einsum": _linear.einsum,
    **dict.fromkeys(SWITCHES, _checks.nothing),
    **{f"errors.{each.__name__}": each for each in _checks.ERRORS},
    "executing_eagerly": _checks.executing_eagerly,
    "all_variables": global_variables,
    "get_static_value": _checks.get_static_value,
    "image.ResizeMethod": _images.ResizeMethod,
    "is_tensor": _checks.is_tensor,
    "linalg.LinearOperatorLowerTriangular": _linear.LinearOperatorLowerTriangular,
    "losses.Reduction": _weighing.Reduction,
    "newaxis": None,
    "meshgrid": _linear.meshgrid,
    "nn.bidirectional_dynamic_rnn": _recurrent.bidirectional_dynamic_rnn,
    "nn.dynamic_rnn": _recurrent.dynamic_rnn,
    "nn.moments": _normalizing.named_moments,
    "nn.rnn_cell": rnn_cell,
    "nn.static_bidirectional_rnn": _recurrent.static_bidirectional_rnn,
    "nn.static_rnn": _recurrent.static_rnn,
    "numpy_function": _checks.py_func,
    "print": _checks.print_,
    "py_func": _checks.py_func,
    "register_tensor_conversion_function": _checks.nothing,
    "recompute_grad": _flow.recompute_grad,
    "set_random_seed": _checks.set_random_seed,
    "random.set_random_seed": _checks.set_random_seed,
}
"""What is not made from a row, because it has another kind of signature, or is a class."""


def rows() -> Iterator[tuple[str, str, Kernel]]:
    """Yields the name, the signature and the kernel of each operation that a row makes."""
    for module in (_rows_of_numbers, _rows_of_arrays, _rows_of_networks, _rows_of_models):
        for signature, kernels in module.ROWS:
            yield from ((name, signature, kernel) for name, kernel in kernels.items())
