"""Which use of its path a scope is, so that no two draws of a call get one key.

A key depends on the full path of the scope that draws it, so `s / "h" / "3"`, `s / "h/3"` and copy 3 of a scan over
`s / "h"` draw the same one. Where several scopes of one path draw, as in a block that runs twice, something has to tell
them apart, and it must not be how often a parent was entered: else a loop over `s / "h" / str(i)` would give each step
another key than a scan does, and a layer that is removed would change the keys of its neighbours.

So an entry only gets a number to know it by. When a scope draws for the first time, its entry is compared, level by
level, with those that drew from the same path before. What is the first at its level counts as 0, and a use of nothing
but zeros leaves no trace in the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from jscope import _path
from jscope._rng import Lane, mix

Entry: TypeAlias = tuple[int, ...]
"""The steps that lead to a scope, each by the number of the entry: which of the scopes that its parent gave it is."""

INDEX = "\0"
"""Stands in a path for any index: the part that tells the copies of a loop apart. No name can be this."""


class Use(NamedTuple):
    """One scope that drew keys, as it crosses a boundary: static, for it is a part of a treedef."""

    path: str
    """Below the scope at which the crossing began."""

    entry: Entry
    ordinals: tuple[int, ...]
    """At each level, how many other entries led to this path before."""

    asked: tuple[tuple[str, int], ...]
    """How often each stream was asked for."""


class Rival(NamedTuple):
    """A scope that went into a transform, which may have drawn from any path below it."""

    path: str
    entry: Entry
    ordinals: tuple[int, ...]


class Carried(NamedTuple):
    """What crosses a boundary, static: the entry of the scope that crosses, and what is known of the paths below it."""

    root: Entry = (0,)
    uses: tuple[Use, ...] = ()
    rivals: tuple[Rival, ...] = ()
    gone: tuple[tuple[str, Entry], ...] = ()
    """Scopes below that went into native transforms already."""


NOTHING = Carried()


@dataclass(slots=True)
class Uses:
    """The uses since a crossing began. Paths are those below the scope that crossed.

    Attributes:
      root: The entry of that scope.
      drawn: The ordinals of each scope that drew, and how often it was asked for each stream.
      at: The entries that drew from each path, so that a draw need not look at those of other paths.
      loops: Whether some of these paths have an index in them.
      rivals: Scopes that went into transforms and may have drawn anything below.
      gone: Those among them that count as another entry since, with what they took along.
    """

    root: Entry = (0,)
    drawn: dict[tuple[str, Entry], tuple[tuple[int, ...], dict[str, int]]] = field(default_factory=dict)
    at: dict[str, list[Entry]] = field(default_factory=dict)
    loops: bool = False
    rivals: list[Rival] = field(default_factory=list)
    gone: dict[tuple[str, Entry], Carried | None] = field(default_factory=dict)

    @staticmethod
    def of(carried: Carried) -> Uses:
        """Returns the uses with which a crossing begins."""
        begun = Uses(carried.root, rivals=list(carried.rivals), gone=dict.fromkeys(carried.gone))
        for use in carried.uses:
            begun._note(use.path, use.entry, use.ordinals, dict(use.asked))
        return begun

    def _note(self, path: str, entry: Entry, ordinals: tuple[int, ...], asked: dict[str, int]) -> None:
        if (path, entry) not in self.drawn:
            self.at.setdefault(path, []).append(entry)
            self.loops |= INDEX in path
        self.drawn[path, entry] = ordinals, asked

    def draw(self, path: str, entry: Entry, stream: str) -> tuple[Lane, int]:
        """Counts one more draw; returns the salt of the use (0 for the first), and how many draws there were before."""
        entry = self._later(path, entry)
        # One scope value asked again is the same use: then only `asked` tells its keys apart.
        if (path, entry) not in self.drawn:
            self._note(path, entry, self._ordinals(path, entry), {})
        ordinals, asked = self.drawn[path, entry]
        before = asked.get(stream, 0)
        asked[stream] = before + 1
        return salt(ordinals), before

    def carried(self) -> Carried:
        """Returns all that is known, for a boundary that the scope crosses with which this crossing began."""
        uses = (Use(*key, ordinals, tuple(asked.items())) for key, (ordinals, asked) in self.drawn.items())
        carried = Carried(self.root, tuple(uses), tuple(self.rivals), tuple(self.gone))
        # Equal blocks at different places have to be equal for JAX's caches, too.
        return NOTHING if carried[1:] == NOTHING[1:] else carried

    def below(self, path: str, entry: Entry) -> Carried:
        """Returns what a lift has to know about the paths below a scope to go on as if there were no boundary."""
        entry = self._later(path, entry)
        uses = ((_below(key[0], path), key[1], *use) for key, use in self.drawn.items())
        gone = ((_below(name, path), other) for name, other in self.gone)
        carried = Carried(
            entry,
            tuple(
                Use(name, other, ords, tuple(asked.items())) for name, other, ords, asked in uses if name is not None
            ),
            tuple(Rival(name, *rival[1:]) for rival, name in self._overlapping(path)),
            tuple((name, other) for name, other in gone if name is not None),
        )
        return NOTHING if carried[1:] == NOTHING[1:] else carried

    def give_up(self, path: str, entry: Entry) -> Carried:
        """Returns what a scope takes along into a transform that does not tell what was drawn inside.

        From then on the scope counts as another entry, and whatever is below it as used. A second time it takes along
        what it took the first time, and so draws the same keys, as a key of JAX does that is used twice.
        """
        # JAX flattens an argument several times in one call, and must find the same each time: so the scope itself does
        # not count as given up here, though one around it may.
        entry = (*self._later(path, entry)[:-1], entry[-1])
        taken = self.gone.get((path, entry))
        if taken is None:
            ordinals = self._ordinals(path, entry, whole=True)
            taken = self.carried() if entry == self.root else self._own(path, entry, ordinals)
            self.gone[path, entry] = taken
            self.rivals.append(Rival(path, entry, ordinals))
        return taken

    def _own(self, path: str, entry: Entry, ordinals: tuple[int, ...]) -> Carried:
        """Returns what a scope has drawn itself, and the ordinals of whatever it is going to draw."""
        below = self.below(path, entry)
        own = Carried(
            entry,
            tuple(use for use in below.uses if use.entry[: len(entry)] == entry),
            (Rival("", entry, ordinals),) if any(ordinals) else (),
            tuple(gone for gone in below.gone if gone[1][: len(entry)] == entry),
        )
        return NOTHING if own[1:] == NOTHING[1:] else own

    def entries(self) -> list[tuple[str, Entry]]:
        """Returns the paths and entries that are known."""
        return [*self.drawn, *self.gone, *(rival[:2] for rival in self.rivals)]

    def merge(self, path: str, entry: Entry, carried: Carried) -> list[tuple[str, Entry]]:
        """Takes over what a lift carried out of the body that ran on a scope; returns the paths and entries there."""
        entry, merged = self._later(path, entry), []
        for use in carried.uses:
            key = _path.join(path, use.path), _outer(entry, carried.root, use.entry)
            # What was carried in comes out again, with what was asked since.
            self._note(*key, _outer_ordinals(entry, carried.root, use.ordinals), dict(use.asked))
            merged.append(key)
        known = {rival[:2] for rival in self.rivals}
        for rival in carried.rivals:
            new = _path.join(path, rival.path), _outer(entry, carried.root, rival.entry)
            if new not in known:
                self.rivals.append(Rival(*new, _outer_ordinals(entry, carried.root, rival.ordinals)))
        for name, other in carried.gone:
            key = _path.join(path, name), _outer(entry, carried.root, other)
            self.gone.setdefault(key, None)
            merged.append(key)
        return merged

    def _later(self, path: str, entry: Entry) -> Entry:
        """Returns the entry by which a scope counts now: another one after it, or one around it, was given up."""
        if not self.gone:
            return entry
        start, names = len(self.root) - 1, ("", *_path.prefixes(path), *((path,) if path else ()))
        later = entry[:start]
        for name, number in zip(names, entry[start:], strict=True):
            later = (*later, number)
            if (name, later) in self.gone:
                # A number that no entry has, and another one for each.
                later = (*later[:-1], -1 - number)
        return later

    def _ordinals(self, path: str, entry: Entry, *, whole: bool = False) -> tuple[int, ...]:
        """Returns, level by level, how many other entries led to this path before; to any path below it if `whole`."""
        if whole:
            names = [name for name in self.at if _below(name, path) is not None]
        else:
            # Where a part may be an index, a path has other spellings.
            spelled = self.at if self.loops or INDEX in path else (path,)
            names = [name for name in spelled if name in self.at and _same_path(name, path)]
        rivals = [(other, self.drawn[name, other][0]) for name in names for other in self.at[name]]
        rivals += [rival[1:] for rival, name in self._overlapping(path) if whole or not name]
        found: tuple[int, ...] = ()
        for level, number in enumerate(entry):
            # Only those that came this way count at the next step: a loop that enters `h` anew for each `h/i` leaves no
            # trace, for no other entry of `h` has led to this `h/i`.
            taken = {other[level]: ordinals[level] for other, ordinals in rivals if len(other) > level}
            found = (*found, taken[number] if number in taken else 1 + max(taken.values(), default=-1))
            rivals = [rival for rival in rivals if len(rival[0]) > level and rival[0][level] == number]
        return found

    def _overlapping(self, path: str) -> Iterator[tuple[Rival, str]]:
        """Yields the rivals around, at or below a path, each with its path below that one ("" if around or at it)."""
        for rival in self.rivals:
            inner, outer = _below(rival.path, path), _below(path, rival.path)
            if inner is not None or outer is not None:
                yield rival, inner or ""


def salt(ordinals: tuple[int, ...]) -> Lane:
    """Returns the number that tells a use from others of its path: 0 for the first one.

    >>> salt((0, 0, 0)), salt((0, 1, 0)) == mix(mix(0, 1), 1)
    (0, True)
    """
    mixed: Lane = 0
    for height, ordinal in enumerate(reversed(ordinals)):
        if ordinal:
            # Counted from below: how far up the call began is not known inside of a compiled block.
            mixed = mix(mix(mixed, height), ordinal)
    return mixed


def indexed(carried: Carried, number: int) -> Carried:
    """Returns what a loop carried out of the body of one copy as seen from the scope of the loop."""
    inside = carried.root == NOTHING.root

    def outer(entry: Entry) -> Entry:
        return (0, number if entry[0] >= 0 else -1 - number, *entry[1:]) if inside else entry

    def outer_ordinals(ordinals: tuple[int, ...]) -> tuple[int, ...]:
        return (0, *ordinals) if inside else ordinals

    return Carried(
        (0,) if inside else carried.root[:-1],
        tuple(Use(_path.join(INDEX, p), outer(e), outer_ordinals(o), asked) for p, e, o, asked in carried.uses),
        tuple(Rival(_path.join(INDEX, p), outer(e), outer_ordinals(o)) for p, e, o in carried.rivals),
        tuple((_path.join(INDEX, p), outer(e)) for p, e in carried.gone),
    )


def _outer(entry: Entry, root: Entry, inner: Entry) -> Entry:
    """Returns an entry that was counted from `root` as counted outside, where the root is `entry`."""
    if root == entry:
        return inner
    last = entry[-1] if inner[0] >= 0 else -1 - entry[-1]
    return (*entry[:-1], last, *inner[1:])


def _outer_ordinals(entry: Entry, root: Entry, inner: tuple[int, ...]) -> tuple[int, ...]:
    return inner if root == entry else (*(0,) * (len(entry) - 1), *inner)


def _below(path: str, prefix: str) -> str | None:
    """Returns `path` as seen from `prefix`, where an index is like any other, or None where it is not below it."""
    if INDEX not in path and INDEX not in prefix:
        return _path.relative(path, prefix)
    parts, above = _path.parts(path), _path.parts(prefix)
    if len(parts) < len(above) or not all(map(_alike, parts, above)):
        return None
    return _path.join(*parts[len(above) :])


def _same_path(path: str, other: str) -> bool:
    return path == other or ((INDEX in path or INDEX in other) and _below(path, other) == "")


def _alike(part: str, other: str) -> bool:
    return part == other or (part == INDEX and other.isdecimal()) or (other == INDEX and part.isdecimal())
