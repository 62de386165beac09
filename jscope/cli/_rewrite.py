"""`jscope convert` and `jscope rename`: the same arrays in another format, or under other names.

Both read one array after the other and write a new checkpoint, which takes its place only when it is complete.
"""

from __future__ import annotations

import argparse
import glob
import importlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from jscope import _path, tree
from jscope._util import _text
from jscope.checkpoint import CheckpointExistsError, Reader, keras, tensorbundle
from jscope.checkpoint._blocks import Blocks
from jscope.checkpoint._conversions._conversion import raise_report
from jscope.checkpoint._conversions._reader import ConvertedReader, converted
from jscope.checkpoint._files import replacing
from jscope.checkpoint._leaves import as_array, kinds_in, with_kinds
from jscope.checkpoint._safetensors._writer import write_file
from jscope.cli import _output
from jscope.cli._contents import Item, add_options, items, keys, opened, table
from jscope.errors import InvalidArgumentError, MissingVariableError, NameConflictError

Advance: TypeAlias = Callable[[int], None]

SAFETENSORS, TENSORFLOW, ORBAX, KERAS = "safetensors", "tensorflow", "orbax", "keras"
_SUFFIXES = {
    SAFETENSORS: re.compile(r"\.safetensors$"),
    TENSORFLOW: re.compile(r"(\.ckpt(-\d+)?|\.index)$"),
    KERAS: re.compile(r"\.weights\.h5$"),
}


@dataclass(frozen=True, slots=True)
class Renaming:
    """One way to rename: a variable or scope to another, or a regular expression and what takes its place."""

    old: str
    new: str
    regex: bool = False

    def apply(self, name: str) -> str | None:
        """Returns the new name, or None where the rule does not say anything of this one.

        >>> Renaming("enc", "encoder").apply("enc/w"), Renaming("enc", "encoder").apply("encoder/w")
        ('encoder/w', None)
        """
        if self.regex:
            return self._substituted(name)
        below = _path.relative(name, self.old)
        return None if below is None else _path.join(self.new, below)

    def _substituted(self, name: str) -> str | None:
        pattern = _text.pattern(self.old, "--regex ")
        try:
            # A group that the expression lacks is only noticed when the replacement is made.
            return pattern.sub(self.new, name) if pattern.search(name) else None
        except (re.error, IndexError) as error:
            raise InvalidArgumentError(f"{self.new!r} cannot take the place of {self.old!r}: {error}.") from error

    def __str__(self) -> str:
        return f"--regex {self.old!r}" if self.regex else f"--map {self.old}={self.new}"


def add_to(commands: Any) -> None:
    """Adds both commands to the parser."""
    convert = commands.add_parser("convert", help="write the same arrays in another format")
    rename = commands.add_parser("rename", help="write the same arrays under other names")
    for parser in (convert, rename):
        parser.add_argument("source", metavar="SRC")
        parser.add_argument("target", metavar="DST")
        parser.add_argument("--to", choices=[*_WRITERS], help="the format of DST, where its suffix does not tell")
        add_options(parser)
        parser.add_argument("--force", action="store_true", help="replace what is there")
        parser.add_argument("--like", metavar="H5", help="weights that Keras wrote of the model DST is for")
        # Both commands run the same code: here is what stands for the options that one of them lacks.
        parser.set_defaults(run=run, rules=[], dry_run=False, table=None, inverse=False)
    convert.add_argument(
        "--rules", dest="table", metavar="TOML", help="a table of names and layouts; see docs/conversions.md"
    )
    convert.add_argument("--inverse", action="store_true", help="apply the table from ours to theirs")
    map_help = "a variable, or a scope and all below it; may be given several times; rules are applied in order"
    rename.add_argument("--map", dest="rules", action="append", type=_mapping, metavar="OLD=NEW", help=map_help)
    regex_help = r"what is found of a regular expression, and what takes its place (\1 is the first group)"
    rename.add_argument("--regex", dest="rules", action="append", nargs=2, metavar=("REGEX", "NEW"), help=regex_help)
    rename.add_argument("--dry-run", action="store_true", help="print old and new names, and write nothing")


