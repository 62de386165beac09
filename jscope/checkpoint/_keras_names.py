"""Names of Keras's variables, and where a file has them: `encoder/hidden/0` is `encoder/hidden/vars/0`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from jscope import _path
from jscope.errors import InvalidNameError

VARS = "vars"
"""The group of a layer that has its variables."""
LAYERS = "layers"
"""The list of layers of a sequential or functional model."""
LEFT_OUT = ("optimizer", "seed_generator")
"""What belongs to the training."""

_POSITION = re.compile(r"0|[1-9][0-9]{0,8}")


def places_of(names: Iterable[str]) -> tuple[dict[str, str], dict[str, str | None]]:
    """Returns where each array is, told by its name alone, and the names that layers in lists need, to be read by.

    >>> places_of(["encoder/hidden/0"])
    ({'encoder/hidden/0': 'encoder/hidden/vars/0'}, {})
    >>> places_of(["layers/dense/0"])
    ({'layers/dense/0': 'layers/dense/vars/0'}, {'layers/dense': 'layers/dense'})

    Raises:
      InvalidNameError: Keras cannot have a variable of this name.
    """
    places: dict[str, str] = {}
    for name in names:
        above, position = _path.parts(_path.parent(name)), _path.basename(name)
        if not _POSITION.fullmatch(position):
            raise _refused(name, "it must end in the position of the variable in its layer, as `hidden/0` does")
        for part in above:
            if part in (VARS, *LEFT_OUT):
                raise _refused(name, f"`{part}` is where Keras has something else than layers")
            # Without the underscore of a private attribute is what it would be read as.
            if not part.isidentifier() or part.startswith("_"):
                raise _refused(name, f"`{part}` is neither a public attribute nor a class, by which a list counts")
        places[name] = _path.join(*above, VARS, position)
    counts = Counter(map(_path.parent, places))
    for name in places:
        if int(_path.basename(name)) >= counts[_path.parent(name)]:
            raise _refused(name, f"positions count from 0, and its layer has {counts[_path.parent(name)]}")
    # In a list, what reads goes by the names of layers. A class is none, but this is what they were saved by.
    groups = {group for name in places for group in _path.prefixes(name)}
    return places, {
        group: _path.join(LAYERS, _path.basename(group))
        for group in sorted(groups)
        if _path.basename(_path.parent(group)) == LAYERS
    }


def _refused(name: str, why: str) -> InvalidNameError:
    return InvalidNameError(
        f"`{name}` cannot be a variable of Keras: {why}.\nA table gives such names, "
        "`conversion=tables.keras(specs).inverse`; or give `like`, a file that Keras wrote of the model."
    )
