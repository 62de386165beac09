"""The conversion that a library's rows are for one model: a rule for each kind of array, with the scopes that have it.

A rule that several scopes share has a placeholder for them, whose values are their names on both sides. Layers that are
stacked have a rule each, in which the index stands where an unrolled model has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jscope import _path
from jscope._specs import Specs
from jscope._util import _text
from jscope.checkpoint._conversions._beside import Constant
from jscope.checkpoint._conversions._conversion import Conversion
from jscope.checkpoint._conversions._names import Template
from jscope.checkpoint._conversions._rule import INVERSE, Rule
from jscope.checkpoint._errors import ConversionError
from jscope.checkpoint._tables._functions import FUNCTIONS
from jscope.checkpoint._tables._layers import CELLS, Kinds, Layer, layers_of
from jscope.checkpoint._tables._rows import Library, Row
from jscope.errors import InvalidArgumentError

_INDICES = ("i", "j", "k", "l", "m", "n")
_OWN = "*"
"""Where in what the caller has named the name of a variable is to stand."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a library has the variables of a layer.

    Attributes:
      scope: Its name of the scope, with a `*` where the name of a variable is not to come after it.
      ending: What follows all names.
    """

    scope: str
    ending: str

    def name(self, library: Library, leaf: str, ending: str = "", collection: str = "") -> str:
        """Returns their name of a variable."""
        if _OWN in self.scope:
            return _joined(library, collection, self.scope.replace(_OWN, leaf)) + self.ending
        return _joined(library, collection, self.scope, leaf + ending) + self.ending


def table_of(specs: Specs, library: Library, names: Mapping[str, str], told: Kinds) -> Conversion:
    """Returns the conversion from a library's names and layouts to those of a model.

    Raises:
      ConversionError: The library lacks a layer, or `names` or `told` have a scope that the model lacks.
    """
    if not isinstance(specs, Specs):
        raise InvalidArgumentError(f"A table needs the specs of a model, `model.specs(*inputs)`, not {specs!r}.")
    layers = layers_of(specs.flat(), told)
    scopes = [prefix for layer in layers for prefix in (*_path.prefixes(layer.scope), layer.scope)]
    for scope in names:
        if scope not in scopes:
            raise ConversionError(f"`names`: the model has no scope `{scope}`.{_text.did_you_mean(scope, scopes)}")
    groups: dict[str, list[tuple[Layer, Row, Place]]] = {}
    kinds = {layer.scope: layer.kind for layer in layers}
    for layer in layers:
        place = _place(layer, library, names, _direction(layer, kinds, library))
        for row in _rows(layer, library):
            groups.setdefault(_key(layer, row, place), []).append((layer, row, place))
    rules = [rule for group in groups.values() for rule in _shared(group, library)]
    used = {rule.function.removesuffix(INVERSE) for rule in rules}
    return Conversion(
        rules,
        constants=list(dict.fromkeys(each for layer in layers for each in _also(layer, library, names))),
        separators=(_path.SEPARATOR, library.separator),
        functions={name: function for name, function in FUNCTIONS.items() if name in used},
    )


def _rows(layer: Layer, library: Library) -> Iterator[Row]:
    """Yields the rows of a layer, after checking that they take all of its variables."""
    rows = library.rows(layer)
    if rows is None:
        raise ConversionError(
            f"{library.name} has no layer like `{layer.scope}`, which is of the kind `{layer.kind}`.\nLeave it out, "
            f"`layers={{r'^{layer.scope}$': None}}`, and give rules of your own for it; or say of which kind it is."
        )
    left = dict.fromkeys(layer.specs)
    for row in rows:
        if all(name in left for name in row.names()):
            left = {name: None for name in left if name not in row.names()}
            yield row
    # What is beside what the layer itself has was made by somebody else, who gave it this name.
    yield from (Row(name, name) for name in left)


def _direction(layer: Layer, kinds: Mapping[str, str], library: Library) -> str | None:
    """Returns what follows the names of one of two cells that are one layer there; None if it is not."""
    name, above = _path.basename(layer.scope), _path.parent(layer.scope)
    if layer.kind not in CELLS or name not in library.directions:
        return None
    # A module cannot be called `forward` there, so that two of these names can only be directions.
    both = {kinds.get(_path.join(above, each)) for each in library.directions}
    return library.directions[name] if both == {layer.kind} else None


def _key(layer: Layer, row: Row, place: Place) -> str:
    """Returns what layers have in common that can share a rule."""
    if layer.stack or not layer.scope or _OWN in place.scope:
        return f"{layer.scope} {row.ours}"
    trainable = layer.specs[row.names()[0]].trainable
    sizes, orders = row.sizes(layer), row.orders(layer)
    said = [layer.kind, repr(row), row.pattern(layer), sizes, orders, trainable, place.ending]
    return json.dumps(said, sort_keys=True)


def _shared(group: list[tuple[Layer, Row, Place]], library: Library) -> Iterator[Rule]:
    """Yields the rule of some layers."""
    layer, row, place = group[0]
    scopes = {each.scope: at.scope for each, _, at in group}
    where: dict[str, Any] = {**row.where, **row.sizes(layer)}
    ours, theirs = _escaped(layer.scope), scopes[layer.scope]
    if len(scopes) > 1:
        ours = theirs = f"{{{layer.kind}}}"
        # Values are texts, in which braces are themselves.
        where = {layer.kind: {scope: _unescaped(each) for scope, each in scopes.items()}} | where
    collection = library.collections[0 if layer.specs[row.names()[0]].trainable else 1]
    yield Rule(
        _path.join(ours, row.ours),
        replace(place, scope=theirs).name(library, row.theirs, row.ending, collection),
        _stacked(layer, row) if layer.stack else row.pattern(layer),
        where=where,
        order=row.orders(layer),
        function=row.function,
    )


def _stacked(layer: Layer, row: Row) -> str:
    """Returns the pattern with the axes along which layers are stacked, which come first in ours."""
    letters = " ".join("abcdefgh"[: len(layer.shape(row.names()[0]))])
    left, _, right = (row.pattern(layer) or f"{letters} -> {letters}").partition("->")
    return f"{left.strip()} -> {' '.join(_INDICES[: len(layer.stack)])} {right.strip()}"


def _place(layer: Layer, library: Library, names: Mapping[str, str], direction: str | None) -> Place:
    """Returns where the library has a layer, with an index for each stacked axis."""
    parts = _path.parts(layer.scope)
    known = [n for n in range(len(parts) + 1) if _path.join(*parts[:n]) in names]
    first = max(known, default=0)
    # Who has named one of two directions by itself has said all of it.
    if direction is not None and first < len(parts):
        parts = parts[:-1]
    else:
        direction = None
    said = names[_path.join(*parts[:first])] if known else ""
    # Where each text stands: after how many parts of ours, and whether after the part there, as an index does.
    found = [(0, False, said)] if said else []
    found += [(n + 1, False, _escaped(part)) for n, part in enumerate(parts) if n >= first]
    # Within what the caller has named, the caller may say where an index stands, and how it is written.
    there = Template(said, {}, library.separator, library.separator).placeholders if said else {}
    indices = [(name, axis) for name, axis in zip(_INDICES, layer.stack, strict=False) if name not in there]
    found += [(axis.depth, True, f"{{{name}}}") for name, axis in indices]
    if _OWN in said and len(found) > 1:
        scope = _path.join(*parts[:first])
        raise ConversionError(
            f"`names`: `{said}` has a `*` for the names of variables, and `{scope}` has not these, but a scope or an "
            "index. Name what they are in, and write `{i}` where the index is to stand."
        )
    return Place(
        library.separator.join(text for _, _, text in sorted(found, key=lambda each: each[:2])), direction or ""
    )


def _also(layer: Layer, library: Library, names: Mapping[str, str]) -> Iterator[Constant]:
    for also in library.also:
        if also.ours not in layer.specs:
            continue
        place = _place(layer, library, names, None)
        name, beside = (place.name(library, leaf) for leaf in (also.theirs, also.beside))
        shape = ((1,) * also.like + layer.shape(also.ours))[-also.like :] if also.like else ()
        # Of stacked layers there is one for each, which only the names of what it is beside can tell.
        yield Constant(name, also.value, also.dtype, shape, beside if layer.stack else "")


def _joined(library: Library, *names: str) -> str:
    return library.separator.join(name for name in names if name)


def _unescaped(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


def _escaped(scope: str) -> str:
    return scope.replace("{", "{{").replace("}", "}}")
