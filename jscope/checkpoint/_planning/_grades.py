"""Grades: which candidate of each family is meant, and how certain that is.

*Certain* needs all of this: the roles agree; the words are the same, and clearly nearer than those of any other, seen
from either side; both sides count the same layers; exactly one layout fits; nothing is known to differ behind equal
names; and most of either side has found a partner, or the file may be of another model. What is square is likely at
best, if others like it tell the layout. So is what is left when the rest is taken.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jscope.checkpoint._planning._candidates import Candidate
from jscope.checkpoint._planning._families import Family
from jscope.checkpoint._planning._layouts import is_conventional
from jscope.checkpoint._planning._words import Words

Grade = Literal["certain", "likely", "undecided"]
CERTAIN, LIKELY, UNDECIDED = "certain", "likely", "undecided"

_SAME, _CLEAR, _NEAR, _ALONE = 0.99, 0.2, 0.3, 0.2
"""The score of the same words; by how much one is clear; the least that is likely; how many may find no partner."""
_CONTAINED = 4
"""The most families that do not yet tell what contains them all."""
_TELLING = 2
"""How many others must tell a layout."""
_META = re.compile(r"(?<![a-z])w[qk](?![a-z])")


@dataclass(frozen=True)
class Graded:
    """A family of ours, and what was found for it."""

    family: Family
    grade: Grade
    reason: str
    chosen: Candidate | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class _Found:
    """What is nearest."""

    candidates: list[Candidate]
    best: Candidate
    is_clear: bool

    @property
    def is_same(self) -> bool:
        ours, theirs = self.best.ours.words, self.best.theirs.words
        return self.is_clear and self.best.score >= _SAME and ours.role == theirs.role


def rarities(found: Sequence[Family]) -> dict[str, float]:
    """Returns how much each word tells: one that all have tells little."""
    # As search engines weigh words: what is in every path tells nothing of any.
    count = Counter(word for family in found for word in family.words.bag)
    return {word: math.log(1 + len(found) / n) for word, n in count.items()}


def without_containers(found: list[Family], others: Sequence[Family]) -> list[Family]:
    """Returns families without the words that most of them have, and none of the other side: what all are in."""
    count = Counter(word for family in found for word in family.words.bag)
    kept = {word for family in others for word in family.words.bag}
    # Where there is an encoder, on either side, that it is a decoder says much.
    if any("encoder" in family.title() for family in (*found, *others)):
        kept.add("decoder")
    rest = {word for word, n in count.items() if word in kept or n <= max(_CONTAINED, len(found) / 2)}
    return [replace(family, words=replace(family.words, bag=family.words.bag & rest)) for family in found]


def similarity(ours: Words, theirs: Words, weights: Mapping[str, float]) -> float:
    """Returns how alike two names are, from 0 to 1; with other roles half as much."""
    if not ours.bag | theirs.bag:
        return 0.5 * (ours.role == theirs.role)  # Order alone tells little.
    both, any_of = (sum(weights[word] for word in bag) for bag in (ours.bag & theirs.bag, ours.bag | theirs.bag))
    return both / any_of * (1 if ours.role == theirs.role else 0.5)


def graded(table: Mapping[int, list[Candidate]], ours: Sequence[Family], theirs: Sequence[Family]) -> list[Graded]:
    """Returns the grade of each family of ours, given its candidates, with scores, by number."""
    # Seen from the other side: what two of ours are near to is not clear for either of them.
    columns: dict[Family, list[tuple[float, int]]] = defaultdict(list)
    for number, each in table.items():
        for candidate in each:
            columns[candidate.theirs].append((candidate.score, number))
    found = {number: _nearest(number, each, columns) for number, each in table.items() if each}
    partners = [each for each in found.values() if each.is_same]
    told = {each.best.theirs for each in partners}
    # Row by row, a file of another model looks as good as the right one: it is given away by what finds no partner.
    alone = max(1 - len(partners) / max(1, len(ours)), 1 - len(told) / max(1, len(theirs)))
    layouts = _layouts_told(found.values())
    rows = []
    for number, family in enumerate(ours):
        each = found.get(number)
        rows.append(_grade(family, each, layouts, alone > _ALONE))
    return _eliminated(rows, layouts)


def _nearest(number: int, candidates: list[Candidate], columns: Mapping[Family, list[tuple[float, int]]]) -> _Found:
    # Of equal names, first the one that counts as ours does.
    ordered = sorted(candidates, key=lambda each: (-each.score, not each.steady))
    best = ordered[0]
    second = max((each.score for each in ordered if each.theirs is not best.theirs), default=0.0)
    rival = max((score for score, other in columns[best.theirs] if other != number), default=0.0)
    return _Found(ordered, best, best.score - max(second, rival) >= _CLEAR)


def _alike(found: _Found) -> list[Candidate]:
    """Returns the candidates that differ from the best in their layout only."""
    best = found.best
    return [each for each in found.candidates if each.theirs is best.theirs and each.offsets == best.offsets]


def _kind(candidate: Candidate) -> Any:
    """Returns what those have in common that tell the layouts of each other."""
    leaves = [re.split(r"[/.]", family.title())[-1] for family in (candidate.ours, candidate.theirs)]
    return *leaves, len(candidate.layout.theirs), len(candidate.layout.ours), candidate.part is None


def _way(candidate: Candidate) -> Any:
    return candidate.layout.theirs, candidate.layout.ours, candidate.part


def _layouts_told(found: Any) -> dict[Any, Any]:
    """Returns the layout that families of each kind have, where they agree."""
    told: dict[Any, Counter[Any]] = defaultdict(Counter)
    for each in found:
        alike = [one for one in _alike(each) if is_conventional(one.layout)]
        if each.is_same and len(alike) == 1:
            told[_kind(each.best)][_way(alike[0])] += 1
    # A library lays out all its matrices in one way; where two that are not square agree, square ones are like them.
    return {kind: next(iter(ways)) for kind, ways in told.items() if len(ways) == 1 and ways.total() >= _TELLING}


def _grade(family: Family, found: _Found | None, told: Mapping[Any, Any], is_foreign: bool) -> Graded:
    if found is None:
        return Graded(family, UNDECIDED, "no shape fits", None, ())
    alike = _alike(found)
    listed = tuple(found.candidates)
    if not found.is_clear or found.best.score < _NEAR:
        near = {each.theirs for each in listed if each.score > found.best.score - _CLEAR}
        return Graded(
            family,
            UNDECIDED,
            f"{len(near)} with names as near" if len(near) > 1 else "another is as near",
            None,
            listed,
        )
    chosen, layout = _with_layout(alike, told)
    if chosen is None:
        return Graded(family, UNDECIDED, f"{len(alike)} layouts fit", None, listed)
    doubts = _doubts(found, layout, is_foreign)
    if not doubts:
        return Graded(family, CERTAIN, "the names say the same, and one layout fits", chosen, listed)
    return Graded(family, LIKELY, "; ".join(doubts), chosen, listed)


def _with_layout(alike: list[Candidate], told: Mapping[Any, Any]) -> tuple[Candidate | None, str]:
    """Returns the candidate whose layout is meant, and what is uncertain of it."""
    if len(alike) == 1:
        return alike[0], ""
    usual = [each for each in alike if is_conventional(each.layout)]
    if len(usual) == 1:
        return usual[0], "the layout is the usual one"
    way = told.get(_kind(alike[0]))
    chosen = next((each for each in alike if _way(each) == way), None)
    return chosen, "the layout is that of others like it"


def _doubts(found: _Found, layout: str, is_foreign: bool) -> list[str]:
    """Returns why this is not certain."""
    best = found.best
    ours, theirs = best.ours.words, best.theirs.words
    # Meta's checkpoints interleave the halves that rotary positions turn; Hugging Face's have them side by side.
    spelled = [bool(_META.search(family.title())) for family in (best.ours, best.theirs)]
    reasons = {
        "the roles differ": ours.role != theirs.role,
        "the names are near, not the same": best.score < _SAME,
        "the names say little": not (ours.is_readable and theirs.is_readable),
        "the two sides count differently": not best.steady,
        ours.doubt: bool(ours.doubt),
        theirs.doubt: bool(theirs.doubt),
        "rotary positions may be laid out differently": spelled[0] != spelled[1],
        layout: bool(layout),
        "much of the file or the model has no partner": is_foreign,
    }
    return [text for text, holds in reasons.items() if holds]


def _eliminated(rows: list[Graded], told: Mapping[Any, Any]) -> list[Graded]:
    """Returns the rows, after what is certain has been taken from the candidates of the others."""
    taken = {row.chosen.theirs for row in rows if row.chosen is not None and row.grade == CERTAIN}
    made = []
    for row in rows:
        left = [
            each
            for each in row.candidates
            if each.theirs not in taken and _way(each) == told.get(_kind(each), _way(each))
        ]
        # Never certain: the right one may as well be missing from the file.
        if row.grade == UNDECIDED and len(left) == 1 and left[0].score > _NEAR:
            row = replace(row, grade=LIKELY, reason="all that is left", chosen=left[0])
        made.append(row)
    return made
