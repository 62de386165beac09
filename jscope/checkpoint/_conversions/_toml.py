"""Conversions as TOML: `tomllib` reads, and what is written is a part of TOML that needs no library.

    separators = ["/", "."]
    drop = ["h.{i}.attn.bias"]

    [[rule]]
    ours = "layers/{norm}/gamma"
    theirs = "h.{i}.{norm}.weight"
    axes = "d -> i d"
    where = {norm = {attention_norm = "ln_1", mlp_norm = "ln_2"}}

    [[constant]]
    name = "position_ids"
    value = "range"

What follows (`Conversion.then`) is a table `then` of the same form.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from jscope._util import _text
from jscope.checkpoint._errors import ConversionError

_LISTS = ("separators", "drop", "dropped")
_TABLES = {"rule": "rules", "constant": "constants", "added": "added"}
_THEN = "then"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def step_of(conversion: Any) -> dict[str, Any]:
    """Returns the fields of a conversion that are written."""
    fields = {name: list(getattr(conversion, name)) for name in _LISTS}
    return fields | {key: [_row(each) for each in getattr(conversion, name)] for key, name in _TABLES.items()}


def encoded(steps: Sequence[Mapping[str, Any]]) -> str:
    """Returns conversions that follow each other as TOML."""
    lines: list[str] = []
    for depth, step in enumerate(steps):
        at = ".".join([_THEN] * depth)
        lines += [f"[{at}]"] * bool(at)
        lines += [f"{name} = {_value(step[name])}" for name in _LISTS if step[name]]
        for key in _TABLES:
            for row in step[key]:
                lines += ["", f"[[{at}.{key}]]" if at else f"[[{key}]]"]
                lines += [f"{name} = {_value(value)}" for name, value in row.items()]
        lines.append("")
    return "\n".join(lines)


def decoded(text: str, kinds: Mapping[str, type]) -> list[dict[str, Any]]:
    """Returns the arguments of each conversion in some TOML; `kinds` are the classes of its tables.

    Raises:
      ConversionError: It is not TOML, or not that of a conversion.
    """
    try:
        table = tomllib.loads(text)
    # Brackets in brackets exhaust Python's stack before they are an error of TOML: a table may come from an enemy.
    except (tomllib.TOMLDecodeError, RecursionError, TypeError, ValueError) as error:
        raise ConversionError(
            f"The table is not TOML: {error}. (A key that is there twice is an error, too.)"
        ) from error
    steps: list[dict[str, Any]] = []
    # Steps are nested, since TOML has no order between tables of different names.
    following: Any = table
    while following is not None:
        if not isinstance(following, dict):
            raise ConversionError(f"`{_THEN}` must be a table of what follows, not {following!r}.")
        _check_keys(following, [*_LISTS, *_TABLES, _THEN], "The table")
        step: dict[str, Any] = {name: following[name] for name in _LISTS if name in following}
        for key, name in _TABLES.items():
            rows = following.get(key, [])
            if not isinstance(rows, list):
                raise ConversionError(f"`{key}` must be tables, each begun by `[[{key}]]`, not {rows!r}.")
            step[name] = [_made(key, kinds[key], row) for row in rows]
        steps.append(step)
        following = following.get(_THEN)
    return steps


def _made(key: str, kind: type, row: Any) -> Any:
    """Returns a rule or constant from its row."""
    if not isinstance(row, dict):
        raise ConversionError(f"`{key}` must be tables, each begun by `[[{key}]]`, not {row!r}.")
    fields = {each.name: each for each in dataclasses.fields(kind)}
    which = row.get("ours", row.get("name"))
    where = f"`[[{key}]]`" + (f" of `{which}`" if which else "")
    _check_keys(row, list(fields), where)
    needed = [each.name for each in fields.values() if each.default is each.default_factory is dataclasses.MISSING]
    if lacking := [name for name in needed if name not in row]:
        raise ConversionError(f"{where} lacks `{lacking[0]}`; it has {', '.join(row) or 'nothing'}.")
    return kind(**row)


def _check_keys(row: Mapping[str, Any], known: list[str], where: str) -> None:
    for key in row:
        if key not in known:
            near = _text.did_you_mean(key, known) or f" There are {', '.join(known)}."
            raise ConversionError(f"{where} has the key `{key}`, which means nothing.{near}")


def _row(each: Any) -> dict[str, Any]:
    """Returns the fields of a rule or constant that say something."""
    row = {}
    for item in dataclasses.fields(each):
        value = getattr(each, item.name)
        default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
        if value != default:
            row[item.name] = value
    return row


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, float):
        return repr(value)  # As TOML has it: also `inf` and `nan`.
    # All strings here are printable, and what JSON has of those TOML has, too.
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)
