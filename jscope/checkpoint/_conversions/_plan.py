"""What a conversion makes of some arrays, before any of them is read, and everything that does not fit.

Every rule takes the names that match it, and whose arrays have as many axes as its pattern. They are grouped by what is
kept; in a group there must be one array for each index that is stacked. It makes one of ours for each that is split.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from jscope import _path
from jscope._types import Shape
from jscope._util import _text
from jscope.checkpoint._conversions._beside import Constant, MadeConstant
from jscope.checkpoint._conversions._bound import Bound
from jscope.checkpoint._conversions._made import Made, Piece
from jscope.checkpoint._conversions._names import Template
from jscope.checkpoint._conversions._rule import INVERSE, Function
from jscope.checkpoint._conversions._source import Type, type_of
from jscope.checkpoint._errors import ConversionError
from jscope.errors import JscopeError

_MOST = 1 << 20
"""The most arrays that one array is split into: it would take a day to name them."""


@dataclass(frozen=True)
class Table:
    """The rules of a conversion as they are applied.

    Attributes:
      bounds: The rules.
      separators: Of ours and of theirs.
      drop: Names of theirs that are not wanted.
      added: What ours has and theirs has not.
      functions: The functions by name.
    """

    bounds: tuple[Bound, ...]
    separators: tuple[str, str]
    drop: tuple[Template, ...]
    added: tuple[Constant, ...]
    functions: Mapping[str, Function]


@dataclass
class Plan:
    """What is made, by name, and the lines of a report: what contradicts, and which arrays of theirs are not used."""

    made: dict[str, Made | MadeConstant] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)

    @property
    def types(self) -> dict[str, Type]:
        """Shapes and dtypes of what is made."""
        return {name: made.type for name, made in self.made.items()}


def planned(table: Table, source: Mapping[str, Any], wanted: Mapping[str, Any] | None = None) -> Plan:
    """Returns what a table makes of these arrays (anything with shape and dtype).

    With `wanted`, sizes that neither the rules nor theirs tell are taken from it. A rule that makes nothing of it is
    left out: so two rules may take one name, where only one of them makes what the model has.
    """
    types = {name: type_of(each) for name, each in source.items()}
    return _Planner(table, types, wanted).plan()


class _Planner:
    """One plan, while it is made."""

    def __init__(self, table: Table, source: Mapping[str, Type], wanted: Mapping[str, Any] | None) -> None:
        self._table, self._source, self._wanted = table, source, wanted
        self._plan = Plan()
        self._dropped = {name for name in source if any(each.match(name) is not None for each in table.drop)}
        self._used: dict[str, Bound] = {}
        # Why a rule whose name matches did not take an array: said only if no other rule takes it.
        self._notes: dict[str, str] = {}

    def plan(self) -> Plan:
        for bound in self._table.bounds:
            self._apply(bound)
        for constant in self._table.added:
            # A list, as what is added here is among what `names` goes through.
            for name in list(constant.names(self._plan.made, self._table.separators)):
                self._add_constant(name, constant)
        for name, each in self._source.items():
            if name not in self._used and name not in self._dropped:
                note = self._notes.get(name) or _near(name, [b.rule.theirs for b in self._table.bounds])
                self._plan.unmatched.append(f"  unmatched:  `{name}` {each}{note}")
        return self._plan

    def _apply(self, bound: Bound) -> None:
        """Adds what one rule makes."""
        groups: dict[tuple[Any, ...], list[tuple[str, dict[str, Any]]]] = {}
        seen = False
        for name in self._source:
            values = None if name in self._dropped else bound.theirs.match(name)
            if values is None:
                continue
            # A name may be of several layouts, a matrix here and a convolution there, each with a rule of its own.
            rank = len(self._source[name].shape)
            if bound.sides is not None and len(bound.sides[0]) != rank and not self._is_function(bound):
                self._notes[name] = f", but `{bound.rule.theirs}` has {len(bound.sides[0])} axes by its rule"
                seen = True
                continue
            seen = True
            groups.setdefault(tuple(values[key] for key in bound.kept), []).append((name, values))
        if not seen and not bound.rule.optional:
            near = _text.did_you_mean(bound.rule.theirs, self._source)
            self._plan.problems.append(
                f"  no array:   `{bound.rule.theirs}`, which is to be `{bound.rule.ours}`.{near}"
            )
        for hits in groups.values():
            try:
                self._add(bound, hits)
            except ConversionError as error:
                self._plan.problems.append(f"  rule:       {str(error).rstrip('.')}")
                # One line for each thing that is wrong: these are not unmatched besides.
                self._used |= dict.fromkeys((name for name, _ in hits), bound)

    def _is_function(self, bound: Bound) -> bool:
        """Whether a function comes before the pattern, so that the axes are those of what it returns."""
        return bound.rule.function.endswith(INVERSE)

    def _add(self, bound: Bound, hits: list[tuple[str, dict[str, Any]]]) -> None:
        """Adds what a rule makes of a group."""
        # From here on, values are as ours spells them: sizes and names of ours are by these.
        kept = {
            key: bound.spelled.get(key, {}).get(value, value) for key, value in hits[0][1].items() if key in bound.kept
        }
        pieces = _pieces(bound, hits)
        made = list(self._makes(bound, kept, pieces))
        # For a part that this model lacks, a pooler, say. It does not use its arrays, so that another rule may.
        if self._wanted is not None and not any(name in self._wanted for name, _ in made):
            for piece in pieces:
                near = _near(made[0][0], self._wanted) if made else ""
                self._notes[piece.name] = (
                    f", which would be `{made[0][0]}`, and the model has none{near}" if made else ""
                )
            return
        for name, each in made:
            self._add_made(name, each)
        for piece in pieces:
            before = self._used.setdefault(piece.name, bound)
            if before is not bound and not (bound.rule.tied or before.rule.tied):
                self._plan.problems.append(
                    f"  used twice: `{piece.name}`, for `{before.rule.ours}` and for `{bound.rule.ours}` "
                    "(`tied` allows it)"
                )

    def _add_made(self, name: str, made: Made) -> None:
        _check_target(made.bound, name)
        before = self._plan.made.get(name)
        if before is None:
            self._plan.made[name] = made
        elif isinstance(before, Made) and (before.bound.rule.tied or made.bound.rule.tied):
            if before.type != made.type:
                raise made.bound.rule.error(
                    f"`{name}` is tied, and is {made.type} here, but {before.type} by another rule"
                )
            # The first rule makes it; the others are read to be compared with it.
            self._plan.made[name] = replace(before, ties=(*before.ties, made))
        else:
            other = before.bound.rule.theirs if isinstance(before, Made) else before.constant.name
            self._plan.problems.append(
                f"  made twice: `{name}`, from `{other}` and from `{made.bound.rule.theirs}` (`tied` allows it)"
            )

    def _add_constant(self, name: str, constant: Constant) -> None:
        if name in self._plan.made:
            self._plan.problems.append(f"  made twice: `{name}`, by a rule and as a constant")
        elif self._wanted is None or name in self._wanted:
            self._plan.made[name] = MadeConstant(constant)

    def _makes(self, bound: Bound, kept: Mapping[str, Any], pieces: list[Piece]) -> Iterator[tuple[str, Made]]:
        """Yields the arrays of ours that some of theirs make."""
        function, before = self._function(bound)
        types = [self._source[piece.name] for piece in pieces]
        if before and function is not None:
            # What is undone comes before the pattern, whose axes are those of what it returns.
            types = [_shape_after(bound, function, each) for each in types]
        theirs, ours = bound.rule.dtypes
        if odd := [
            each for each in types if (theirs and each.dtype != np.dtype(theirs)) or each.dtype != types[0].dtype
        ]:
            raise bound.rule.error(f"`{pieces[0].name}` is {odd[0]}, expected {theirs or types[0].dtype}")
        dtype = np.dtype(ours) if ours else types[0].dtype
        sizes = self._sizes(bound, kept, pieces, types) if bound.sides is not None else {}
        for name, index in _targets(bound, kept, sizes):
            made = Made(bound, Type(types[0].shape, dtype), tuple(pieces), index, kept, sizes, types[0].shape)
            if bound.sides is not None:
                laid = bound.shape(1, made.at(pieces[0]), sizes)
                made = replace(made, laid=laid, type=Type(laid, dtype))
            if function is not None:
                made = replace(made, function=_call(function, before), of_pieces=before)
                made = made if before else replace(made, type=_shape_after(bound, function, made.type, before=False))
            yield name, made

    def _function(self, bound: Bound) -> tuple[Function | None, bool]:
        """Returns the function of a rule, and whether it is undone, before the pattern."""
        name = bound.rule.function
        if not name:
            return None, False
        function, before = self._table.functions[name.removesuffix(INVERSE)], name.endswith(INVERSE)
        if before and function.inverse is None:
            raise bound.rule.error(f"the function `{name.removesuffix(INVERSE)}` has no inverse")
        return function, before

    def _sizes(self, bound: Bound, kept: Mapping[str, Any], pieces: list[Piece], types: list[Type]) -> dict[str, int]:
        """Returns the sizes of all axes, by the rule, the arrays of theirs, and those of ours that are wanted."""
        assert bound.sides is not None
        sizes = bound.known_sizes()
        for axis in bound.stacked:
            count = len({piece.index[axis] for piece in pieces})
            if sizes.setdefault(axis, count) != count:
                raise bound.rule.error(f"there are {count} arrays along {{{axis}}}, and `where` says {sizes[axis]}")
        found = [(0, each.shape, _placed(bound, kept, piece)) for piece, each in zip(pieces, types, strict=True)]
        sizes = bound.solve(sizes, _distinct(found))
        if missing := _missing(bound, sizes):
            # Ours come last: where rule and file tell a size, a model of another size is reported as such by its shape.
            sizes = self._sizes_of_wanted(bound, kept, pieces[0], sizes)
            missing = _missing(bound, sizes)
        if missing:
            raise bound.rule.error(
                f"the size of `{missing[0]}` is not known: say it in `where`"
                + (", or give the model's specs" if self._wanted is None else "")
            )
        # Those of ours have told some; now theirs may tell that they do not fit.
        return bound.solve(sizes, _distinct(found))

    def _sizes_of_wanted(
        self, bound: Bound, kept: Mapping[str, Any], piece: Piece, sizes: dict[str, int]
    ) -> dict[str, int]:
        assert bound.sides is not None
        # Of those that are split, the first: their names are needed, but all have one shape.
        first = dict.fromkeys(bound.split, 0)
        values = {**kept} | {name: bound.listed[name][0] if name in bound.listed else 0 for name in first}
        shape = getattr((self._wanted or {}).get(bound.ours.fill(values)), "shape", None)
        if shape is None or len(shape) != len(bound.sides[1]):
            return sizes
        return bound.solve(sizes, [(1, tuple(shape), values | _placed(bound, kept, piece))])


def _near(name: str, names: Iterable[str]) -> str:
    """Returns what follows the end of a line that has no full stop where nothing follows."""
    near = _text.did_you_mean(name, names)
    return near and f".{near}"


def _missing(bound: Bound, sizes: Mapping[str, int]) -> list[str]:
    assert bound.sides is not None
    axes = dict.fromkeys(axis for side in bound.sides for composed in side for axis in composed)
    return [axis for axis in axes if axis not in sizes and axis not in bound.unequal]


def _placed(bound: Bound, kept: Mapping[str, Any], piece: Piece) -> dict[str, Any]:
    """Returns what the placeholders of their name stand for, as ours spells it; of what is split, anything."""
    listed = {name: bound.listed[name][i] for name, i in piece.index.items() if name in bound.listed}
    return {**{name: bound.listed[name][0] for name in bound.split if name in bound.listed}, **kept, **listed}


def _distinct(found: list[tuple[int, Shape, dict[str, Any]]]) -> list[tuple[int, Shape, Mapping[str, Any]]]:
    """Returns one of those that are alike, since there may be as many as there are layers."""
    return list({(side, shape, *at.items()): (side, shape, at) for side, shape, at in found}.values())


def _pieces(bound: Bound, hits: list[tuple[str, dict[str, Any]]]) -> list[Piece]:
    """Returns the arrays of a group in the order of their indices; there must be one for each.

    Raises:
      ConversionError: There is a gap.
    """
    counts = {}
    for axis in bound.stacked:
        found = {values[axis] for _, values in hits}
        if axis in bound.listed:
            counts[axis] = len(bound.listed[axis])
            continue
        counts[axis] = len(found)
        # A name may claim any number, and a set up to it would not fit in memory.
        if gap := sorted(set(range(max(found) + 1)) - found)[:1] if max(found) < _MOST else [len(found)]:
            raise bound.rule.error(
                f"{{{axis}}} of their names has {len(found)} values up to {max(found)}, but not {gap[0]}"
            )
    pieces = []
    for name, values in hits:
        # In the order of the axis, which is that of their spellings.
        order = {axis: list(bound.theirs.placeholders[axis].listed or ()) for axis in bound.stacked}
        index = {axis: order[axis].index(values[axis]) if order[axis] else values[axis] for axis in bound.stacked}
        pieces.append(Piece(name, index))
    if len(pieces) != math.prod(counts.values()):
        there = ", ".join(f"`{name}`" for name, _ in hits[:4])
        raise bound.rule.error(
            f"for {counts} there must be {math.prod(counts.values())} arrays, and there are {len(pieces)}: {there}"
        )
    # A file has its names in any order, mostly by text: `h.10` before `h.2`.
    return sorted(pieces, key=lambda piece: tuple(piece.index.values()))


def _targets(bound: Bound, kept: Mapping[str, Any], sizes: Mapping[str, int]) -> Iterator[tuple[str, dict[str, int]]]:
    """Yields the names of ours, with the indices of what is split."""
    counts = [sizes[name] for name in bound.split]
    if math.prod(counts) > _MOST:
        raise bound.rule.error(f"it would make {math.prod(counts):,} arrays of one")
    for indices in itertools.product(*map(range, counts)):
        index = dict(zip(bound.split, indices, strict=True))
        values = {**kept} | {name: bound.listed[name][i] if name in bound.listed else i for name, i in index.items()}
        name = bound.ours.fill(values)
        # The inverse finds arrays by this name; what it takes for other values it would put elsewhere.
        if bound.ours.match(name) != values:
            raise bound.rule.error(f"`{name}` would not be taken apart again into {values}")
        yield name, index


def _check_target(bound: Bound, name: str) -> None:
    """Raises for a name that would mean something to a file system, or that nobody can see."""
    if not name.isprintable() or any(
        # Backslashes separate on some systems, to which a name may go as that of a file.
        part in ("", ".", "..")
        for part in _path.parts(name.replace("\\", _path.SEPARATOR))
    ):
        raise bound.rule.error(f"{name!r} cannot be the name of an array")


def _call(function: Function, before: bool) -> Callable[[Any], Any]:
    called = function.inverse if before else function.forward
    assert called is not None
    return called


def _shape_after(bound: Bound, function: Function, each: Type, *, before: bool = True) -> Type:
    """Returns shape and dtype of what a function makes."""
    told = function.inverse_shape if before else function.shape
    given = jax.ShapeDtypeStruct(each.shape, each.dtype)
    try:
        found = told(given) if told else jax.eval_shape(_call(function, before), given)
    except JscopeError:
        raise
    # It is the caller's function, and may raise anything when it is given a shape in place of an array.
    except Exception as error:
        raise bound.rule.error(
            f"the shape of what the function `{bound.rule.function}` makes of {each} is not known: {error}; give it a "
            "`shape`"
        ) from error
    return Type(tuple(found.shape), np.dtype(found.dtype))
