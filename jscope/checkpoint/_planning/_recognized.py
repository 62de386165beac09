"""Recognition: a table that makes all of ours, from all of theirs, is used as a whole.

Its names are then those of the file, one by one, which says more than words that are alike. Nothing less will do: of a
table that takes all but one array, it is only noted what does not fit. Nor is one of two tables chosen where both fit,
and make other arrays of the same names.
"""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jscope._specs import Specs
from jscope.checkpoint._conversions import _axes
from jscope.checkpoint._conversions._conversion import Conversion, chained
from jscope.checkpoint._conversions._made import Made
from jscope.checkpoint._conversions._plan import Plan
from jscope.checkpoint._conversions._source import Type
from jscope.checkpoint._errors import ConversionError
from jscope.checkpoint._planning._grades import CERTAIN, LIKELY, UNDECIDED, Graded
from jscope.checkpoint._planning._layouts import layouts
from jscope.checkpoint._planning._proposal import ProposedRow
from jscope.checkpoint._tables import _libraries
from jscope.checkpoint._tables._layers import assumed
from jscope.checkpoint._tables._table import table_of
from jscope.errors import JscopeError

_LIBRARIES = {
    "tables.pytorch": _libraries.PYTORCH,
    "tables.linen": _libraries.LINEN,
    "tables.nnx": _libraries.NNX,
    "tables.nnx, optimized": _libraries.NNX_OPTIMIZED,
    "tables.haiku": _libraries.haiku(4),
    # By the rank of a batch, which the arrays of batch norms have there.
    "tables.haiku, ndim=3": _libraries.haiku(3),
    "tables.haiku, ndim=2": _libraries.haiku(2),
    "tables.keras": _libraries.KERAS,
    "tables.tf1": _libraries.TF1,
}
_DIFFER, _MAY_DIFFER = "differ", "may differ"
_PROBES = 32
"""How many elements of an array are followed to where they come from."""


@dataclass(frozen=True)
class Recognized:
    """What is known of tables.

    Attributes:
      table: The one that matches as a whole.
      rows: Its rows.
      notes: What is to be told of others.
      doubted: Names of ours of which several tables that match make other arrays, or may: what they do.
    """

    table: Conversion | None = None
    rows: tuple[ProposedRow, ...] = ()
    notes: tuple[str, ...] = ()
    doubted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Match:
    """A table that matches as a whole, with its plans, and the names of ours that are only assumed to be so."""

    name: str
    table: Conversion
    plans: list[Plan]
    unsure: Mapping[str, str]


def recognized(
    specs: Any, tables: Mapping[str, Conversion], wanted: Mapping[str, Type], source: Mapping[str, Type]
) -> Recognized:
    """Returns the table that matches as a whole: one of the caller's, or one that ships."""
    notes, matches = [], []
    shipped = _shipped(specs) if isinstance(specs, Specs) else ()
    for name, table, others in (*((name, table, None) for name, table in tables.items()), *shipped):
        plans, share, wrong = _tried(table, wanted, source)
        if wrong:
            # What takes hardly anything is for another file: to say so of each table would hide what matters.
            more = f", and {len(wrong) - 1} more" * (len(wrong) > 1)
            notes += [f"`{name}` matches in part only: {wrong[0]}{more}"] * (share >= 0.5)
        elif plans:
            unsure = {} if others is None else _unsure(plans, others, wanted, source)
            matches.append(_Match(name, table, plans, unsure))
    if not matches:
        return Recognized(notes=tuple(notes))
    first = matches[0]
    for other in matches[1:]:
        told = {each: _difference(first.plans, other.plans, each, source) for each in wanted}
        if doubted := {each: what for each, what in told.items() if what}:
            # Of what is known to differ, if there is any.
            name = min(doubted, key=lambda each: doubted[each] != _DIFFER)
            text = f"`{first.name}` and `{other.name}` both match as a whole, and {doubted[name]} in `{name}`"
            text += " (a function makes it, which is not called to compare)" * (doubted[name] == _MAY_DIFFER)
            return Recognized(notes=(*notes, f"{text}: see `check`"), doubted=doubted)
    return Recognized(first.table, tuple(_rows(first)), tuple(notes))


def doubt(rows: list[Graded], doubted: Mapping[str, str]) -> list[Graded]:
    """Returns rows of which none that is doubted is decided."""
    made = []
    for row in rows:
        if what := [doubted[name] for name in row.family.all_names() if name in doubted]:
            what = _DIFFER if _DIFFER in what else what[0]
            row = replace(row, grade=UNDECIDED, reason=f"tables that match as a whole {what} here", chosen=None)
        made.append(row)
    return made


def _shipped(specs: Specs) -> Iterator[tuple[str, Conversion, tuple[Conversion, ...]]]:
    """Yields the tables for the layers of a model, each with what it would be if layers were what they may be, too."""
    told = assumed(specs.flat())
    for name, library in _LIBRARIES.items():
        try:
            table = table_of(specs, library, {}, {})
        except ConversionError:  # The library has no such layer.
            continue
        others: tuple[Conversion, ...] = ()
        # Nor may it have what the layer could be, too; then that is not what it is.
        with contextlib.suppress(ConversionError):
            others = (table_of(specs, library, {}, told),) if told else ()
        yield name, table, others


