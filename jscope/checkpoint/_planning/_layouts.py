"""How the axes of one array can be those of another: every way in which their sizes allow it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from jscope._types import Shape

Groups = tuple[tuple[int, ...], ...]
_MOST = 6
"""The most axes longer than one."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way: which elementary axes each axis of theirs and of ours is made of; one of length 1 has none.

    Attributes:
      sizes: The elementary axes.
      theirs: Their axes.
      ours: Our axes.
    """

    sizes: Shape
    theirs: Groups
    ours: Groups

    @property
    def keeps(self) -> bool:
        """Whether nothing changes."""
        return self.theirs == self.ours


# A model has thousands of arrays, and a few shapes.
@functools.lru_cache(maxsize=4096)
def layouts(theirs: Shape, ours: Shape) -> tuple[Layout, ...]:
    """Returns every layout: one side has elementary axes, of which each axis of the other is made, side by side.

    >>> [layout.theirs for layout in layouts((6, 4), (4, 2, 3))]
    [((1, 2), (0,))]
    >>> len(layouts((4, 4), (4, 4))), len(layouts((3, 4), (4, 4)))
    (2, 0)
    """
    if math.prod(theirs) != math.prod(ours):
        return ()
    # An axis of length 1 may be anywhere: to move it about would only multiply the ways.
    left, right = ([n for n in shape if n != 1] for shape in (theirs, ours))
    if max(len(left), len(right)) > _MOST:
        return ()
    # Sorting keeps the order of equal ones: where both have as many axes, `few` is theirs.
    few, many = sorted((left, right), key=len)
    found = []
    for groups in _groups(tuple(few), tuple(many)):
        single = tuple((k,) for k in range(len(many)))
        sides = (groups, single) if few is left else (single, groups)
        found.append(Layout(tuple(many), _with_units(theirs, sides[0]), _with_units(ours, sides[1])))
    return tuple(found)


def _groups(few: Shape, many: Shape) -> list[Groups]:
    """Returns which of many axes each of a few is made of."""
    # As many on both sides: one to one, in any order. Otherwise axes may only be split, each into neighbours.
    if len(few) == len(many):
        return [tuple((k,) for k in p) for p in itertools.permutations(range(len(many))) if _sized(many, p) == few]
    runs = [(a, b) for a in range(len(many)) for b in range(a + 1, len(many) + 1)]
    fitting = [[run for run in runs if math.prod(many[slice(*run)]) == n] for n in few]
    every = (tuple(tuple(range(*run)) for run in each) for each in itertools.product(*fitting))
    return [each for each in every if sorted(itertools.chain(*each)) == list(range(len(many)))]


def _sized(sizes: Shape, order: Sequence[int]) -> Shape:
    return tuple(sizes[k] for k in order)


def _with_units(shape: Shape, groups: Groups) -> Groups:
    rest = iter(groups)
    return tuple(next(rest) if n != 1 else () for n in shape)


def is_conventional(layout: Layout) -> bool:
    """Whether the axes along which a convolution slides stay side by side and keep their order.

    >>> [is_conventional(layout) for layout in layouts((8, 4, 3, 3), (3, 3, 4, 8))]
    [True, False]
    """
    # Only of such ranks are there convolutions; whether other axes keep their neighbours tells nothing.
    rank = len(layout.ours)
    if rank not in (4, 5) or len(layout.theirs) != rank or len(layout.sizes) != rank:
        return True
    theirs, ours = ([each[at : at + rank - 2] for at in range(3)] for each in (layout.theirs, layout.ours))
    return any(slid in ours for slid in theirs)
