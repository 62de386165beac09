"""Candidates: the ways in which a family of theirs can become one of ours, as rules of a `Conversion`.

Numbers that both names have are kept, with an offset at most. Those that only their name has are stacked, and those
that only ours has are split. The rest is a layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from jscope._types import Shape
from jscope.checkpoint._conversions._rule import Rule
from jscope.checkpoint._planning._families import Family, Index, literal
from jscope.checkpoint._planning._layouts import Groups, Layout, layouts

_INDICES = ("i", "j", "k", "l", "m", "n")
_AXES = "abcdefgh"
_HEADS = 256
"""The most heads that are thought of."""


@dataclass(frozen=True)
class Candidate:
    """One way to make a family of ours.

    Attributes:
      ours: The family of ours.
      theirs: The family of theirs.
      layout: How axes correspond, without those that are stacked or split.
      offsets: What to add to each kept number of ours to get theirs.
      kept: The numbers of ours that it makes.
      steady: Whether both sides count the same number of layers, each from its first.
      part: Of a fused family, which of their axes has the parts, and before how many of its elementary axes they are.
      axis: Which axis of the side without the first number that is stacked or split counts it.
      inverse: Where theirs is several families of which ours is one array: the way from ours to theirs.
    """

    ours: Family
    theirs: Family
    layout: Layout
    offsets: Index
    kept: tuple[Index, ...]
    steady: bool
    part: tuple[int, int] | None = None
    axis: int = 0
    inverse: Candidate | None = None
    score: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        axes = self.rules[0].axes
        return f"`{self.theirs.title()}`" + (f", {axes}" if axes else "")

    @property
    def stacked(self) -> int:
        """How many numbers of their name are axes of ours."""
        return max(0, len(self.theirs.name.index) - len(self.ours.name.index))

    @property
    def split(self) -> int:
        """How many numbers of our name are axes of theirs."""
        return max(0, len(self.ours.name.index) - len(self.theirs.name.index))

    @property
    def is_whole(self) -> bool:
        """Whether one rule with placeholders takes these arrays and no other."""
        kept = len(self.offsets)
        if not kept:
            return True
        # Whatever else the names of this rule match it would take as well, so both sides must be complete.
        theirs = {tuple(a + b for a, b in zip(index, self.offsets, strict=True)) for index in self.kept}
        same = theirs == {index[:kept] for index in self.theirs.names}
        ours = set(self.kept) == {index[:kept] for index in self.ours.names}
        return same and ours and self.ours.is_all and self.theirs.is_all

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, of which there is one if `is_whole`."""
        if self.inverse is not None:
            return tuple(rule.inverse for rule in self.inverse.rules)
        return (self._rule(None),) if self.is_whole else tuple(map(self._rule, self.kept))

    def _rule(self, at: Index | None) -> Rule:
        kept = len(self.offsets)
        theirs = None if at is None else tuple(a + b for a, b in zip(at, self.offsets, strict=True))
        first = self._firsts()
        names = []
        for family, numbers, offsets in ((self.ours, at, first[0]), (self.theirs, theirs, first[1])):
            text = [_escaped(family.name.texts[0], family)]
            for n, form in enumerate(family.name.forms):
                if numbers is not None and n < kept:
                    text.append(literal(numbers[n], form))
                else:
                    text.append(f"{{{_INDICES[n]}{f'+{offsets[n]}' if offsets[n] else ''}{form}}}")
                text.append(_escaped(family.name.texts[n + 1], family))
            names.append("".join(text))
        axes, where = self._axes()
        return Rule(names[0], names[1], axes, where=where)

    def _firsts(self) -> tuple[Index, Index]:
        """Returns what to add to the canonical numbers, on either side; of two kept, the smaller is canonical."""
        ours = [max(0, -n) for n in self.offsets]
        theirs = [max(0, n) for n in self.offsets]
        for family, numbers in ((self.ours, ours), (self.theirs, theirs)):
            numbers += [min(index[n] for index in family.names) for n in range(len(numbers), len(family.name.index))]
        return tuple(ours), tuple(theirs)

    def _axes(self) -> tuple[str, dict[str, Any]]:
        """Returns the pattern, and what must be said of sizes for it."""
        names = [_AXES[axis] for axis in range(len(self.layout.sizes))]
        kept = len(self.offsets)
        left, right = _named(self.layout.theirs, names), _named(self.layout.ours, names)
        where: dict[str, Any] = {}
        for group in (*self.layout.theirs, *self.layout.ours):
            # Of a composed axis, all sizes but one must be said; the last follows from the shape.
            where |= {names[axis]: self.layout.sizes[axis] for axis in group[1:]}
        if self.part is not None:
            axis, before = self.part
            left[axis].insert(before, "part")
            where = {"part": list(self.ours.values)} | self._part_sizes(names)
        left[self.axis : self.axis] = [[name] for name in _INDICES[kept : kept + self.split]]
        right[self.axis : self.axis] = [[name] for name in _INDICES[kept : kept + self.stacked]]
        text = f"{_written(left)} -> {_written(right)}"
        # The empty pattern passes arrays on as they are, without a copy.
        return ("", {}) if left == right else (text, where)

    def _part_sizes(self, names: list[str]) -> dict[str, Any]:
        """Returns the sizes of the axes of a fused one: numbers, or by part where they differ."""
        assert self.part is not None
        each = [_elementary(self, shape) for shape in self.ours.shapes]
        where: dict[str, Any] = {}
        for axis in self.layout.theirs[self.part[0]]:
            sizes = [found[axis] for found in each]
            alike = len(set(sizes)) == 1
            where[names[axis]] = sizes[0] if alike else dict(zip(self.ours.values, sizes, strict=True))
        return where


