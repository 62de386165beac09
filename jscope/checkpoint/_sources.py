"""Which names a model may take from a checkpoint: of a training's, its params and state, without what is kept beside.

Those names are jscope's, after `rename=`; with them come the names in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable

from jscope import _path
from jscope.checkpoint import tensorbundle
from jscope.checkpoint._names import Rename, by_new_name, new_names, renamed
from jscope.checkpoint._reader import Reader
from jscope.checkpoint._step import VERSION

_VARIABLES = ("params", "state")


def sources(reader: Reader, rename: Rename, wanted: Callable[[str], bool]) -> dict[str, str]:
    """Returns the names in a checkpoint by the model's; of what a `Checkpointer` saved, those of params and state.

    `wanted` tells whether a name, after `rename`, is of use. Who wants only the params is not told that the
    state is unexpected, nor the other way round.
    """
    # Only this format has slots, whose names are below those of their variables: a tree cannot hold both.
    if isinstance(reader, tensorbundle.BundleReader):
        return _in_bundle(reader, rename, wanted)
    names = {name: name for name in reader.get_variable_to_shape_map()}
    if VERSION not in reader.metadata or not any(_path.relative(name, _VARIABLES[0]) for name in names):
        return renamed(names, rename)
    items = {item: {short: name for name in names if (short := _path.relative(name, item))} for item in _VARIABLES}
    below = items["params"] | items["state"]
    found = {new: below[old] for new, old in renamed(below, rename).items()}
    parts = [{new: old for new, old in found.items() if _path.relative(old, item)} for item in _VARIABLES]
    # Of params and state, what the model wants nothing of: it is not unexpected, it is the other half.
    of_use = [part for part in parts if any(map(wanted, part))]
    return {new: old for part in of_use or parts for new, old in part.items()}


def _in_bundle(reader: Reader, rename: Rename, wanted: Callable[[str], bool]) -> dict[str, str]:
    """Returns the variables; of what an optimizer or a training keeps beside them, only what is wanted by name."""
    beside = tensorbundle.beside_variables(reader)
    everything = tensorbundle.variables(reader) | beside
    # Renamed together, so that a rule may name a slot, but two slots may get one name without harm.
    kept = {old: new for old, new in new_names(everything, rename).items() if old not in beside or wanted(new)}
    return {new: everything[old] for new, old in by_new_name(kept).items()}