def run(arguments: argparse.Namespace) -> int:
    """Writes the checkpoint."""
    to = _format(arguments.target, arguments.to)
    like = {} if arguments.like is None else {"like": arguments.like}
    if like and to != KERAS:
        raise InvalidArgumentError(f"--like is for weights of Keras, and `{arguments.target}` is to be {to}.")
    with opened(arguments.source) as reader:
        reader = reader if arguments.table is None else _converted(reader, arguments)
        found = items(reader, arguments)
        if not found:
            raise MissingVariableError(f"There is nothing to write: {arguments.select!r} does not match any name.")
        new = _renamed(
            found, [each if isinstance(each, Renaming) else Renaming(*each, regex=True) for each in arguments.rules]
        )
        if to != TENSORFLOW:
            tree.flatten(new)  # What is a prefix of another name could not be loaded again.
        if arguments.dry_run:
            _output.table(("old", "new"), [(item.name, name) for name, item in new.items() if item.name != name])
            return 0
        # Replacing a directory cannot be done at once: a kill between would leave neither.
        if to == ORBAX or not arguments.force:
            _check_nothing_there(arguments.target, to)
        with _output.progress("writing", sum(item.nbytes for item in new.values())) as advance:
            _WRITERS[to](arguments.target, reader, new, advance, **like)
    _output.note(f"wrote {_output.count(len(new), 'variable')} to {arguments.target}")
    return 0


def _converted(reader: Reader, arguments: argparse.Namespace) -> Reader:
    """Returns the checkpoint as `--rules` make it, after checking that all of it fits."""
    conversion = table(arguments.table)
    conversion = conversion.inverse if arguments.inverse else conversion
    view = converted(reader, conversion, keys(reader, arguments))
    raise_report([*view.problems, *view.unmatched], f"`{arguments.table}` does not fit `{reader.path}`:")
    for line in conversion.lossy:
        _output.note(f"cannot be taken back: {line}")
    return view


def _mapping(text: str) -> Renaming:
    old, equals, new = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form OLD=NEW")
    return Renaming(old.removesuffix(_path.SEPARATOR), new.removesuffix(_path.SEPARATOR))


def _format(target: str, to: str | None) -> str:
    """Returns the format to write, by option or by suffix."""
    formats = [name for name, pattern in _SUFFIXES.items() if pattern.search(target)]
    if to is None and not formats:
        raise InvalidArgumentError(
            f"The name `{target}` does not tell a format. Give it a suffix (`.safetensors`, `.ckpt`, "
            f"`.weights.h5`), or say `--to {SAFETENSORS}`, `--to {TENSORFLOW}` or `--to {ORBAX}`."
        )
    return to or formats[0]


def _renamed(found: Mapping[str, Item], rules: list[Renaming]) -> dict[str, Item]:
    """Returns the items by names to which all rules were applied, in order."""
    new = {name: name for name in found}
    for rule in rules:
        changed = {old: rule.apply(name) for old, name in new.items()}
        if all(name is None for name in changed.values()):
            raise MissingVariableError(f"`{rule}` does not match any name.{_text.did_you_mean(rule.old, new.values())}")
        new = {old: new[old] if name is None else name for old, name in changed.items()}
    renamed: dict[str, Item] = {}
    for old, name in new.items():
        if name in renamed:
            raise NameConflictError(f"`{renamed[name].name}` and `{old}` would both become `{name}`. Keep them apart.")
        renamed[name] = found[old]
    return renamed