def _tried(
    table: Conversion, wanted: Mapping[str, Type], source: Mapping[str, Type]
) -> tuple[list[Plan], float, list[str]]:
    """Returns the plans, the share of names that fit, and what does not fit."""
    # First by names: to find out why each of thousands does not fit takes long, and for most tables nobody asks.
    if strange := [name for name in source if not table.takes(name)]:
        return [], 1 - len(strange) / len(source), [f"it has no rule for `{name}`" for name in strange]
    try:
        plans = table.plan(source, wanted)
    except JscopeError as error:  # Of a function of the caller's.
        return [], 0.0, [str(error)]
    made = plans[-1].types
    fitting = {name for name, each in wanted.items() if name in made and made[name].shape == each.shape}
    lines = [" ".join(line.split()) for line in (*plans[-1].problems, *plans[-1].unmatched)]
    lines = lines or [f"`{name}` does not fit" for name in {**wanted, **made} if name not in fitting]
    return plans, len(fitting) / max(1, len(wanted)), lines


def _unsure(
    plans: list[Plan], others: Sequence[Conversion], wanted: Mapping[str, Type], source: Mapping[str, Type]
) -> dict[str, str]:
    """Returns which names of ours a shipped table may be wrong of, and why."""
    found = {}
    for other in others:
        theirs, _, wrong = _tried(other, wanted, source)
        differ = [] if wrong else [each for each in wanted if _difference(plans, theirs, each, source)]
        found |= dict.fromkeys(differ, "another kind of layer has these names and shapes, too: say so in `layers`")
    # A table of layers knows few names, such as `weight`, which others give to matrices that are not transposed.
    moved = {each: made for each, made in plans[-1].made.items() if isinstance(made, Made) and _moves(made)}
    if moved and not any(_is_told(made, source) for made in moved.values()):
        found |= dict.fromkeys(moved, "no shape tells its layout")
    return found


def _rows(match: _Match) -> Iterator[ProposedRow]:
    """Yields a row for each rule that makes something."""
    names: dict[Any, list[str]] = {}
    for name, made in match.plans[-1].made.items():
        if isinstance(made, Made):
            for each in (made, *made.ties):
                names.setdefault(each.bound.rule, []).append(name)
    for rule, made in names.items():
        reason = f"`{match.name}` matches as a whole"
        unsure = next((match.unsure[name] for name in made if name in match.unsure), "")
        reason += f", but {unsure}" * bool(unsure)
        yield ProposedRow(rule.ours, tuple(made), LIKELY if unsure else CERTAIN, reason, (rule,), ((rule,),))


def _moves(made: Made) -> bool:
    """Whether axes of theirs are in another order in ours."""
    if made.bound.sides is None:
        return False
    left, right = (
        [axis for axis in _axes.flat(side) if axis not in made.index and axis not in made.pieces[0].index]
        for side in made.bound.sides
    )
    return left != right


def _is_told(made: Made, source: Mapping[str, Type]) -> bool:
    """Whether no other layout would fit the shapes."""
    ours = made.type.shape[len(made.bound.stacked) :]
    return len(layouts(source[made.pieces[0].name].shape, ours)) == 1


@dataclass(frozen=True)
class _Numbered:
    """A source in whose arrays every element tells, more or less, which one it is."""

    types: Mapping[str, Type]

    def read(self, name: str, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        """Returns a region, which is computed."""
        shape, where = self.types[name].shape, np.zeros([], np.int64)
        for axis, (begin, end) in enumerate(ranges):
            where = where[..., None] * shape[axis] + np.arange(begin, end)
        # Small numbers, as any dtype has them.
        numbers = (where * 2654435761 + zlib.crc32(name.encode())) >> 7
        return (numbers % 8).astype(self.types[name].dtype)


def _difference(one: list[Plan], other: list[Plan], name: str, source: Mapping[str, Type]) -> str:
    """Returns what two tables do in the array of this name: nothing where they make the same."""
    made, different = (plans[-1].made[name] for plans in (one, other))
    if made == different:
        return ""
    before = [each for plan in (*one[:-1], *other[:-1]) for each in plan.made.values()]
    # A function would be given all of an array, which may be large.
    if any(isinstance(each, Made) and each.function for each in (made, different, *before)):
        return _MAY_DIFFER
    shape = made.type.shape
    random = np.random.default_rng(0)
    values = [chained(_Numbered(source), plans) for plans in (one, other)]
    for _ in range(min(_PROBES, 4 * math.prod(shape))):
        at = [(n, n + 1) for n in random.integers(0, shape)]
        if values[0].read(name, at).tobytes() != values[1].read(name, at).tobytes():
            return _DIFFER
    return ""
