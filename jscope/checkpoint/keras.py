"""Weights of Keras, written so that `model.load_weights(path)` takes them; what reads them reads every format.

Keras gives variables no names, but places: the attributes of a model that lead to a layer, and the position in that. A
list of layers counts classes, `blocks/block`, `blocks/block_1`, and so does the list `layers` of a functional or
sequential model, `layers/dense_1/0`. Of these a file says, beside, what each layer is called. So who has a file that
Keras wrote of the model gives it as `like`, and names are those that it is read by.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jscope._check import differences
from jscope._types import Converter, StrPath
from jscope.checkpoint import _leaves
from jscope.checkpoint._conversions._conversion import raise_report
from jscope.checkpoint._errors import UnsupportedCheckpointError
from jscope.checkpoint._files import replacing
from jscope.checkpoint._keras_names import places_of
from jscope.checkpoint._open import load_checkpoint
from jscope.errors import InvalidArgumentError

_SUFFIX = ".weights.h5"


def save(path: StrPath, tree: Any, *, like: StrPath | None = None, conversion: Converter | None = None) -> None:
    """Writes weights that `model.load_weights(path)` of Keras 3 takes, all or nothing, as `safetensors.save` does.

    >>> import tempfile
    >>> from jscope import checkpoint, nn
    >>> path = tempfile.mkdtemp() + "/model.weights.h5"
    >>> specs = jscope.specs(lambda scope, x: nn.dense(scope / "hidden", x, 4), jnp.ones((1, 3)))
    >>> params, table = specs.materialize(jax.random.key(0)), checkpoint.tables.keras(specs)
    >>> save(path, params, conversion=table.inverse)
    >>> checkpoint.list_variables(path)
    [('hidden/0', [3, 4]), ('hidden/1', [4])]
    >>> back = checkpoint.restore(specs, path, conversion=table)

    This is for a model whose attribute `hidden` is a layer. In a sequential or functional one, layers are in a list, in
    which classes are counted: `tables.keras(specs, names={"hidden": "layers/dense", "out": "layers/dense_1"})`. Or give
    a file that Keras wrote of the model, which has the names of layers.

    Args:
      path: The file, which may be there already. It ends in `.weights.h5`, by which Keras knows it.
      tree: Nested dicts, or any other pytree, of arrays of JAX or NumPy.
      like: A file of the model, written by `model.save_weights(like)`, or its `.keras` file: names, shapes and dtypes
        must be those that `load_checkpoint(like)` has. Its values are not used, and an optimizer's are left out.
      conversion: What makes Keras's names of the arrays, each while it is written: the inverse of what restores them.

    Raises:
      InvalidNameError: Keras cannot have a variable of this name.
      StructureMismatchError: The conversion does not fit the tree, or the arrays are not those of `like`.
      UnsupportedCheckpointError: A leaf is not an array of numbers, or of a dtype that HDF5 lacks.
      CheckpointWriteError: The disk is full, or the directory read-only.
      ImportError: h5py is not installed: `pip install jscope[keras]`.
    """
    arrays, kinds = _leaves.to_arrays(_leaves.flatten(tree))
    if conversion is not None:
        arrays, kinds = conversion.blocks(arrays, kinds)
    if keys := [name for name, kind in kinds.items() if _leaves.is_key_kind(kind)]:
        raise UnsupportedCheckpointError(
            f"`{keys[0]}` is a random key, which Keras's weights cannot hold. Leave it out."
        )
    write(path, arrays, like=like)


def write(path: StrPath, arrays: Mapping[str, Any], *, like: StrPath | None = None) -> None:
    """Writes arrays by Keras's names, which may be `Blocks` that are read while they are written."""
    if not Path(path).name.endswith(_SUFFIX):
        raise InvalidArgumentError(f"`{path}` must end in `{_SUFFIX}`, or Keras does not load it.")
    for name, array in arrays.items():
        # JAX's `float8_e5m2` has the kind of NumPy's floats, but is defined elsewhere (2), as bfloat16 is.
        if array.dtype != jnp.bfloat16 and (array.dtype.kind not in "biufc" or array.dtype.isbuiltin == 2):
            raise UnsupportedCheckpointError(
                f"`{name}` is {array.dtype}{list(array.shape)}, which Keras's weights cannot hold. Cast it before."
            )
    # Here and not above, so that who has no h5py can import everything else.
    hdf5 = importlib.import_module("jscope.checkpoint._keras")
    places, layers = places_of(arrays) if like is None else _places_like(load_checkpoint(like), arrays)
    with replacing(Path(path)) as scratch:
        hdf5.write(scratch, {places[name]: array for name, array in arrays.items()}, layers)


def _places_like(reader: Any, arrays: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str | None]]:
    """Returns where a file of the same model has each array, and its names of layers."""
    with contextlib.closing(reader):
        if not hasattr(reader, "places"):
            raise UnsupportedCheckpointError(
                f"`{reader.path}` is not of Keras. Write what `like` is by `model.save_weights(path)`."
            )
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        expected: Any = {name: jax.ShapeDtypeStruct(tuple(shapes[name]), dtypes[name]) for name in shapes}
        found = {name: jax.ShapeDtypeStruct(each.shape, each.dtype) for name, each in arrays.items()}
        raise_report(differences(expected, found), f"The arrays are not those of `{reader.path}`:")
        return reader.places(), reader.layers()
