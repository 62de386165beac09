"""Families: names that differ only in numbers, and whose arrays have one shape.

`h.0.attn.weight`, `h.1.attn.weight`, ... are one family, of the name `h.{}.attn.weight`. Which numbers there are below
`h.` is asked of all names, since one array may be missing where the layer is there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from jscope._types import Shape
from jscope.checkpoint._planning._words import FUSED, VOCABULARY, Words, words

Index: TypeAlias = tuple[int, ...]

_LABELS = 8
"""The most values of a number that may be labels."""
_SEPARATED = re.compile(r"([/.:]+)")
# By itself, or at the end of a word that has no others: not in one, as in `wav2vec2`. Longer numbers are hashes.
_NUMBERED = re.compile(r"(?<![A-Za-z0-9])(?:[A-Za-z]+)?(\d{1,9})(?![A-Za-z0-9])")


@dataclass(frozen=True, slots=True)
class Name:
    """A name without its numbers: the texts around them, how each is written, and which they are.

    Attributes:
      texts: What stands around the numbers: one more than there are numbers.
      forms: How each number is written, as in a `Template`.
      index: The numbers.
    """

    texts: tuple[str, ...]
    forms: tuple[str, ...]
    index: Index

    @property
    def parts(self) -> list[str]:
        """The parts of the name, without its numbers."""
        return [each for each in _SEPARATED.split("".join(self.texts)) if each and not _SEPARATED.fullmatch(each)]


@dataclass(frozen=True, eq=False)
class Family:
    """Some arrays: equal to itself only, whatever others are called.

    Attributes:
      name: The name of any of them.
      shape: Their shape.
      names: The whole names, by their numbers.
      words: What the name says.
      values: Of several families in one, what is in the place of `{part}` in each, by the word for it.
      shapes: And their shapes.
      members: And the names of all.
      counted: For each number, all those that any array has in this place.
      is_all: Whether no array of this name has another shape.
    """

    name: Name
    shape: Shape
    names: Mapping[Index, str]
    words: Words
    counted: tuple[frozenset[int], ...]
    is_all: bool = True
    values: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = ()
    members: tuple[str, ...] = ()

    def title(self) -> str:
        """Returns the name, with `{}` for numbers that differ."""
        alone = len(self.names) == 1 and not self.values
        return next(iter(self.names.values())) if alone else "{}".join(self.name.texts)

    def all_names(self) -> tuple[str, ...]:
        """Returns the names of all arrays."""
        return self.members or tuple(self.names.values())


def families(types: Mapping[str, Any]) -> list[Family]:
    """Returns the families of some arrays, by flat names: anything that has a shape.

    >>> found = families({f"h.{i}.w": np.ones((2, 3)) for i in range(2)})
    >>> [(family.title(), family.shape, list(family.names)) for family in found]
    [('h.{}.w', (2, 3), [(0,), (1,)])]
    """
    siblings: dict[str, set[str]] = defaultdict(set)
    for name in types:
        for begin, part in _parts(name):
            siblings[name[:begin]].add(part)
    # Asked of the whole file: see `_words`.
    is_glu = {"w1", "w3"} <= {part for each in siblings.values() for part in each}
    groups: dict[tuple[Any, ...], dict[Index, str]] = defaultdict(dict)
    taken: dict[tuple[Any, ...], Name] = {}
    shapes: dict[tuple[str, ...], set[Shape]] = defaultdict(set)
    counted: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for full, each in types.items():
        name = _taken_apart(full, siblings)
        key = (name.texts, name.forms, tuple(each.shape))
        taken.setdefault(key, name)
        groups[key][name.index] = full
        shapes[name.texts].add(tuple(each.shape))
        for at, number in enumerate(name.index):
            # By what stands before it only, so that any array of a layer tells that the layer is there.
            counted[name.texts[: at + 1]].add(number)
    return [
        Family(
            taken[key],
            key[2],
            dict(sorted(names.items())),
            words(taken[key].parts, len(key[2]), is_glu),
            tuple(frozenset(counted[key[0][: at + 1]]) for at in range(len(key[1]))),
            len(shapes[key[0]]) == 1,
        )
        for key, names in groups.items()
    ]


def _parts(name: str) -> list[tuple[int, str]]:
    """Returns the parts of a name, each with where it begins."""
    found, at = [], 0
    for text in _SEPARATED.split(name):
        if text and not _SEPARATED.fullmatch(text):
            found.append((at, text))
        at += len(text)
    return found


def _taken_apart(name: str, siblings: Mapping[str, set[str]]) -> Name:
    texts, forms, index, at = [], [], [], 0
    for begin, part in _parts(name):
        # The digits of `fc1` and `ln_2` tell two arrays of a layer apart; as numbers, they would make them one family.
        if part.lower() in VOCABULARY:
            continue
        beside = siblings[name[:begin]]
        base = re.sub(r"_[1-9]\d*$", "", part)
        # Keras and Haiku write nothing for the first, so `conv_1` counts only where there is a `conv` beside it.
        if (base != part and base in beside) or (base == part and f"{part}_1" in beside):
            texts.append(name[at : begin + len(base)])
            forms.append(":_")
            index.append(int(part[len(base) + 1 :] or 0))
            at = begin + len(part)
            continue
        for match in _NUMBERED.finditer(part):
            texts.append(name[at : begin + match.start(1)])
            forms.append(f":0{len(match[1])}" if match[1][0] == "0" and len(match[1]) > 1 else "")
            index.append(int(match[1]))
            at = begin + match.end()
    return Name((*texts, name[at:]), tuple(forms), tuple(index))


def labelled(family: Family, among: Sequence[Family]) -> list[Family]:
    """Returns a family as several, one for each value of a number that may be a label, and not count layers.

    >>> found = families({f"h.{i}.mlp.{n}.weight": np.ones((2, 3)) for i in range(4) for n in (0, 2)})
    >>> [each.title() for each in labelled(found[0], found)]
    ['h.{}.mlp.0.weight', 'h.{}.mlp.2.weight']
    """
    values = [sorted({index[at] for index in family.names}) for at in range(len(family.name.forms))]
    # There are few labels, but many layers; and what counts these comes first.
    at = min(range(len(values)), key=lambda n: (n == 0 < len(values[n]) - 1, len(values[n]), -n), default=0)
    if not values or len(values[at]) > _LABELS:
        return [family]
    beside = [each for each in among if each.name.texts == family.name.texts and each is not family]
    made = []
    for value in values[at]:
        texts = list(family.name.texts)
        texts[at : at + 2] = [f"{texts[at]}{literal(value, family.name.forms[at])}{texts[at + 1]}"]
        names = {(*i[:at], *i[at + 1 :]): name for i, name in family.names.items() if i[at] == value}
        forms = (*family.name.forms[:at], *family.name.forms[at + 1 :])
        counted = (*family.counted[:at], *family.counted[at + 1 :])
        is_all = not any(index[at] == value for each in beside for index in each.names)
        name = Name(tuple(texts), forms, next(iter(names)))
        made.append(replace(family, name=name, names=names, counted=counted, is_all=is_all))
    return made


def literal(number: int, form: str) -> str:
    """Returns a number as it is written in names of this form."""
    return (f"_{number}" if number else "") if form == ":_" else f"{number:{form.removeprefix(':')}}"


def together(found: Sequence[Family], fused: str) -> list[Family]:
    """Returns families of which a fused one could have been made: alike but for one text in their names.

    >>> shapes = {f"h.{i}.{part}.weight": np.ones((2, 3)) for i in range(2) for part in ("query", "key", "value")}
    >>> [(family.title(), family.values) for family in together(families(shapes), "qkv")]
    [('h.{}.{part}.weight', ('query', 'key', 'value'))]
    """
    groups: dict[tuple[Any, ...], dict[str, Family]] = defaultdict(dict)
    for family in found:
        for word in FUSED[fused]:
            # By names alone, a rule could not tell those of one shape from the others.
            if word in family.words.bag and family.is_all:
                rest = family.words.bag - {word}
                key = (family.words.role, rest, len(family.shape), family.name.forms, tuple(family.names))
                groups[key].setdefault(word, family)
    made = (
        _joined([each[word] for word in FUSED[fused]], fused)
        for each in groups.values()
        if len(each) == len(FUSED[fused])
    )
    return [family for family in made if family is not None]


def _joined(parts: list[Family], fused: str) -> Family | None:
    """Returns families as one, if their names differ in one place."""
    where = [
        at for at, texts in enumerate(zip(*(each.name.texts for each in parts), strict=True)) if len(set(texts)) > 1
    ]
    # In one place only, since that is where `{part}` can stand.
    if len(where) != 1:
        return None
    at = where[0]
    split = [_SEPARATED.split(each.name.texts[at]) for each in parts]
    differ = [k for k, texts in enumerate(zip(*split, strict=False)) if len(set(texts)) > 1]
    if len({len(each) for each in split}) != 1 or len(differ) != 1:
        return None
    before, after = ("".join(split[0][: differ[0]]), "".join(split[0][differ[0] + 1 :]))
    texts = list(parts[0].name.texts)
    texts[at] = f"{before}{{part}}{after}"
    bag = frozenset(parts[0].words.bag - set(FUSED[fused]) | {fused})
    return replace(
        parts[0],
        name=replace(parts[0].name, texts=tuple(texts)),
        words=replace(parts[0].words, bag=bag, doubt="the order within a fused array is not in the names"),
        values=tuple(each[differ[0]] for each in split),
        shapes=tuple(each.shape for each in parts),
        members=tuple(name for each in parts for name in each.names.values()),
    )
