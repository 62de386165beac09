"""Names with placeholders: what matches one is taken apart, and what is put together matches.

`h.{i}.w` has an index, `{i+1}` counts from one, `{i:03}` has three digits, `{i:_}` is Keras's and Haiku's: nothing,
`_1`, `_2`. `{x:s}` is one part of a name, `{path...}` one or more, whose separators are translated. Values that are
listed are what they are. `{{` and `}}` are braces. A name is taken apart only if its values give the same name again:
so an index has one spelling, and no name is lost on the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from jscope.checkpoint._errors import ConversionError

Values: TypeAlias = Mapping[str, Any]
"""What the placeholders of a name stand for: an index, a listed value, a part of a name, or a tuple of parts."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z][A-Za-z0-9_]*)(\.\.\.)?([+-][0-9]{1,6})?(?::(0[1-9]|_|s))?\}|[{}]")
_OPEN = 4
"""The most placeholders of a name that stand for any text: more could take for ever to match."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One placeholder: its name, and how what it stands for is written."""

    name: str
    many: bool = False
    offset: int = 0
    form: str = ""
    listed: tuple[str, ...] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it stands for any text."""
        return self.many or self.form == "s"

    @property
    def kind(self) -> str:
        """What it stands for, which both names must agree on."""
        return (
            "values" if self.listed is not None else "parts" if self.many else "part" if self.form == "s" else "index"
        )

    def pattern(self, inner: str) -> str:
        """Returns the regular expression for its texts."""
        if self.listed is not None:
            return "|".join(sorted(map(re.escape, self.listed), key=len, reverse=True))
        if self.many:
            return f"{inner}(?:SEPARATOR{inner})*"
        # As many digits as 64 bits hold: what is longer is a hash, and counts nothing.
        return {"": "[0-9]{1,18}", "_": "|_[1-9][0-9]{0,17}", "s": inner}.get(self.form, "[0-9]{1,18}")

    def read(self, text: str, separator: str) -> Any:
        """Returns what a text stands for."""
        if self.many:
            return tuple(text.split(separator))
        if self.listed is not None or self.form == "s":
            return text
        return int(text.lstrip("_") or "0") - self.offset

    def write(self, value: Any, separator: str) -> str:
        """Returns the text of a value."""
        if self.many:
            return separator.join(value)
        if self.listed is not None or self.form == "s":
            return str(value)
        number = value + self.offset
        if self.form == "_":
            return f"_{number}" if number else ""
        return f"{number:{self.form}}"


@dataclass(frozen=True)
class Template:
    """A name with placeholders.

    >>> template = Template("h.{i+1}.{part}", {"part": ("q", "k")}, ".", "/")
    >>> template.match("h.3.q"), template.match("h.03.q"), template.fill({"i": 0, "part": "k"})
    ({'i': 2, 'part': 'q'}, None, 'h.1.k')
    """

    text: str
    listed: Mapping[str, tuple[str, ...]]
    separator: str
    other: str
    parts: tuple[str | Placeholder, ...] = field(init=False)
    prefix: str = field(init=False)
    regex: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        if not self.text or not self.text.isprintable():
            raise ConversionError(f"{self.text!r} is not a name: it must be printable, and not empty.")
        parts = tuple(_parts(self.text, self.listed))
        object.__setattr__(self, "parts", parts)
        # Compared before the expression is, which takes longer: most names are told apart by how they begin.
        object.__setattr__(self, "prefix", parts[0] if isinstance(parts[0], str) else "")
        # In no part of a name is there a separator of either side: it would be another name on the way back.
        inner = f"[^{re.escape(self.separator)}{re.escape(self.other)}]+"
        text = "".join(
            re.escape(each) if isinstance(each, str) else f"(?P<{each.name}>{each.pattern(inner)})" for each in parts
        )
        object.__setattr__(self, "regex", re.compile(text.replace("SEPARATOR", re.escape(self.separator))))

    @property
    def placeholders(self) -> dict[str, Placeholder]:
        """The placeholders by name, in their order."""
        return {each.name: each for each in self.parts if isinstance(each, Placeholder)}

    def match(self, name: str) -> dict[str, Any] | None:
        """Returns what the placeholders stand for in a name, or None where it does not match."""
        if not name.startswith(self.prefix) or (found := self.regex.fullmatch(name)) is None:
            return None
        values = {key: each.read(found[key], self.separator) for key, each in self.placeholders.items()}
        # `h.0` is not of `h.{i+1}`; and `h.03` is not of `h.{i}`, which would write `h.3` in its place.
        negative = any(isinstance(value, int) and value < 0 for value in values.values())
        return None if negative or self.fill(values) != name else values

    def fill(self, values: Values) -> str:
        """Returns the name that has these values."""
        return "".join(
            each if isinstance(each, str) else each.write(values[each.name], self.separator) for each in self.parts
        )


def _parts(text: str, listed: Mapping[str, tuple[str, ...]]) -> list[str | Placeholder]:
    """Returns the texts and placeholders of a name."""
    parts: list[str | Placeholder] = []
    at = 0
    for found in _PLACEHOLDER.finditer(text):
        _add_text(parts, text[at : found.start()])
        at = found.end()
        if found[1] is not None:
            _add_placeholder(parts, text, _placeholder(text, found, listed))
        elif len(found[0]) == 2:
            _add_text(parts, found[0][0])
        else:
            raise ConversionError(
                f"`{text}` has a `{found[0]}` that does not belong to a placeholder such as `{{i}}`, `{{i+1}}`, "
                "`{i:02}`, `{i:_}`, `{x:s}` or `{path...}`.\nWrite a brace that is meant as such twice."
            )
    _add_text(parts, text[at:])
    if sum(isinstance(each, Placeholder) and each.is_open for each in parts) > _OPEN:
        raise ConversionError(
            f"`{text}` has more than {_OPEN} placeholders that stand for any text. List their values."
        )
    return parts


def _placeholder(text: str, found: re.Match[str], listed: Mapping[str, tuple[str, ...]]) -> Placeholder:
    name, values = found[1], listed.get(found[1])
    made = Placeholder(name, bool(found[2]), int(found[3] or 0), found[4] or "", values)
    if (values is not None or made.is_open) and made.form not in (
        ("s",) if values is None and not made.many else ("",)
    ):
        raise ConversionError(f"`{found[0]}` in `{text}`: only an index has a format; this has values, or parts.")
    if made.offset and (values is not None or made.is_open):
        raise ConversionError(f"`{found[0]}` in `{text}`: only an index has an offset.")
    return made


def _add_text(parts: list[str | Placeholder], text: str) -> None:
    if text and parts and isinstance(parts[-1], str):
        parts[-1] += text
    elif text:
        parts.append(text)


def _add_placeholder(parts: list[str | Placeholder], text: str, made: Placeholder) -> None:
    before = parts[-1] if parts else ""
    if isinstance(before, Placeholder):
        raise ConversionError(
            f"`{text}`: {{{before.name}}} and {{{made.name}}} touch, so no name tells where one ends.\nPut something "
            "between them, or make them one placeholder with the values listed in `where`."
        )
    if any(isinstance(each, Placeholder) and each.name == made.name for each in parts):
        raise ConversionError(f"`{text}` has {{{made.name}}} twice. Give the second another name.")
    parts.append(made)
