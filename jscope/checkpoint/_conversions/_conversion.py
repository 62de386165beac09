"""A conversion is a value: rules, and what only one side has. It is inverted, composed, compared and written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import jax
import numpy as np

from jscope import _path
from jscope._check import differences
from jscope._spec import VariableSpec
from jscope._util import _show
from jscope.checkpoint._blocks import Blocks
from jscope.checkpoint._conversions import _toml
from jscope.checkpoint._conversions._beside import Constant, MadeConstant
from jscope.checkpoint._conversions._bound import Bound
from jscope.checkpoint._conversions._made import Made
from jscope.checkpoint._conversions._names import Template
from jscope.checkpoint._conversions._plan import Plan, Table, planned
from jscope.checkpoint._conversions._rule import INVERSE, Function, Rule
from jscope.checkpoint._conversions._source import Source, Type, from_arrays, whole
from jscope.checkpoint._conversions._traced import traced
from jscope.checkpoint._errors import ConversionError
from jscope.checkpoint._reader import Reader
from jscope.errors import StructureMismatchError


@dataclass(frozen=True)
class Conversion:
    """A table that takes arrays from one naming and layout to another, and back.

    >>> from jscope.checkpoint import Conversion, Rule
    >>> table = Conversion(
    ...     [
    ...         Rule("layers/w", "h.{i}.weight", "o d -> i d o"),
    ...         Rule("norm/gamma", "ln_f.weight"),
    ...     ],
    ...     drop=["h.{i}.mask"],
    ... )
    >>> theirs = {f"h.{i}.weight": np.ones((3, 2)) for i in range(4)} | {"ln_f.weight": np.ones(2)}
    >>> params = jscope.tree.convert(theirs, table)
    >>> params["layers"]["w"].shape
    (4, 2, 3)
    >>> sorted(jscope.tree.convert(params, table.inverse)) == sorted(theirs)
    True
    >>> print(table)
    ours         theirs         axes             notes
    layers/w     h.{i}.weight   o d -> i d o
    norm/gamma   ln_f.weight
                 h.{i}.mask                      dropped

    A conversion goes from theirs to ours; its `inverse` goes back.

    Attributes:
      rules: The rules.
      drop: Names of theirs that are not wanted, and do not come back.
      constants: What theirs has and ours has not; the inverse makes them.
      dropped: Names of ours that theirs has not, and that do not come back: `drop`, seen from the other side.
      added: What ours has and theirs has not: `constants`, seen from the other side.
      separators: What stands between the parts of our names, and of theirs.
      functions: The functions that rules name.
      following: A conversion that goes on with what this one makes; see `then`.

    Raises:
      ConversionError: A rule contradicts itself, or names a function that is not given.
    """

    rules: Sequence[Rule]
    drop: Sequence[str] = field(default=(), kw_only=True)
    constants: Sequence[Constant] = field(default=(), kw_only=True)
    dropped: Sequence[str] = field(default=(), kw_only=True)
    added: Sequence[Constant] = field(default=(), kw_only=True)
    separators: Sequence[str] = field(default=(_path.SEPARATOR, "."), kw_only=True)
    functions: Mapping[str, Function] = field(default_factory=dict, kw_only=True)
    following: Conversion | None = field(default=None, kw_only=True)
    _table: Table = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("rules", "drop", "dropped", "constants", "added", "separators"):
            value = getattr(self, name)
            # A string is a sequence of strings, too: `drop="mask"` would be four names.
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise ConversionError(f"`{name}` of a conversion must be a list, not {value!r}.")
            object.__setattr__(self, name, tuple(value))
        object.__setattr__(self, "functions", dict(self.functions))
        ours, theirs = self._checked_separators()
        rules = self.rules
        for rule in rules:
            name = rule.function.removesuffix(INVERSE)
            if name and name not in self.functions:
                raise rule.error(
                    f"the function `{name}` is not among {sorted(self.functions)}: pass `functions={{'{name}': "
                    "Function(...)}`; a table does not import code"
                )
        for constant in self.constants:
            constant.check((theirs, ours))
        for constant in self.added:
            constant.check((ours, theirs))
        ignored = [Template(name, {}, theirs, ours) for name in self.drop]
        # On the way to ours, a constant is left out as what is dropped is; only the inverse knows them apart.
        ignored += [constant.template((theirs, ours)) for constant in self.constants]
        # Only to be checked, now and not when somebody inverts it: here nothing looks for these names.
        for name in self.dropped:
            Template(name, {}, ours, theirs)
        bounds = tuple(Bound(rule, (ours, theirs)) for rule in rules)
        table = Table(bounds, (ours, theirs), tuple(ignored), tuple(self.added), self.functions)
        object.__setattr__(self, "_table", table)

    def __hash__(self) -> int:
        # Dicts have no hash. Conversions that differ in functions only are rare, and still not equal.
        return hash((self.rules, self.separators, self.following))

    def __str__(self) -> str:
        """Returns the table."""
        rows = [(rule.ours, rule.theirs, rule.axes, ", ".join(_notes(rule, self))) for rule in self.rules]
        rows += [("", name, "", "dropped") for name in self.drop] + [(name, "", "", "dropped") for name in self.dropped]
        rows += [("", each.name, "", f"constant {each.value}") for each in self.constants]
        rows += [(each.name, "", "", f"constant {each.value}") for each in self.added]
        text = _show.table(("ours", "theirs", "axes", "notes"), rows)
        return text if self.following is None else f"{text}\n\nthen\n\n{self.following}"

    @property
    def inverse(self) -> Conversion:
        """The conversion from ours to theirs."""
        steps = [
            replace(
                step,
                rules=tuple(rule.inverse for rule in step.rules),
                drop=step.dropped,
                constants=step.added,
                dropped=step.drop,
                added=step.constants,
                separators=tuple(step.separators[::-1]),
                following=None,
            )
            for step in self._steps()
        ]
        return _linked(steps[::-1])

    def then(self, following: Conversion) -> Conversion:
        """Returns the conversion that does this one, and then another with what it makes.

        >>> first, second = Conversion([Rule("b", "a")]), Conversion([Rule("c/w", "b")])
        >>> jscope.tree.convert({"a": np.ones(1)}, first.then(second))
        {'c': {'w': array([1.])}}
        """
        return _linked([*self._steps(), *following._steps()])

    @property
    def lossy(self) -> list[str]:
        """What cannot be taken back bit for bit, and why; of an inverse, what it does not give back."""
        lines = []
        for step in self._steps():
            for rule in step.rules:
                function = step.functions.get(rule.function.removesuffix(INVERSE))
                why = [rule.lossy] * bool(rule.lossy)
                why += [f"`{rule.function}` is lossy"] * bool(function and function.lossy)
                lines += [f"`{rule.ours}` from `{rule.theirs}`: {each}" for each in why]
            lines += [f"`{name}` is dropped" for name in step.drop]
        return lines

    def check(self, specs: Mapping[str, Any], source: Mapping[str, Any] | Reader) -> None:
        """Raises one report of everything that does not fit, if there is anything; no array is read.

        Args:
          specs: What is wanted: `Specs`, or a dict of arrays or `jax.ShapeDtypeStruct`s by flat names.
          source: Arrays by flat names (anything that has shape and dtype), or an open checkpoint.

        Raises:
          StructureMismatchError: With the report.
        """
        if isinstance(source, Reader):
            shapes, dtypes = source.get_variable_to_shape_map(), source.get_variable_to_dtype_map()
            # The table of contents is enough: a check must cost nothing, however large the file is.
            source = {name: Type(tuple(shape), dtypes[name]) for name, shape in shapes.items()}
        plan = self.plan(source, specs)[-1]
        wanted: dict[str, Any] = {name: jax.ShapeDtypeStruct(each.shape, each.dtype) for name, each in specs.items()}
        made = {name: jax.ShapeDtypeStruct(each.shape, each.dtype) for name, each in plan.types.items()}
        raise_report([*plan.problems, *plan.unmatched, *differences(wanted, made)])

    def plan(self, source: Mapping[str, Any], wanted: Mapping[str, Any] | None = None) -> list[Plan]:
        """Returns the plan of each step; the last one has the lines of all that does not fit."""
        plans, lines, steps = [], Plan(), self._steps()
        for i, step in enumerate(steps):
            # Only the last makes what is wanted; of what the others make, the next one says what it has no use for.
            plan = planned(step._table, source, wanted if i + 1 == len(steps) else None)
            plans.append(plan)
            lines.problems += plan.problems
            lines.unmatched += plan.unmatched
            source = plan.types
        # Callers look at the last plan for what is made; the lines of the steps before must not get lost.
        plans[-1] = replace(plans[-1], problems=lines.problems, unmatched=lines.unmatched)
        return plans

    def arrays(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what is made of arrays in memory, by flat names: `jscope.tree.convert` for trees.

        Raises:
          StructureMismatchError: With one report of everything that does not fit.
        """
        for plan in fitting(self, arrays):
            arrays = {name: _in_memory(made, arrays) for name, made in plan.made.items()}
        return dict(arrays)

    def blocks(self, arrays: Mapping[str, Any], kinds: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        """Returns what is made of arrays in memory, as `Blocks` that are made when they are written, and their kinds.

        Raises:
          StructureMismatchError: With one report of everything that does not fit.
        """
        plans = fitting(self, arrays)
        # Nothing is converted yet: the writer asks for one block after the other, so the model is never there twice.
        source = chained(from_arrays(arrays), plans)
        return {name: as_blocks(source, name) for name in source.types}, kinds_after(plans, kinds)

    def specs(self, specs: Mapping[str, VariableSpec]) -> dict[str, VariableSpec]:
        """Returns the specs of what is made of variables: `Specs.convert`.

        Raises:
          StructureMismatchError: With one report of everything that does not fit.
        """
        for plan in fitting(self, specs):
            specs = {name: _spec(name, made, specs) for name, made in plan.made.items()}
        return dict(specs)

    def takes(self, name: str) -> bool:
        """Whether a rule, or what is dropped, has a name of theirs."""
        return any(bound.theirs.match(name) is not None for bound in self._table.bounds) or any(
            each.match(name) is not None for each in self._table.drop
        )

    def to_toml(self) -> str:
        """Returns the conversion as TOML, without its functions: `from_toml` is the inverse."""
        return _toml.encoded([_toml.step_of(step) for step in self._steps()])

    @classmethod
    def from_toml(cls, text: str, *, functions: Mapping[str, Function] | None = None) -> Self:
        """Returns the conversion that TOML tells.

        >>> text = '''
        ... separators = ["/", "."]
        ... drop = ["h.{i}.mask"]
        ... [[rule]]
        ... ours = "layers/w"
        ... theirs = "h.{i}.weight"
        ... axes = "o d -> i d o"
        ... '''
        >>> Conversion.from_toml(text).rules[0].theirs
        'h.{i}.weight'

        Raises:
          ConversionError: It is not TOML, has a key that is not known or twice, or a rule that contradicts itself.
        """
        rules = {"rule": Rule, "constant": Constant, "added": Constant}
        # All steps are made by `cls`, which the type of `_linked` does not tell.
        return _linked([cls(**step, functions=functions or {}) for step in _toml.decoded(text, rules)])  # pyright: ignore[reportReturnType]

    def _steps(self) -> list[Conversion]:
        return [replace(self, following=None), *(self.following._steps() if self.following else [])]

    def _checked_separators(self) -> tuple[str, str]:
        if len(self.separators) != 2 or not all(isinstance(each, str) and each for each in self.separators):
            raise ConversionError(f"`separators` must be two texts, of ours and of theirs, not {self.separators!r}.")
        return self.separators[0], self.separators[1]


@dataclass(frozen=True)
class Converted:
    """What a plan makes of a source, as a source."""

    source: Source
    plan: Plan
    types: Mapping[str, Type]

    def read(self, name: str, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        """Returns a region of an array of ours."""
        return self.plan.made[name].read(self.source, ranges)

    def is_whole(self, name: str) -> bool:
        """Whether a function makes this array, which would do all its work again for each region."""
        made = self.plan.made[name]
        return isinstance(made, Made) and made.function is not None


def chained(source: Any, plans: Sequence[Plan]) -> Converted:
    """Returns what all plans make, one after the other."""
    for plan in plans:
        source = Converted(source, plan, plan.types)
    return source


def kinds_after(plans: Sequence[Plan], kinds: Mapping[str, str]) -> dict[str, str]:
    """Returns the kinds of what is made: what is only renamed is still a random key, say."""
    for plan in plans if kinds else ():
        found = {
            # Half of a random key's data, or these in another order, is no key.
            name: kinds.get(made.pieces[0].name)
            for name, made in plan.made.items()
            if not isinstance(made, MadeConstant) and made.is_as_it_was
        }
        kinds = {name: kind for name, kind in found.items() if kind is not None}
    return dict(kinds)


def as_blocks(source: Converted, name: str) -> Blocks:
    """Returns an array of a source as blocks."""
    each = source.types[name]
    return Blocks(each.shape, np.dtype(each.dtype), lambda ranges: source.read(name, ranges), source.is_whole(name))


def fitting(conversion: Conversion, source: Mapping[str, Any]) -> list[Plan]:
    """Returns the plan of each step, or raises the report of what does not fit."""
    plans = conversion.plan(source)
    raise_report([*plans[-1].problems, *plans[-1].unmatched])
    return plans


def raise_report(lines: Sequence[str], title: str = "The conversion does not fit:") -> None:
    """Raises a report, if there is anything in it."""
    if lines:
        raise StructureMismatchError("\n".join([title, *lines]))


def _linked(steps: Sequence[Conversion]) -> Conversion:
    """Returns one conversion of several."""
    last = None
    for step in reversed(steps):
        last = replace(step, following=last)
    assert last is not None
    return last


def _in_memory(made: Made | MadeConstant, arrays: Mapping[str, Any]) -> Any:
    if isinstance(made, MadeConstant):
        return made.whole()
    # The object itself: neither a copy nor an operation in the caller's trace.
    if made.is_as_it_was and not made.ties:
        return arrays[made.pieces[0].name]
    if any(isinstance(arrays[piece.name], jax.Array) for each in (made, *made.ties) for piece in each.pieces):
        return traced(made, arrays)
    return made.read(from_arrays(arrays), whole(made.type.shape))


def _spec(name: str, made: Made | MadeConstant, specs: Mapping[str, VariableSpec]) -> VariableSpec:
    """Returns the spec of what is made; its initial value is known only on the other side."""
    if isinstance(made, MadeConstant):
        return VariableSpec(name, made.type.shape, made.type.dtype, made.whole(), trainable=False)
    first = specs[made.pieces[0].name]
    axes = first.axes
    if axes is not None and made.bound.sides is not None:
        theirs, ours = made.bound.sides
        named: dict[Any, str | None] = {
            # A composed axis has parts of several meanings, so it has no logical name on the other side.
            composed: axis
            for composed, axis in zip(theirs, axes, strict=True)
            if len(composed) == 1
        }
        axes = tuple(named.get(composed) for composed in ours)
    return replace(
        first,
        path=name,
        shape=made.type.shape,
        dtype=made.type.dtype,
        # Text, as in specs from a file: by another path and shape, the initializer would give other values.
        initializer=f"converted from {first.path}",
        regularizer=None,
        constraint=None,
        axes=axes if axes is None or len(axes) == len(made.type.shape) else None,
        stack=(),
    )


def _notes(rule: Rule, conversion: Conversion) -> list[str]:
    """Returns what the table says of a rule besides its names and axes."""
    notes = [f"{name}: {_shown(value)}" for name, value in rule.where.items()]
    notes += [f"{name} in the order {list(value)}" for name, value in rule.order.items()]
    notes += [word for word in ("tied", "optional") if getattr(rule, word)]
    notes += [str(rule.dtype)] * bool(rule.dtype) + [f"{rule.function}()"] * bool(rule.function)
    function = conversion.functions.get(rule.function.removesuffix(INVERSE))
    return notes + ["lossy"] * bool(rule.lossy or (function and function.lossy))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={each}" for key, each in value.items())
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
