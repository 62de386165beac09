"""`plan`: the conversion that names and shapes propose, with what they leave open."""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from jscope.checkpoint import _leaves
from jscope.checkpoint._conversions._conversion import Conversion
from jscope.checkpoint._conversions._reader import converted
from jscope.checkpoint._conversions._source import Type, type_of
from jscope.checkpoint._open import read_checkpoint
from jscope.checkpoint._planning._candidates import Candidate, candidates
from jscope.checkpoint._planning._families import Family, Name, families, labelled, together
from jscope.checkpoint._planning._grades import Graded, graded, rarities, similarity, without_containers
from jscope.checkpoint._planning._proposal import Proposal, ProposedRow, conversion_of
from jscope.checkpoint._planning._recognized import doubt, recognized
from jscope.checkpoint._planning._tries import tried
from jscope.checkpoint._planning._words import FUSED
from jscope.checkpoint._reader import Reader
from jscope.checkpoint._sources import sources
from jscope.errors import InvalidArgumentError, JscopeError

_Ways: TypeAlias = Callable[[Family, Family], tuple[Candidate, ...]]
"""What finds the candidates of a pair of families, once."""

_MOST = 1 << 12
"""The most arrays of either side that are compared one by one, where no family fits."""
_SAYING = 0.1
"""The score of names that say something."""
# No model has a partner for these, so they say nothing against the file.
_BUFFERS = ("num_batches_tracked", "position_ids", "inv_freq", "masked_bias", "global_step")


def plan(
    specs: Any,
    path: str | os.PathLike[str] | Reader,
    *,
    tables: Mapping[str, Conversion] | None = None,
    check: Callable[[Any], Any] | None = None,
    tolerance: float = 1e-4,
) -> Proposal:
    """Returns a proposal of the conversion from a checkpoint to a model, told by names and shapes, and never guessed.

    >>> import tempfile, jscope
    >>> from jscope import checkpoint
    >>> path = tempfile.mkdtemp() + "/theirs.safetensors"
    >>> theirs = {f"h.{i}.mlp.c_fc.weight": np.ones((3, 2), np.float32) for i in range(4)}
    >>> checkpoint.safetensors.save(path, theirs | {"ln_f.weight": np.ones(2, np.float32)})
    >>> def model(scope):
    ...     w = (scope / "layers" / "mlp" / "up").get_variable("kernel", (4, 2, 3))
    ...     return w.sum() + (scope / "norm").get_variable("gamma", (2,)).sum()
    >>> proposal = checkpoint.plan(jscope.specs(model), path)
    >>> [(row.grade, row.rules[0].theirs, row.rules[0].axes) for row in proposal.rows]
    [('certain', 'h.{i}.mlp.c_fc.weight', 'b a -> i a b'), ('certain', 'ln_f.weight', '')]
    >>> checkpoint.restore(jscope.specs(model), path, conversion=proposal.conversion)["norm"]["gamma"].shape
    (2,)

    A table that makes all of the model's arrays, from all of those in the file, is recognised and used as it is: one of
    `jscope.checkpoint.tables`, for models of the layers of `jscope.nn`, or one of the caller's.

    >>> model = lambda scope, x: jscope.nn.dense(scope / "head", x, 3)
    >>> checkpoint.safetensors.save(path, {"head.weight": np.ones((3, 2)), "head.bias": np.ones(3)})
    >>> [row.reason for row in checkpoint.plan(jscope.specs(model, jnp.ones((1, 2))), path).rows]
    ['`tables.pytorch` matches as a whole', '`tables.pytorch` matches as a whole']

    Only the table of contents is read, unless there is a `check`. What a name does not say cannot be told without:
    two arrays whose names were swapped, say.

    Args:
      specs: What is wanted, as for `restore`: `Specs`, or a pytree of arrays or `jax.ShapeDtypeStruct`s.
      path: A checkpoint of any format, or a reader.
      tables: Tables that the file may be of, by what to call them: those of published models, say.
      check: From params to a number: how far the model's output is from the one that it should have. Of all rows,
        the undecided ones first, it keeps the candidates with which this is the least.
      tolerance: How far it may be.

    Raises:
      CheckpointError: The checkpoint cannot be read.
      StructureMismatchError: With `check`: an array has no candidate, so there are no params to check.
    """
    known = _checked_tables(tables)
    if isinstance(path, Reader):
        return _planned(specs, path, known, check, tolerance)
    return read_checkpoint(path, lambda reader: _planned(specs, reader, known, check, tolerance))


