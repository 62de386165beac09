"""A rule whose placeholders are settled: which are kept, which are axes of ours or of theirs, and all sizes.

A placeholder is an axis exactly on the side whose name lacks it. One that only their name has is *stacked*: an axis of
ours, with an array of theirs for each index. One that only our name has is *split*: an axis of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jscope._types import Shape
from jscope.checkpoint._conversions import _axes
from jscope.checkpoint._conversions._axes import Side
from jscope.checkpoint._conversions._names import Template
from jscope.checkpoint._conversions._rule import Rule, is_spelling
from jscope.checkpoint._errors import ConversionError


@dataclass(frozen=True)
class Bound:
    """A rule between two separators.

    Attributes:
      rule: The rule.
      separators: What stands between the parts of our names, and of theirs.
      ours: Our name.
      theirs: Their name.
      kept: The placeholders of both names.
      stacked: Those of their name only.
      split: Those of our name only.
      listed: The values of placeholders that have some, as ours spells them.
      spelled: Our spelling of each of their values.
      unequal: For an axis of unequal sizes, the placeholder they depend on, and the sizes by our values.
      sides: The axes of theirs and of ours; None where nothing changes.
    """

    rule: Rule
    separators: tuple[str, str]
    ours: Template = field(init=False)
    theirs: Template = field(init=False)
    kept: tuple[str, ...] = field(init=False)
    stacked: tuple[str, ...] = field(init=False)
    split: tuple[str, ...] = field(init=False)
    listed: Mapping[str, tuple[str, ...]] = field(init=False)
    spelled: Mapping[str, Mapping[str, str]] = field(init=False)
    unequal: Mapping[str, tuple[str, Mapping[str, int]]] = field(init=False)
    sides: tuple[Side, Side] | None = field(init=False)

    def __post_init__(self) -> None:
        rule, (ours, theirs) = self.rule, self.separators
        # Spellings list values as well. Both names have them in one order, that of the axis, each spelled its own way.
        lists: dict[str, Any] = {
            key: value for key, value in rule.where.items() if isinstance(value, tuple) or is_spelling(value)
        }
        listed: dict[str, tuple[str, ...]] = {key: tuple(value) for key, value in lists.items()}
        spelled = {key: {b: a for a, b in value.items()} for key, value in lists.items() if isinstance(value, dict)}
        try:
            self._set(
                listed=listed,
                spelled=spelled,
                sides=_axes.parsed(rule.axes),
                ours=Template(rule.ours, listed, ours, theirs),
                theirs=Template(rule.theirs, {k: tuple(spelled.get(k, v)) for k, v in listed.items()}, theirs, ours),
            )
        except ConversionError as error:
            # What parses a name or a pattern does not know of which rule it is a part.
            raise rule.error(str(error).rstrip(".")) from None
        in_ours, in_theirs = self.ours.placeholders, self.theirs.placeholders
        self._set(
            kept=tuple(name for name in in_theirs if name in in_ours),
            stacked=tuple(name for name in in_theirs if name not in in_ours),
            split=tuple(name for name in in_ours if name not in in_theirs),
        )
        self._check_names()
        self._set(unequal=self._unequal())
        self._check_axes()

    def _set(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _check_names(self) -> None:
        in_ours, in_theirs = self.ours.placeholders, self.theirs.placeholders
        for name in self.kept:
            if in_ours[name].kind != in_theirs[name].kind:
                raise self.rule.error(
                    f"{{{name}}} is {in_ours[name].kind} in one name and {in_theirs[name].kind} in the other: write it "
                    "alike"
                )
        for name in (*self.stacked, *self.split):
            if (in_ours | in_theirs)[name].is_open:
                raise self.rule.error(
                    f"{{{name}}} is in one name only, so it is an axis, whose order nobody knows: list its values in "
                    "`where`"
                )
        names = {*in_ours, *in_theirs, *_axes.flat(sum(self.sides or (), ()))}
        if unknown := sorted({*self.rule.where, *self.rule.order} - names):
            raise self.rule.error(f"`{unknown[0]}` is in `where` or `order`, but in no name and no pattern")

    def _unequal(self) -> dict[str, tuple[str, Mapping[str, int]]]:
        """Returns which placeholder each axis of unequal sizes depends on."""
        found = {}
        for axis, sizes in self.rule.where.items():
            if not isinstance(sizes, dict) or is_spelling(sizes):
                continue
            # Sizes by value do not say which placeholder's values they are: it is the one that has just these.
            by = [name for name, values in self.listed.items() if set(values) == set(sizes)]
            if len(by) != 1 or self.sides is None or axis not in _axes.flat(sum(self.sides, ())):
                problem = "are several" if by[1:] else "is none" if not by else "is no such axis"
                raise self.rule.error(
                    f"the sizes of `{axis}` are by {sorted(sizes)}: there must be one placeholder with just these "
                    f"values in `where`, and there {problem}"
                )
            found[axis] = (by[0], sizes)
        return found

    def _check_axes(self) -> None:
        rule = self.rule
        if self.sides is None:
            if alone := (*self.stacked, *self.split):
                raise rule.error(f"{{{alone[0]}}} is in one name only, so it is an axis of the other side: give `axes`")
            if rule.order:
                raise rule.error("`order` is of axes: give `axes`")
            return
        theirs, ours = map(_axes.flat, self.sides)
        for names, here, there, text in (
            (self.stacked, ours, theirs, "their name only, so it is an axis of ours: right of `->` only"),
            (self.split, theirs, ours, "our name only, so it is an axis of theirs: left of `->` only"),
        ):
            if wrong := [name for name in names if name in there or name not in here]:
                raise rule.error(f"{{{wrong[0]}}} is in {text}")
        if wrong := [name for name in self.kept if name in theirs or name in ours]:
            raise rule.error(f"{{{wrong[0]}}} is in both names, so it is not an axis")
        if wrong := sorted(set(theirs) - set(self.split) ^ set(ours) - set(self.stacked)):
            raise rule.error(f"`{wrong[0]}` is an axis of one side only")
        if wrong := [name for name in rule.order if name not in theirs or name not in ours or name in self.unequal]:
            raise rule.error(f"`order` has `{wrong[0]}`, which must be an axis of both sides, of one size")
        self._check_unequal()

    def _check_unequal(self) -> None:
        assert self.sides is not None
        for axis, (by, _) in self.unequal.items():
            side = self.sides[0] if by in self.split else self.sides[1] if by in self.stacked else None
            # By a placeholder that both names have: within one array it has one value, so the axis has one size.
            if side is None:
                continue
            group = next((each for each in side if by in each), ())
            # Parts of unequal length can only lie one after the other: the placeholder must be the slower axis.
            if axis not in group[group.index(by) :]:
                raise self.rule.error(
                    f"the size of `{axis}` depends on `{by}`: so it must come after it in one group, `({by} {axis})`"
                )
            others = {*self.split, *self.stacked} - {by}
            if wrong := [name for name in group[group.index(by) :] if name in others]:
                raise self.rule.error(f"{{{wrong[0]}}} is in the group of unequal parts: put it before `{by}`")

    def grouping(self, composed: tuple[str, ...]) -> str | None:
        """Returns the placeholder of a composed axis whose parts are of unequal sizes."""
        return next((by for by, _ in self.unequal.values() if by in composed), None)

    def size_of(self, axis: str, at: Mapping[str, Any], sizes: Mapping[str, int]) -> int:
        """Returns the size of an axis beside these values of placeholders (as ours spells them)."""
        if axis in self.unequal:
            by, each = self.unequal[axis]
            return each[at[by]]
        return sizes[axis]

    def part_sizes(self, composed: tuple[str, ...], at: Mapping[str, Any], sizes: Mapping[str, int]) -> list[int]:
        """Returns the length of each part of a group of unequal ones, along all axes after the placeholder."""
        by = self.grouping(composed)
        assert by is not None
        after = composed[composed.index(by) + 1 :]
        return [math.prod(self.size_of(axis, {**at, by: value}, sizes) for axis in after) for value in self.listed[by]]

    def length(self, composed: tuple[str, ...], at: Mapping[str, Any], sizes: Mapping[str, int]) -> int:
        """Returns the length of a composed axis."""
        by = self.grouping(composed)
        if by is None:
            return math.prod(self.size_of(axis, at, sizes) for axis in composed)
        before = composed[: composed.index(by)]
        return math.prod(sizes[axis] for axis in before) * sum(self.part_sizes(composed, at, sizes))

    def shape(self, side: int, at: Mapping[str, Any], sizes: Mapping[str, int]) -> Shape:
        """Returns the shape of theirs (0) or ours (1)."""
        assert self.sides is not None
        return tuple(self.length(composed, at, sizes) for composed in self.sides[side])

    def known_sizes(self) -> dict[str, int]:
        """Returns the sizes that the rule tells."""
        where = {key: value for key, value in self.rule.where.items() if isinstance(value, int)}
        listed = {key: len(value) for key, value in self.listed.items()}
        ordered = {key: len(value) for key, value in self.rule.order.items()}
        for key, size in ordered.items():
            if where.get(key, size) != size:
                raise self.rule.error(f"`{key}` has the size {where[key]} in `where`, and {size} in `order`")
        return where | listed | ordered

    def solve(self, sizes: dict[str, int], found: list[tuple[int, Shape, Mapping[str, Any]]]) -> dict[str, int]:
        """Returns the sizes of all axes, given some, and some shapes: of a side, beside these values.

        Raises:
          ConversionError: A shape does not fit.
        """
        assert self.sides is not None
        sizes, more = dict(sizes), True
        # A size that one shape tells may be what another lacks; each round finds at least one, so they end.
        while more:
            more = False
            for side, shape, at in found:
                for composed, length in zip(self.sides[side], shape, strict=True):
                    more |= self._solve_axis(composed, length, at, sizes)
        return sizes

    def _solve_axis(self, composed: tuple[str, ...], length: int, at: Mapping[str, Any], sizes: dict[str, int]) -> bool:
        """Adds the size of the one axis of this group that is not known; returns whether there was one."""
        # Unequal sizes are always known, from `where`: what is free is of one size in all parts.
        free = [axis for axis in composed if axis not in sizes and axis not in self.unequal]
        if len(free) > 1:
            return False
        known = self.length(composed, at, sizes | dict.fromkeys(free, 1))
        text = _axes.written(((composed,), ())).removesuffix(" ->")
        if free and known and length % known:
            raise self.rule.error(f"{length} elements of `{text}` are not divisible by {known}")
        if not free and known != length:
            raise self.rule.error(f"`{text}` is {known} by the rule, and {length} in the array")
        # Beside an axis without elements, any size would do.
        if not free or not known:
            return False
        sizes[free[0]] = length // known
        return True