def _elementary(candidate: Candidate, shape: Shape) -> Shape:
    """Returns the sizes of the elementary axes of a part, whose own shape this is."""
    shape = shape[candidate.stacked :]
    sizes = dict(enumerate(candidate.layout.sizes))
    for group, size in zip(candidate.layout.ours, shape, strict=True):
        if len(group) == 1:
            sizes[group[0]] = size
    return tuple(sizes.values())


def _named(groups: Groups, names: list[str]) -> list[list[str]]:
    return [[names[axis] for axis in group] or ["1"] for group in groups]


def _written(groups: list[list[str]]) -> str:
    return " ".join(group[0] if len(group) == 1 else f"({' '.join(group)})" for group in groups)


def _escaped(text: str, family: Family) -> str:
    """Returns a text with its braces doubled, all but those of `{part}`."""
    doubled = text.replace("{", "{{").replace("}", "}}")
    return doubled.replace("{{part}}", "{part}") if family.values else doubled


def candidates(ours: Family, theirs: Family) -> Iterator[Candidate]:
    """Yields every way in which a family of theirs can become this one of ours."""
    if theirs.values:
        # What is taken apart one way is put together the other way.
        for each in () if ours.values else candidates(theirs, ours):
            layout = Layout(each.layout.sizes, each.layout.ours, each.layout.theirs)
            yield replace(each, ours=ours, theirs=theirs, layout=layout, inverse=each)
        return
    # Numbers correspond from the left: what is nested deeper in one of the names is what the other has as an axis.
    more = len(theirs.name.index) - len(ours.name.index)
    kept = min(len(ours.name.index), len(theirs.name.index))
    if (
        max(len(ours.name.index), len(theirs.name.index)) > len(_INDICES)
        or more > len(ours.shape)
        or -more > len(theirs.shape)
    ):
        return
    for axis, here, there in _moved(ours, theirs, more):
        found = list(_fitting(here, there, more, kept))
        yield from (replace(each, ours=ours, theirs=theirs, axis=axis) for each in found)
        # The first axis that fits is meant: of twelve layers with twelve heads, no others would be certain.
        if found:
            return


def _moved(ours: Family, theirs: Family, more: int) -> Iterator[tuple[int, Family, Family]]:
    """Yields the families as if the axis that counts layers were the first, and which it is: some have it second."""
    yield 0, ours, theirs
    if abs(more) == 1 and not ours.values:
        side = ours if more > 0 else theirs
        for axis in range(1, len(side.shape)):
            moved = replace(side, shape=(side.shape[axis], *side.shape[:axis], *side.shape[axis + 1 :]))
            yield (axis, moved, theirs) if more > 0 else (axis, ours, moved)


def _fitting(ours: Family, theirs: Family, more: int, kept: int) -> Iterator[Candidate]:
    """Yields every way with the axes that count layers first."""
    for offsets in _offsets(ours, theirs, kept):
        fitting = tuple(_complete(ours, theirs, kept, offsets))
        if not fitting:
            continue
        # A file of more layers than the model has fits by names as well. It stays a candidate, and is doubted.
        steady = all(
            {n + offset for n in ours.counted[at]} == theirs.counted[at] for at, offset in enumerate(offsets)
        ) and all(
            set(family.counted[n]) == {index[n] for index in family.names} for family, n in _alone(ours, theirs, kept)
        )
        for layout, part in _laid(ours, theirs, more):
            yield Candidate(ours, theirs, layout, offsets, fitting, steady, part)


