"""Checkpoints of TensorFlow 1 and 2, read and written without TensorFlow.

A `.index` and `.data-00000-of-00001` pair is a mapping from names to arrays, and TensorFlow 1's names are jscope's:
`net/w`. What else is in there (an optimizer's slots, the object graph of TensorFlow 2) is known by its name and kept
apart.

Every array has a checksum, which is compared when it is read. Arrays are views of the file, so that reading costs the
checksum and no copy. Replacing a checkpoint leaves them as they are; changing its files in place would not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jscope import _path, tree
from jscope._types import Converter
from jscope.checkpoint._bundle import _slots, _state, _writer
from jscope.checkpoint._bundle._reader import BundleReader as BundleReader
from jscope.checkpoint._errors import UnsupportedCheckpointError
from jscope.checkpoint._names import Rename, Select, chosen, renamed
from jscope.checkpoint._reader import Reader
from jscope.errors import InvalidArgumentError, InvalidNameError, NameConflictError


def open(path: str | os.PathLike[str]) -> BundleReader:
    """Opens a checkpoint; no array is read yet.

    >>> import tempfile
    >>> prefix = tempfile.mkdtemp() + "/model.ckpt-1"
    >>> save(prefix, {"net": {"w": np.ones((2, 3), "float32")}})
    >>> with open(prefix) as reader:
    ...     print(reader.get_variable_to_shape_map(), reader.get_tensor("net/w").sum())
    {'net/w': [2, 3]} 6.0

    Args:
      path: A prefix, such as `model.ckpt-1000`; or one of its files; or a directory whose file `checkpoint` says
        which is the latest; or a SavedModel.

    Raises:
      MissingCheckpointError: There is none.
      CorruptCheckpointError: It is damaged.
    """
    return BundleReader(_state.prefix_of(path))


def load(path: str | os.PathLike[str], *, select: Select = None, rename: Rename = None) -> dict[str, Any]:
    """Returns the variables of a checkpoint as a nested dict of NumPy arrays, read-only views of the file.

    >>> import tempfile
    >>> prefix = tempfile.mkdtemp() + "/model.ckpt-1"
    >>> save(prefix, {"w": np.ones(2), "w/Adam": np.zeros(2), "global_step": 7})
    >>> load(prefix)
    {'global_step': array(7), 'w': array([1., 1.])}

    An optimizer's slots are left out (see `load_slots`), and so is what TensorFlow 2 stores beside the variables, whose
    names lose their ending `/.ATTRIBUTES/VARIABLE_VALUE`.

    Args:
      path: As for `open`.
      select: Which variables, by their names after `rename`: a regular expression found in them, or a predicate. The
        others are not read.
      rename: From names in the checkpoint to others: `{regular expression: replacement}` or a function, as in
        `jscope.tree.rename`.

    Raises:
      MissingCheckpointError: There is no checkpoint.
      CorruptCheckpointError: It is damaged.
      UnsupportedCheckpointError: A variable holds strings, or something else that JAX does not have.
      MissingVariableError: A regular expression of `rename` or `select` does not match any name.
      NameConflictError: Two names stand for one variable. (Of `w` and `w/Adam`, the second is a slot: `load_slots`.)
    """
    with open(path) as reader:
        return _load_chosen(reader, variables(reader), select, rename, some=True)


def load_slots(
    path: str | os.PathLike[str], *, select: Select = None, rename: Rename = None
) -> dict[str, dict[str, Any]]:
    """Returns what optimizers keep beside the variables: for each kind of slot a nested dict like that of `load`.

    >>> import tempfile
    >>> prefix = tempfile.mkdtemp() + "/model.ckpt-1"
    >>> save(prefix, {"net/w": np.ones(2), "net/w/Adam": np.zeros(2), "net/w/Adam_1": np.full(2, 0.5)})
    >>> load_slots(prefix)["Adam_1"]
    {'net': {'w': array([0.5, 0.5])}}

    With TensorFlow 1's Adam, `"Adam"` is the first moment and `"Adam_1"` the second; a moving average is
    `"ExponentialMovingAverage"`. With TensorFlow 2 a kind is the path of the optimizer and its name there,
    `"optimizer/m"`. Takes and raises what `load` does.
    """
    with open(path) as reader:
        slots = _by_slot(reader)
        return {kind: _load_chosen(reader, slots[kind], select, rename) for kind in sorted(slots) if kind}


def variables(reader: Reader) -> dict[str, str]:
    """Returns the variables in a checkpoint, without slots: from path to the name that `get_tensor` takes.

    >>> import tempfile
    >>> prefix = tempfile.mkdtemp() + "/ckpt-1"
    >>> save(prefix, {"layer/w/.ATTRIBUTES/VARIABLE_VALUE": np.ones(2), "step": 3, "step/Adam": 0})
    >>> variables(open(prefix))
    {'layer/w': 'layer/w/.ATTRIBUTES/VARIABLE_VALUE', 'step': 'step'}
    """
    return _by_slot(reader).get("", {})


def beside_variables(reader: Reader) -> dict[str, str]:
    """Returns what an optimizer or a training keeps beside the variables, as `variables` does these.

    >>> import tempfile
    >>> prefix = tempfile.mkdtemp() + "/ckpt-1"
    >>> save(prefix, {"w": np.ones(2), "w/Adam": np.ones(2), "beta1_power": 0.9, "global_step": 3})
    >>> beside_variables(open(prefix))
    {'w/Adam': 'w/Adam', 'beta1_power': 'beta1_power', 'global_step': 'global_step'}
    """
    slots = {
        # Names of TensorFlow 2 are long; one of TensorFlow 1 is known as it is, wherever its optimizer was made.
        _path.child(path, slot) if _slots.is_path_of_attributes(name) else name: name
        for slot, paths in _by_slot(reader).items()
        if slot
        for path, name in paths.items()
    }
    return slots | {path: name for path, name in variables(reader).items() if _slots.is_bookkeeping(path)}


def save(
    prefix: str | os.PathLike[str],
    tree: Mapping[str, Any],
    *,
    state_file: bool = True,
    conversion: Converter | None = None,
) -> None:
    """Writes a checkpoint that TensorFlow reads, `tf.train.load_checkpoint` and `tf.compat.v1.train.Saver` alike.

    >>> import tempfile
    >>> directory = tempfile.mkdtemp()
    >>> save(f"{directory}/model.ckpt-1", {"net": {"w": jnp.ones(2)}})
    >>> sorted(os.listdir(directory))
    ['checkpoint', 'model.ckpt-1.data-00000-of-00001', 'model.ckpt-1.index']

    Args:
      prefix: Path and first part of the names of the files. What is there already is replaced.
      tree: A nested dict of arrays, or a dict of arrays by name. By name, slots may be among them: `w` and `w/Adam`.
      state_file: Whether to make this the latest checkpoint in the file `checkpoint` of the directory.
      conversion: What makes other names and layouts of the arrays, each while it is written: the inverse of the
        `jscope.checkpoint.Conversion` that restores them.

    Raises:
      StructureMismatchError: The conversion does not fit the tree; nothing is written.
      InvalidNameError: A name is empty or not printable.
      UnsupportedCheckpointError: A value is not an array, or has a dtype that TensorFlow lacks.
      CheckpointWriteError: The disk is full, or the directory read-only.
    """
    items = _flat_items(tree)
    if conversion is not None:
        items = conversion.blocks(dict(items), {})[0].items()
    write(prefix, items, state_file=state_file)


def write(prefix: str | os.PathLike[str], items: Iterable[tuple[str, Any]], *, state_file: bool = True) -> None:
    """Writes a checkpoint of names and values, one value at a time: `save` for what does not fit in memory at once.

    >>> import tempfile
    >>> prefix = tempfile.mkdtemp() + "/model.ckpt-1"
    >>> write(prefix, ((f"layer_{i}/w", np.full(2, i)) for i in range(3)))
    >>> load(prefix)["layer_2"]["w"].tolist()
    [2, 2]
    """
    prefix = os.fspath(prefix)
    if not os.path.basename(prefix):
        raise InvalidArgumentError(
            f"{prefix!r} is a directory. A prefix begins the names of files, as `{prefix}model.ckpt`."
        )
    _writer.write_bundle(prefix, _checked_items(items))
    if state_file:
        _writer.point_to(prefix)


def _flat_items(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Returns the leaves of a tree by name. Unlike `tree.flatten`, lets one name be a prefix of another."""
    if not isinstance(values, Mapping):
        raise InvalidArgumentError(f"A checkpoint is saved from a nested dict of arrays, not from {values!r}.")
    return _path.items(_path.copy(values))