def _check_nothing_there(target: str, to: str) -> None:
    """Raises where something would be replaced."""
    prefix = _prefix(target)
    # Data without an index count, too: another save may be at work on them.
    paths = [f"{prefix}.index", *glob.glob(f"{glob.escape(prefix)}.data-*-of-*")] if to == TENSORFLOW else [target]
    advice = "delete it first" if to == ORBAX else "--force to replace it"
    for path in filter(os.path.lexists, paths):
        raise CheckpointExistsError(f"`{path}` is there already. Give another name, or {advice}.")


def _prefix(target: str) -> str:
    return target.removesuffix(".index")


def _write_tensorflow(target: str, reader: Reader, new: Mapping[str, Item], advance: Advance) -> None:
    """Writes one array after the other."""
    tensorbundle.write(_prefix(target), _values(reader, new, advance))
    _note_metadata(reader, "TensorFlow")


def _write_keras(
    target: str, reader: Reader, new: Mapping[str, Item], advance: Advance, like: str | None = None
) -> None:
    """Writes one array after the other, each read only then."""

    def later(item: Item) -> Blocks:
        whole = Blocks(item.shape, item.dtype, lambda ranges: reader.get_tensor(item.key), at_once=True)
        blocks = reader.get_blocks(item.key) if isinstance(reader, ConvertedReader) else whole

        def read(ranges: Sequence[tuple[int, int]]) -> np.ndarray:
            part = blocks.read(ranges)
            advance(part.nbytes)
            return part

        return replace(blocks, read=read)

    keras.write(target, {name: later(item) for name, item in new.items()}, like=like)
    _note_metadata(reader, "Keras")


def _write_safetensors(target: str, reader: Reader, new: Mapping[str, Item], advance: Advance) -> None:
    """Writes arrays that are views of the source where the format allows, so that they take no memory."""
    # Not `safetensors.save`, which takes a tree: what comes from elsewhere may have a name that is a prefix of another.
    with replacing(Path(target)) as scratch:
        write_file(scratch, dict(_values(reader, new, advance)), _new_metadata(reader, new))


def _write_orbax(target: str, reader: Reader, new: Mapping[str, Item], advance: Advance) -> None:
    """Writes a directory; Orbax is what gives it its name when it is complete."""
    orbax = importlib.import_module("jscope.checkpoint._orbax._store")
    arrays = {name: as_array(name, reader.get_tensor(item.key)) for name, item in new.items()}
    # Orbax writes in threads of its own, and does not tell how far it is.
    advance(sum(item.nbytes for item in new.values()))
    orbax.save(Path(target), arrays, _new_metadata(reader, new)).result()


_WRITERS: Mapping[str, Callable[..., None]] = {
    SAFETENSORS: _write_safetensors,
    TENSORFLOW: _write_tensorflow,
    ORBAX: _write_orbax,
    KERAS: _write_keras,
}


def _new_metadata(reader: Reader, new: Mapping[str, Item]) -> dict[str, str]:
    """Returns the metadata to write, with the kinds of the leaves that were not arrays."""
    kinds = kinds_in(reader.metadata)
    # Kinds go by name: what was a random key is one under its new name, too.
    return with_kinds(
        _user_metadata(reader), {name: kinds[item.key] for name, item in new.items() if item.key in kinds}
    )


def _note_metadata(reader: Reader, format: str) -> None:
    if metadata := _user_metadata(reader):
        _output.note(f"left out the metadata ({', '.join(metadata)}), which {format}'s format cannot hold")


def _user_metadata(reader: Reader) -> dict[str, str]:
    """Returns what users stored beside the arrays: the rest is about the source as a whole, a step, say."""
    return {key: value for key, value in reader.metadata.items() if not key.startswith("jscope.")}


def _values(reader: Reader, new: Mapping[str, Item], advance: Advance) -> Iterator[tuple[str, Any]]:
    # One at a time, so that a checkpoint larger than memory can be converted.
    for name, item in new.items():
        yield name, reader.get_blocks(item.key) if isinstance(reader, ConvertedReader) else reader.get_tensor(item.key)
        advance(item.nbytes)