def _alone(ours: Family, theirs: Family, kept: int) -> list[tuple[Family, int]]:
    return [(family, n) for family in (ours, theirs) for n in range(kept, len(family.name.index))]


def _offsets(ours: Family, theirs: Family, kept: int) -> list[Index]:
    """Returns by how much their numbers may differ: not at all, or as the first ones do."""
    # Some count from 1. Other distances would fit many models by accident.
    first = tuple(min(theirs.counted[n]) - min(ours.counted[n]) for n in range(kept))
    return list(dict.fromkeys([first, (0,) * kept]))


def _complete(ours: Family, theirs: Family, kept: int, offsets: Index) -> Iterator[Index]:
    """Yields the kept numbers for which there is all of theirs, and all of ours."""
    here, there = (_by_kept(family, kept) for family in (ours, theirs))
    for index, rest in here.items():
        others = there.get(tuple(a + b for a, b in zip(index, offsets, strict=True)), [])
        if others and _is_dense(rest, theirs.shape) and _is_dense(others, ours.shape):
            yield index


def _by_kept(family: Family, kept: int) -> dict[Index, list[Index]]:
    """Returns the numbers that are not kept, by those that are."""
    found: dict[Index, list[Index]] = {}
    for index in family.names:
        found.setdefault(index[:kept], []).append(index[kept:])
    return found


def _is_dense(numbers: list[Index], shape: Shape) -> bool:
    """Whether there is one for each index of the first axes of the other side."""
    sizes = shape[: len(numbers[0])]
    columns = [{each[n] for each in numbers} for n in range(len(sizes))]
    dense = all(max(c) - min(c) + 1 == len(c) == size for c, size in zip(columns, sizes, strict=True))
    return dense and len(numbers) == math.prod(sizes)


def _laid(ours: Family, theirs: Family, more: int) -> Iterator[tuple[Layout, tuple[int, int] | None]]:
    """Yields the layouts, with where the parts of a fused one are."""
    shape = theirs.shape[max(0, -more) :]
    if not ours.values:
        for layout in layouts(shape, ours.shape[max(0, more) :]):
            yield layout, None
        return
    # Fused on their side and split by a number at once: too many ways to be told apart by shapes.
    if more < 0:
        return
    members = [each[more:] for each in ours.shapes]
    sizes = [math.prod(each) for each in members]
    for axis, size in enumerate(shape):
        # Parts of unequal length lie along one axis only, of which the others must be multiples.
        rest = math.prod(shape) // size if size else 0
        if not rest or sum(sizes) != size * rest or any(n % rest for n in sizes):
            continue
        each = [
            layouts((*shape[:axis], n // rest, *shape[axis + 1 :]), member)
            for n, member in zip(sizes, members, strict=True)
        ]
        for layout in each[0]:
            if not all(any(_alike(layout, other) for other in found) for found in each[1:]):
                continue
            whole = [] if len(set(members)) > 1 else range(1, len(layout.theirs[axis]))
            for before in (0, *whole):  # Between heads, as some have it, or before them all.
                yield layout, (axis, before)
            if "qkv" in ours.words.bag and len(set(members)) == len(layout.theirs[axis]) == 1:
                yield from ((by_head, (axis, 1)) for by_head in _by_head(layout, axis))


def _by_head(layout: Layout, axis: int) -> Iterator[Layout]:
    """Yields a layout with an axis of theirs as heads and their widths: how many there are no shape tells."""
    (split,), new = layout.theirs[axis], len(layout.sizes)
    size = layout.sizes[split]
    for heads in range(2, min(size // 2, _HEADS) + 1):
        if size % heads == 0:
            sizes = (*layout.sizes[:split], heads, *layout.sizes[split + 1 :], size // heads)
            yield Layout(sizes, _split(layout.theirs, split, new), _split(layout.ours, split, new))


def _split(groups: Groups, split: int, new: int) -> Groups:
    return tuple(tuple(k for at in group for k in ((at, new) if at == split else (at,))) for group in groups)


def _alike(one: Layout, other: Layout) -> bool:
    return one.theirs == other.theirs and one.ours == other.ours
