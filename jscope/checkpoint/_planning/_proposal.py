"""A proposal: which rules take the arrays of a file to those of a model, each with how certain it is, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jscope._util import _show
from jscope.checkpoint._conversions._conversion import Conversion
from jscope.checkpoint._conversions._rule import Rule

_LISTED = 8
"""The most candidates that are printed; a row has them all."""


@dataclass(frozen=True)
class ProposedRow:
    """Some arrays of ours, all of one kind, and what is proposed for them.

    >>> row = ProposedRow("a", ("a",), "likely", "the only one of its shape", (Rule("a", "b"),), candidates=())
    >>> row.grade, row.rules[0].theirs
    ('likely', 'b')

    Attributes:
      ours: Their name, with `{}` for numbers that differ.
      names: Their names.
      grade: How certain it is.
      reason: Why.
      rules: What is proposed; nothing where it is undecided.
      candidates: What could be, the nearest first, each as the rules that it would take.
    """

    ours: str
    names: tuple[str, ...]
    grade: Literal["certain", "likely", "undecided"]
    reason: str
    rules: tuple[Rule, ...]
    candidates: tuple[tuple[Rule, ...], ...]


@dataclass(frozen=True)
class Proposal:
    """What `plan` returns: a table that is proposed, row by row.

    >>> proposal = Proposal((), unused=("step",))
    >>> print(proposal)
    grade    ours   theirs   axes   reason
    unused          step
    >>> proposal.is_decided
    True

    Attributes:
      rows: The rows, in the order of the model.
      unused: The arrays of theirs that no row uses.
      recognized: The table that matches as a whole, of which the rows are; None where each row was told by its names.
      notes: What else is to be known: of tables that match in part, or of several that match.
    """

    rows: tuple[ProposedRow, ...]
    unused: tuple[str, ...]
    recognized: Conversion | None = None
    notes: tuple[str, ...] = ()

    @property
    def conversion(self) -> Conversion:
        """The conversion of all rows that are certain or likely."""
        if self.recognized is not None:
            return self.recognized
        return conversion_of([rule for row in self.rows for rule in row.rules])

    @property
    def is_decided(self) -> bool:
        """Whether no row is undecided."""
        return all(row.rules for row in self.rows)

    def table(self) -> list[tuple[str, ...]]:
        """Returns the rows of the table that is printed: grade, ours, theirs, axes and reason."""
        lines: list[tuple[str, ...]] = []
        for row in self.rows:
            lines += [(row.grade, each.ours, each.theirs, each.axes, row.reason) for each in row.rules]
            if not row.rules:
                lines.append((row.grade, row.ours, "", "", row.reason))
                listed = _alike(row.candidates)[:_LISTED]
                lines += [("", "", f"{each[0][0].theirs} ?", each[0][0].axes, _sizes(each)) for each in listed]
                more = len(row.candidates) - sum(map(len, listed))
                lines += [("", "", f"and {more} more", "", "")] * (more > 0)
        lines += [("unused", "", name, "", "") for name in self.unused]
        return lines + [("note", "", "", "", text) for text in self.notes]

    def __str__(self) -> str:
        """Returns the table."""
        return _show.table(("grade", "ours", "theirs", "axes", "reason"), self.table())

    def to_toml(self) -> str:
        """Returns the conversion as TOML, with grades and reasons as comments, and what is undecided commented out."""
        notes = [f"# {_line(text)}" for text in self.notes]
        if self.recognized is not None:
            # Whose steps and constants no row has.
            rows = dict.fromkeys(f"# {row.grade}: {_line(row.reason)}" for row in self.rows)
            return "\n".join([*rows, *notes, "", self.recognized.to_toml()])
        # The writer has an empty line before each rule and none within one; `zip` is strict, and would notice a change.
        header, *blocks = self.conversion.to_toml().rstrip().split("\n\n")
        reasons = {rule: f"# {row.grade}: {row.reason}" for row in self.rows for rule in row.rules}
        rules = self.conversion.rules
        text = [header] + [f"{reasons[rule]}\n{block}" for rule, block in zip(rules, blocks, strict=True)]
        for row in self.rows:
            if not row.rules:
                # Printed as well, so that who completes the table sees what there is to choose from.
                text.append(f"# undecided: {_line(row.ours)}, {row.reason}")
                text += [_commented(each) for each in _alike(row.candidates)[:_LISTED]]
        if self.unused:
            text.append(
                "\n".join(["# unused; what is not wanted goes to `drop`:", *(f"#   {_line(n)}" for n in self.unused)])
            )
        return "\n\n".join([*text, *notes]) + "\n"


def conversion_of(rules: Sequence[Rule]) -> Conversion:
    """Returns the conversion of some rules, each once."""
    return Conversion(tuple(dict.fromkeys(rules)))


def _line(name: str) -> str:
    """Returns a name on one line: a comment ends where the line does."""
    return name if name.isprintable() else ascii(name)


def _alike(candidates: Sequence[Sequence[Rule]]) -> list[list[Sequence[Rule]]]:
    """Returns candidates, those together that differ in sizes only: in how many heads there are, say."""
    found: dict[Any, list[Sequence[Rule]]] = {}
    for rules in candidates:
        found.setdefault(tuple((rule.theirs, rule.axes) for rule in rules), []).append(rules)
    return list(found.values())


def _sizes(alike: Sequence[Sequence[Rule]]) -> str:
    """Returns the sizes in which candidates differ."""
    wheres = [rules[0].where for rules in alike]
    names = [name for name, size in wheres[0].items() if any(each[name] != size for each in wheres)]
    texts = [" ".join(f"{name}={each[name]}" for name in names) for each in wheres if names]
    return ", or ".join([*texts[:_LISTED], *["others"] * (len(texts) > _LISTED)])


def _commented(alike: Sequence[Sequence[Rule]]) -> str:
    _, *blocks = Conversion(alike[0][:1]).to_toml().rstrip().split("\n\n")
    lines = [*"\n\n".join(blocks).splitlines(), *[f"# {sizes}" for sizes in [_sizes(alike)] if sizes]]
    return "\n".join(f"# {line}" for line in lines)