def _checked_tables(tables: Mapping[str, Conversion] | None) -> dict[str, Conversion]:
    for name, table in (tables or {}).items():
        if not isinstance(table, Conversion):
            raise InvalidArgumentError(f"plan: `tables` has {table!r} for `{name}`, which is not a `Conversion`.")
    return dict(tables or {})


def _planned(
    like: Any,
    reader: Reader,
    tables: Mapping[str, Conversion],
    check: Callable[[Any], Any] | None,
    tolerance: float,
) -> Proposal:
    leaves = _leaves.flatten(like)
    wanted = {name: type_of(leaf) for name, leaf in leaves.items()}
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    # As `restore` sees the file: without the slots of optimizers, which look like variables.
    names = sources(reader, None, wanted.__contains__)
    source = {name: Type(tuple(shapes[old]), dtypes[old]) for name, old in names.items()}
    found, notes = recognized(like, tables, wanted, source), ()

    def distance(values: Mapping[str, Any]) -> Any:
        assert check is not None
        return check(_leaves.rebuild(like, values.__getitem__))

    if found.table is not None:
        far = math.nan if check is None else _distance(found.table, reader, names, wanted, distance)
        if check is None or far <= tolerance:
            return Proposal(found.rows, (), found.table, found.notes)
        notes = (f"{found.rows[0].reason}, but is off by {far:.3g}",)
    rows = doubt(proposed(wanted, source), found.doubted)
    if check is not None:
        rows = tried(rows, reader, names, wanted, distance, tolerance)
    return _proposal(rows, source, (*found.notes, *notes))


def _distance(
    table: Conversion,
    reader: Reader,
    names: Mapping[str, str],
    wanted: Mapping[str, Type],
    distance: Callable[[Mapping[str, Any]], Any],
) -> float:
    """Returns how far the output is with what a table makes."""
    view = converted(reader, table, names, wanted)
    return float(distance({name: view.get_tensor(name) for name in wanted}))


def proposed(wanted: Mapping[str, Type], source: Mapping[str, Type]) -> list[Graded]:
    """Returns what names and shapes say of each family of ours."""
    ours, theirs = families(wanted), families(source)
    ours, theirs = without_containers(ours, theirs), without_containers(theirs, ours)
    ways = functools.cache(lambda ours, theirs: tuple(candidates(ours, theirs)))
    # Before they are compared: what is one array of one side has one partner, and its parts none.
    ours, theirs = _as_compared(ours, theirs, ways)
    weights = rarities([*ours, *theirs])
    table = {
        number: [
            replace(each, score=similarity(family.words, other.words, weights))
            for other in theirs
            for each in ways(family, other)
        ]
        for number, family in enumerate(ours)
    }
    counted = [family for family in theirs if not family.title().endswith(_BUFFERS)]
    rows = [_checked(row, wanted, source) for row in graded(table, ours, counted)]
    # Where names say anything, so do the families that they make, also those of which nothing is known.
    is_readable = any(row.chosen is not None for row in rows)
    return [each for row in rows for each in _one_by_one(row, theirs, weights, is_readable)]


def _as_compared(ours: list[Family], theirs: list[Family], ways: _Ways) -> tuple[list[Family], list[Family]]:
    """Returns the families of both sides, fused where the other side's are, and without numbers that are labels."""
    # Of several numbers some are labels, where nothing fits. Last come those by themselves, which mostly count layers.
    for least in (3, 2, 1):
        ours, theirs = _with_fused(ours, theirs), _with_fused(theirs, ours)
        fitting = {each for pair in itertools.product(ours, theirs) if ways(*pair) for each in pair}
        ours, theirs = _without_labels(ours, fitting, least), _without_labels(theirs, fitting, least)
    return ours, theirs


