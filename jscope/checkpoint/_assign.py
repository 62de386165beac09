"""`init_from_checkpoint` over files: TensorFlow's rules, any format.

The rules (variables to variables, scopes to scopes, slices put together) are those of `jscope.tf1.train`; this opens
what a path names and hands it over.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from jscope import _path
from jscope.checkpoint._conversions._conversion import Conversion, raise_report
from jscope.checkpoint._conversions._reader import converted
from jscope.checkpoint._open import load_checkpoint
from jscope.checkpoint._reader import Reader
from jscope.tf1 import train


def init_from_checkpoint(
    params: Mapping[str, Any],
    checkpoint: str | os.PathLike[str] | Reader | Mapping[str, Any],
    assignment_map: Mapping[str, Any] | Iterable[tuple[str, Any]],
    *,
    conversion: Conversion | None = None,
) -> dict[str, Any]:
    """Returns `params` with the values that `assignment_map` takes from a checkpoint; an error changes nothing.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/model.ckpt-1"
    >>> jscope.checkpoint.tensorbundle.save(path, {"old": {"w": np.ones(2, "float32"), "b": np.ones(1, "float32")}})
    >>> params = {"net": {"w": jnp.zeros(2), "b": jnp.zeros(1)}, "head": {"w": jnp.zeros(2)}}
    >>> new = init_from_checkpoint(params, path, {"old/": "net/", "old/w": "head/w"})
    >>> new["net"]["w"].tolist(), new["head"]["w"].tolist()
    ([1.0, 1.0], [1.0, 1.0])

    Only what the map asks for is read. Every variable keeps its dtype, and where it is spread over devices.

    Args:
      params: A nested dict of arrays by name: params, or state.
      checkpoint: A path as for `load_checkpoint`, whatever the format; or a reader; or a dict of arrays by name.
      assignment_map: From names in the checkpoint to names of variables, or from scopes to scopes, which end in `/`;
        `/` by itself is the root. A dict, or pairs. Pairs are taken in the order of the names in the checkpoint; later
        ones win.
      conversion: What the names of the map are then: those that it makes of the names in the checkpoint. Arrays that it
        does not take are left out.

    Raises:
      MissingCheckpointError: There is no checkpoint.
      CorruptCheckpointError: It is damaged.
      ValueError: A tensor is missing, or has another shape, or a name is neither a variable nor a scope.
    """
    if not isinstance(checkpoint, str | os.PathLike):
        return _initialized(params, checkpoint, assignment_map, conversion)
    with contextlib.closing(load_checkpoint(checkpoint)) as reader:
        return _initialized(params, reader, assignment_map, conversion)


def _initialized(
    params: Mapping[str, Any], checkpoint: Any, assignment_map: Any, conversion: Conversion | None
) -> dict[str, Any]:
    if conversion is not None and isinstance(checkpoint, Reader):
        names = {name: name for name in checkpoint.get_variable_to_shape_map()}
        checkpoint = converted(checkpoint, conversion, names)
        raise_report(checkpoint.problems)
    elif conversion is not None:
        taken = {name: array for name, array in dict(_path.items(checkpoint)).items() if conversion.takes(name)}
        checkpoint = conversion.arrays(taken)
    return train.init_from_checkpoint(params, checkpoint, assignment_map)
