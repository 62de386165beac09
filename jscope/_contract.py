"""Specs are a contract: what a model's variables are is written to a file, and a change of it does not go unnoticed.

    old specs, new specs --compare--> what differs, which checkpoints load, how to convert the others, what starts anew

A checkpoint loads where names and shapes are the same, and dtypes as well, unless `restore` is told to cast. A variable
starts with the same value where path, shape, dtype, stacked axes and initializer are. So both follow from the specs.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from jscope import _json, _path
from jscope._check import differences
from jscope._spec import VariableSpec
from jscope._specs import Specs
from jscope._types import Shape
from jscope._util import _text

_FIELDS = ("trainable", "initializer", "regularizer", "constraint", "axes", "collections", "stack")
_STARTS = ("shape", "dtype", "stack", "initializer")


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between the specs in a contract and those of a model. False if nothing does.

    Attributes:
      missing: Paths that only the contract has.
      new: Paths that only the model has.
      changed: For each path that both have and that is not the same, what it was and what it is, by field.
      unfit: What keeps a checkpoint of the contract from loading into the model, a line each.
      renamed: Old and new names, of scopes where all below has moved together: a draft.
      undecided: New paths that could be one of several old ones, with these.
      restarted: Paths of the model that have another initial value than before, or are new.
    """

    missing: tuple[str, ...]
    new: tuple[str, ...]
    changed: dict[str, dict[str, tuple[str, str]]]
    unfit: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    undecided: dict[str, tuple[str, ...]]
    restarted: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.new or self.changed)

    def __str__(self) -> str:
        if not self:
            return "No difference."
        lines = ["Variables:"]
        lines += [f"  gone:    `{path}`" for path in self.missing] + [f"  new:     `{path}`" for path in self.new]
        for path, fields in self.changed.items():
            told = ", ".join(f"{field} {old} -> {new}" for field, (old, new) in fields.items())
            lines.append(f"  changed: `{path}`: {told}")
        lines += self._about_checkpoints()
        lines += ["Initial values of these change:" if self.restarted else "No initial value changes."]
        return "\n".join([*lines, *(f"  `{path}`" for path in self.restarted)])

    def _about_checkpoints(self) -> list[str]:
        cast = any("dtype" in fields for fields in self.changed.values())
        casting = ["Dtypes differ: `restore(..., cast=True)` converts, where the new ones can hold the values."] * cast
        if not self.unfit:
            return casting or ["Checkpoints still load."]
        lines = ["Checkpoints need a conversion:", *self.unfit, *casting]
        if self.renamed:
            # For a shell: a name may have a space in it, or a `$`.
            rules = " ".join(f"--map {shlex.quote(f'{old}={new}')}" for old, new in self.renamed)
            lines += ["A draft of it, to be checked:", f"  python -m jscope rename OLD NEW {rules}"]
        lines += [
            f"  `{new}` may be {' or '.join(f'`{path}`' for path in old)}." for new, old in self.undecided.items()
        ]
        return lines


def compare_specs(old: Specs, new: Specs) -> Changes:
    """Returns what differs between the specs of a contract and those of a model."""
    was, now = old.flat(), new.flat()
    missing, added = (sorted(path for path in a if path not in b) for a, b in ((was, now), (now, was)))
    changed = {path: fields for path in now if path in was and (fields := _changes(was[path], now[path]))}
    arrays = {path: spec.shape_dtype() for path, spec in was.items()}
    # Another dtype is not a matter of names and layouts, which a conversion changes: `restore` casts if it is told to.
    unfit = [line for line in differences(now, arrays) if not line.startswith("  dtype:")]
    # A param that has become state is looked for in another tree.
    unfit += [f"  kind:       `{path}` was {was[path].kind}" for path in changed if "trainable" in changed[path]]
    pairs, undecided = _matched({path: was[path] for path in missing}, {path: now[path] for path in added})
    restarted = [path for path in now if path not in was or any(field in changed.get(path, {}) for field in _STARTS)]
    return Changes(
        tuple(missing),
        tuple(added),
        changed,
        tuple(unfit),
        _by_scope(pairs, was, now),
        undecided,
        tuple(sorted(restarted)),
    )


def _changes(old: VariableSpec, new: VariableSpec) -> dict[str, tuple[str, str]]:
    fields = {"shape": (list(old.shape), list(new.shape)), "dtype": (str(old.dtype), str(new.dtype))}
    fields |= {name: (_shown(old, name), _shown(new, name)) for name in _FIELDS}
    return {name: (str(a), str(b)) for name, (a, b) in fields.items() if a != b}


def _shown(spec: VariableSpec, name: str) -> str:
    value = getattr(spec, name)
    if name in ("initializer", "regularizer", "constraint") and value is not None:
        # What was read from JSON is a name already.
        return _json.stable_name_of(value)
    return spec.kind if name == "trainable" else str(value)


def _matched(
    old: Mapping[str, VariableSpec], new: Mapping[str, VariableSpec]
) -> tuple[list[tuple[str, str]], dict[str, tuple[str, ...]]]:
    """Returns the pairs of an old and a new path that belong together, and those of which this is not sure."""
    # Not `checkpoint.plan`, which goes by words that libraries share: to it, `hidden` and `first` are strangers. Of two
    # versions of one model, the ends of names are what stays.
    pairs, undecided, left = [], {}, dict(old)
    for path, spec in new.items():
        alike = [each for each in left if _form(left[each]) == _form(spec)]
        # The more of the end of the path is the same, the surer: `kernel` is a kernel still.
        best = max((_common_end(each, path) for each in alike), default=0)
        closest = [each for each in alike if _common_end(each, path) == best]
        if len(closest) > 1:
            closest = _text.nearest(path, closest, count=1) or closest
        if len(closest) == 1 and (best or len(alike) == 1):
            pairs.append((closest[0], path))
            del left[closest[0]]
        elif alike:
            undecided[path] = tuple(alike)
    return pairs, undecided


def _form(spec: VariableSpec) -> tuple[Shape, bool]:
    return spec.shape, spec.trainable


def _common_end(a: str, b: str) -> int:
    """Counts the parts that two paths have in common at their ends."""
    count = 0
    for x, y in zip(reversed(_path.parts(a)), reversed(_path.parts(b)), strict=False):
        if x != y:
            break
        count += 1
    return count


def _by_scope(
    pairs: list[tuple[str, str]], was: Mapping[str, VariableSpec], now: Mapping[str, VariableSpec]
) -> tuple[tuple[str, str], ...]:
    """Returns pairs of names, of scopes where all that was below the old one is below the new one now."""
    rules: dict[tuple[str, str], None] = {}
    for old, new in pairs:
        count = _common_end(old, new)
        scopes = tuple(_path.join(*_path.parts(path)[: len(_path.parts(path)) - count]) for path in (old, new))
        rules[_whole(scopes[0], scopes[1], pairs, was) or (old, new)] = None
    return tuple(rules)


def _whole(old: str, new: str, pairs: list[tuple[str, str]], was: Mapping[str, VariableSpec]) -> tuple[str, str] | None:
    """Returns the rule for a scope, if it says of every variable below what the pairs say."""
    known = dict(pairs)
    below = {path: _path.relative(path, old) for path in was if old and _path.relative(path, old)}
    moved = all(known.get(path) == _path.join(new, name or "") for path, name in below.items())
    return (old, new) if old and new and below and moved else None