def _checked_items(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yields the items, after looking at each name."""
    names: set[str] = set()
    for name, value in items:
        if not name or not name.isprintable():
            raise InvalidNameError(f"{name!r} cannot name a variable: a name must be printable and not empty.")
        if name in names:
            raise NameConflictError(
                f"`{name}` is there twice, perhaps in flat and in nested form. Leave one of them out."
            )
        # Here and not before, so that items may come from a generator, one array in memory at a time.
        names.add(name)
        yield name, value


def _by_slot(reader: Reader) -> dict[str, dict[str, str]]:
    """Returns, for each kind of slot ("" for the variables), the name in the checkpoint of each path."""
    names = reader.get_variable_to_shape_map()
    slots: dict[str, dict[str, str]] = {}
    for name in names:
        meaning = _slots.meaning(name, names)
        if meaning is None:
            continue
        paths = slots.setdefault(meaning.slot, {})
        if meaning.path in paths:
            raise NameConflictError(
                f"`{paths[meaning.path]}` and `{name}` in `{reader.path}` both stand for `{meaning.path}`.\n"
                "Read them by name: `tensorbundle.open(path).get_tensor(name)`."
            )
        paths[meaning.path] = name
    return slots


def _load_chosen(
    reader: BundleReader, paths: Mapping[str, str], select: Select, rename: Rename, *, some: bool = False
) -> dict[str, Any]:
    """Returns a nested dict of the chosen arrays, after checking all names and dtypes."""
    names = {new: paths[old] for new, old in chosen(renamed(paths, rename), select, some=some).items()}
    dtypes = reader.get_variable_to_dtype_map()
    if strings := [path for path, name in names.items() if dtypes[name].hasobject]:
        raise UnsupportedCheckpointError(
            f"`{strings[0]}` in `{reader.path}` holds strings, which JAX does not have.\n"
            "Leave it out with `select=`, or read it by itself: `tensorbundle.open(path).get_tensor(name)`."
        )
    tree.unflatten(names)  # The names are checked before anything is read.
    return tree.unflatten({path: reader.get_tensor(name) for path, name in names.items()})