def _without_labels(found: list[Family], fitting: set[Family], least: int) -> list[Family]:
    made = []
    for each in found:
        may = each not in fitting and len(each.name.forms) >= least and not each.values
        made += labelled(each, found) if may else [each]
    return made


def _with_fused(found: list[Family], others: list[Family]) -> list[Family]:
    """Returns the families of one side, with those as one that the other side has as one array."""
    apart = {(family.words.role, family.words.bag) for family in others}
    for fused in FUSED:
        whole = [family for family in others if fused in family.words.bag]
        for made in together(found, fused) if whole else ():
            parts = [each for each in found if {*made.members} & {*each.all_names()}]
            # What the other side has apart, too, is the partner of that: only the encoder's may be fused. And where no
            # shape fits, the parts may still have partners of their own.
            if any((each.words.role, each.words.bag) in apart for each in parts):
                continue
            if any(True for other in whole for _ in candidates(made, other)):
                found = [*(each for each in found if each not in parts), made]
    return found


def _checked(row: Graded, wanted: Mapping[str, Type], source: Mapping[str, Type]) -> Graded:
    """Returns a row whose rules make what they should: the last word has the conversion itself."""
    if row.chosen is None or makes(row.chosen, wanted, source):
        return row
    return replace(row, grade="undecided", reason="no rule can say it", chosen=None)


def makes(candidate: Candidate, wanted: Mapping[str, Type], source: Mapping[str, Type]) -> bool:
    """Whether the rules of a candidate make arrays of the shapes that are wanted."""
    theirs = {name: source[name] for name in candidate.theirs.all_names()}
    try:
        found = conversion_of(candidate.rules).plan(theirs, wanted)[-1]
    # What the conversion refuses is not proposed; that it was thought of is not an error of the caller's.
    except JscopeError:
        return False
    return (
        bool(found.made)
        and not found.problems
        and all(wanted[name].shape == each.shape for name, each in found.types.items())
    )


def _one_by_one(row: Graded, theirs: list[Family], weights: Mapping[str, float], is_readable: bool) -> Iterable[Graded]:
    """Yields a row, or, where names say nothing and no family fits, one for each array."""
    best = max((each.score for each in row.candidates), default=0.0)
    arrays = sum(len(family.names) for family in theirs)
    is_told = best > _SAYING or (is_readable and row.candidates)
    if is_told or row.family.values or max(arrays, len(row.family.names)) > _MOST:
        yield row
        return
    # Where names are meaningless, so are the families that they make: any array may be any other of its shape.
    others = [one for family in theirs for one in _singles(family)]
    for one in _singles(row.family):
        found = [
            replace(each, score=similarity(one.words, other.words, weights))
            for other in others
            for each in candidates(one, other)
        ]
        found.sort(key=lambda each: -each.score)
        if not found:
            yield replace(row, family=one, reason="no shape fits", candidates=())
        else:
            yield replace(row, family=one, reason=f"the names do not tell; {len(found)} fit", candidates=tuple(found))


def _singles(family: Family) -> list[Family]:
    """Returns each array of a family by itself, under the name it has."""
    return [
        replace(family, name=Name((name,), (), ()), names={(): name}, counted=(), is_all=True)
        for name in family.names.values()
    ]


def _proposal(rows: list[Graded], source: Mapping[str, Type], notes: tuple[str, ...]) -> Proposal:
    made = [_row(row) for row in rows]
    conversion = conversion_of([rule for row in made for rule in row.rules])
    return Proposal(tuple(made), tuple(name for name in source if not conversion.takes(name)), None, notes)


def _row(row: Graded) -> ProposedRow:
    return ProposedRow(
        row.family.title(),
        row.family.all_names(),
        row.grade,
        row.reason,
        row.chosen.rules if row.chosen is not None else (),
        tuple(each.rules for each in row.candidates),
    )
