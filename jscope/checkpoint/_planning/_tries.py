"""Tries: a reference output decides what names cannot.

Where what is undecided leaves few choices, all are tried. Else one row at a time takes another candidate, or two rows
swap theirs, as long as the output comes nearer: enough where each row counts by itself, or two names lie about each
other.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jscope.checkpoint._conversions._conversion import Conversion
from jscope.checkpoint._conversions._reader import converted
from jscope.checkpoint._planning._candidates import Candidate
from jscope.checkpoint._planning._grades import CERTAIN, UNDECIDED, Graded
from jscope.checkpoint._reader import Reader
from jscope.errors import JscopeError, StructureMismatchError

_ALL = 512
"""The most choices of all undecided rows that are tried together; of more, one row at a time."""
_PASSES = 8
"""How often all rows are gone through, at most: each time the output has come nearer."""


@dataclass
class _Trial:
    """The choices so far, and how far they are from the reference.

    Attributes:
      rows: All rows.
      arrays: What a candidate makes; nothing if its rules cannot be applied.
      distance: From values by name to a number.
      choices: The candidate of each row.
      best: How far they are.
    """

    rows: Sequence[Graded]
    arrays: Callable[[Candidate], Mapping[str, Any]]
    distance: Callable[[Mapping[str, Any]], Any]
    choices: list[Candidate] = field(default_factory=list)
    best: float = math.inf

    def measure(self, changes: Mapping[int, Candidate]) -> float:
        """Returns how far it would be with other choices."""
        values: dict[str, Any] = {}
        for number, choice in enumerate(self.choices):
            made = self.arrays(changes.get(number, choice))
            # No number is as bad: what cannot be made is never the nearest.
            if not made:
                return math.inf
            values |= made
        # Comparisons with a NaN are all false, so a model that gives one would seem to be as near as any.
        found = float(self.distance(values))
        return math.inf if math.isnan(found) else found

    def take(self, changes: Mapping[int, Candidate]) -> bool:
        """Takes other choices if they come nearer; returns whether they do."""
        found = self.measure(changes)
        if found >= self.best:
            return False
        self.best = found
        for number, choice in changes.items():
            self.choices[number] = choice
        return True

    def swaps(self) -> Iterator[dict[int, Candidate]]:
        """Yields what exchanges the choices of two rows, each laid out as it was."""
        for one in range(len(self.rows)):
            for other in range(one):
                # Where two names lie about each other, either change by itself makes the output worse.
                here, there = self._from(one, self.choices[other]), self._from(other, self.choices[one])
                if here is not None and there is not None:
                    yield {one: here, other: there}

    def _from(self, number: int, wanted: Candidate) -> Candidate | None:
        before = self.choices[number]
        for each in self.rows[number].candidates:
            if each.theirs is wanted.theirs and each.layout == before.layout and each.theirs is not before.theirs:
                return each
        return None


def tried(
    rows: list[Graded],
    reader: Reader,
    names: Mapping[str, str],
    wanted: Mapping[str, Any],
    distance: Callable[[Mapping[str, Any]], Any],
    tolerance: float,
) -> list[Graded]:
    """Returns the rows as a reference output has them.

    Raises:
      StructureMismatchError: A row has no candidate.
    """
    if lacking := [row.family.title() for row in rows if not row.candidates]:
        raise StructureMismatchError(
            f"There is nothing in `{reader.path}` for {', '.join(f'`{name}`' for name in lacking)}, so there are no "
            "params to check. Call `plan` without `check` to see what there is."
        )
    # Most trials change one row: the others are converted once.
    arrays = functools.cache(lambda candidate: _made(candidate, reader, names, wanted))
    trial = _Trial(rows, arrays, distance, [_first(row, arrays) for row in rows])
    trial.best = trial.measure({})
    _descend(trial, tolerance)
    if trial.best > tolerance:
        return [
            replace(row, reason=f"{row.reason}; nothing tried fits, the nearest by {trial.best:.3g}") for row in rows
        ]
    return [_decided(trial, number, tolerance) for number in range(len(rows))]


def _first(row: Graded, arrays: Callable[[Candidate], Mapping[str, Any]]) -> Candidate:
    return row.chosen or next((each for each in row.candidates if arrays(each)), row.candidates[0])


def _descend(trial: _Trial, tolerance: float) -> None:
    """Changes what brings the output nearer: what is undecided first, then all, then two rows at once."""
    undecided = [number for number, row in enumerate(trial.rows) if row.grade == UNDECIDED]
    each = [trial.rows[number].candidates for number in undecided]
    # Rows can depend on each other, two transposed matrices in a row, so all choices are tried while they are few.
    if math.prod(map(len, each)) <= _ALL:
        for choices in itertools.product(*each):
            if trial.best <= tolerance:
                return
            trial.take(dict(zip(undecided, choices, strict=True)))
    for numbers in (undecided, range(len(trial.rows))):
        for _ in range(_PASSES):
            if trial.best <= tolerance:
                return
            # Names that lie are the rarest, and there are many pairs: only when nothing simpler has helped.
            nearer = [trial.take(changes) for changes in trial.swaps()] if numbers is not undecided else []
            nearer += [trial.take({number: each}) for number in numbers for each in trial.rows[number].candidates]
            if not any(nearer):
                break


def _decided(trial: _Trial, number: int, tolerance: float) -> Graded:
    """Returns a row, certain if any other candidate would not fit."""
    row, choice = trial.rows[number], trial.choices[number]
    if row.grade == CERTAIN and row.chosen is choice:
        return row
    # Fitting is not enough: if another choice fits as well, the output does not depend on it.
    others = [each for each in row.candidates if each != choice]
    if any(trial.measure({number: each}) <= tolerance for each in others):
        changed = row.chosen is not choice
        return replace(row, grade=UNDECIDED if changed else row.grade, chosen=None if changed else choice)
    return replace(row, grade=CERTAIN, reason="the reference output", chosen=choice)


def _made(candidate: Candidate, reader: Reader, names: Mapping[str, str], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the rules of a candidate make, or nothing where they cannot be applied."""
    theirs = candidate.theirs.all_names()
    try:
        view = converted(reader, Conversion(candidate.rules), {name: names[name] for name in theirs}, wanted)
        shapes = view.get_variable_to_shape_map()
        if view.problems or {*shapes} != {*candidate.ours.all_names()}:
            return {}
        fits = all(tuple(shape) == tuple(wanted[name].shape) for name, shape in shapes.items())
        return {name: view.get_tensor(name) for name in shapes} if fits else {}
    # Also errors of a damaged file, which reading the array for `restore` will report.
    except JscopeError:
        return {}
