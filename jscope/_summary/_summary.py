"""A summary is a value: what a model has and does, scope by scope.

    model --specs, one trace--> variables, programs --walk--> amounts by scope --> table, dict, picture

All its numbers are exact for what they count, and they add up: what a scope has in all is what it has itself and what
the scopes below it have.
"""

from __future__ import annotations

import html
import importlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from jscope import _path
from jscope._specs import Specs
from jscope._summary._count import Counter
from jscope._summary._flow import Edges, Flow, str_of
from jscope._summary._graph import Graph, graph_of
from jscope._summary._names import Place
from jscope._summary._trace import Traced, checked_depth, needed, traced
from jscope._summary._units import short, short_bytes
from jscope._util import _plain, _text

_HEADER = ("scope", "output", "params", "bytes", "state", "FLOPs", "gradient", "kept", "share")


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a scope has and does.

    >>> amounts = jscope.summary(lambda scope, x: jscope.nn.dense(scope / "out", x, 2), jnp.ones((4, 3))).total
    >>> amounts.params, amounts.params_bytes, amounts.flops
    (8, 32, 56)

    Attributes:
      params: Elements of its params.
      params_bytes: Their bytes.
      state: Elements of its state.
      state_bytes: Their bytes.
      flops: Operations of `apply`, as XLA counts them before it optimizes: see `docs/seeing.md`.
      transcendentals: Functions such as `exp` and `tanh` in it, which are not among the operations.
      gradient_flops: What the gradient by all params takes on top of that, with what `remat` computes again.
      kept_bytes: Bytes of what was computed that are kept for the gradient.
    """

    params: int = 0
    params_bytes: int = 0
    state: int = 0
    state_bytes: int = 0
    flops: int = 0
    transcendentals: int = 0
    gradient_flops: int = 0
    kept_bytes: int = 0

    def plus(self, other: Amounts) -> Amounts:
        """Returns the sum of both."""
        return Amounts(*(a + b for a, b in zip(_fields(self), _fields(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Row:
    """One scope of a summary.

    >>> row = jscope.summary(lambda scope, x: jscope.nn.dense(scope / "out", x, 2), jnp.ones((4, 3)))["out"]
    >>> row.outputs, row.variables, row.share
    (('float32[4,2]',), ('out/kernel', 'out/bias'), 1.0)

    Attributes:
      path: The path of the scope; `""` for the root itself, and None for what belongs to no scope.
      outputs: The types of the arrays that leave it, such as `float32[8,128]`.
      variables: The paths of the variables that are directly in it.
      own: What it has itself.
      total: What it has in all, with the scopes below it.
      share: Its part of all operations, or, where there are none, of the bytes of all params.
    """

    path: str | None
    outputs: tuple[str, ...]
    variables: tuple[str, ...]
    own: Amounts
    total: Amounts
    share: float

    @property
    def label(self) -> str:
        """What tables call it."""
        return "(no scope)" if self.path is None else self.path or "(root)"


@dataclass(frozen=True, eq=False)
class Summary:
    """What `jscope.summary` returns: rows by scope, that print as a table.

    >>> summary = jscope.summary(lambda scope, x: jscope.nn.dense(scope / "out", x, 2), jnp.ones((4, 3)))
    >>> summary.outputs, summary["out"].total.params, summary.notes
    (('float32[4,2]',), 8, ())

    Attributes:
      rows: A row for each scope, those below a scope after it.
      total: The whole model.
      outputs: The types of what the model returns.
      specs: Its variables.
      notes: What could not be counted, and what was assumed.
      depth: How many parts of a path are shown.
      edges: What flows from scope to scope.
      programs: What was counted; None in a summary that was pickled or copied.
    """

    rows: tuple[Row, ...]
    total: Amounts
    outputs: tuple[str, ...]
    specs: Specs
    notes: tuple[str, ...] = ()
    depth: int | None = None
    edges: Edges = field(default_factory=dict, repr=False)
    programs: Traced | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # JAX's programs stay in their process.
        return vars(self) | {"programs": None}

    def __getitem__(self, path: str | None) -> Row:
        """Returns the row of a scope."""
        for row in self.rows:
            if row.path == path:
                return row
        raise KeyError(f"{path!r} is not a scope here.{_text.did_you_mean(str(path), [r.label for r in self.rows])}")

    def __iter__(self) -> Iterator[Row]:
        return (row for row in self.rows if self.depth is None or _level(row.path) <= max(self.depth, 1))

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Returns the header and the rows of the table, as text."""
        lines = []
        shown = list(self) if self.depth != 0 else []
        for row, after in itertools.zip_longest(shown, shown[1:]):
            lines.append(_line(row.label, row.outputs, row.total, row.share))
            below = after is not None and row.path and after.path and _path.relative(after.path, row.path)
            # Without it, the rows below would not add up to this one.
            if below and any(_fields(row.own)):
                share = self._share(row.own)
                lines.append(_line(f"{row.path} (itself)", (), row.own, share))
        return _HEADER, [*lines, _line("total", self.outputs, self.total, 1.0)]

    def _share(self, amounts: Amounts) -> float:
        return _work(amounts, self.total) / max(_work(self.total, self.total), 1)

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as dicts, lists and numbers, as JSON has them.

        >>> summary = jscope.summary(lambda s, x: x * s.get_variable("w", (3,)), jnp.ones(3))
        >>> summary.to_dict()["total"]["params"], [row["path"] for row in summary.to_dict()["scopes"]]
        (3, [''])
        """
        scopes = [asdict(row) | {"outputs": list(row.outputs), "variables": list(row.variables)} for row in self]
        whole = {"total": asdict(self.total), "outputs": list(self.outputs), "notes": list(self.notes)}
        return whole | {"scopes": scopes}

    def graph(self) -> Graph:
        """Returns the scopes and what flows between them, as Graphviz text and SVG: see `docs/seeing.md`."""
        return graph_of([(row.path, row.label, row.total.params) for row in self], self.edges)

    def __str__(self) -> str:
        header, rows = self.table()
        return "\n".join([*_plain.aligned([header, *rows], right=True), *self._notes()])

    def __repr__(self) -> str:
        return f"<Summary of {len(self.rows)} scopes>\n{self}"

    def __rich__(self) -> Any:
        """Returns a table of rich, for `rich.print`."""
        return importlib.import_module("jscope._rich").renderable(*self.table(), right=True, notes=self._notes())

    def _repr_html_(self) -> str:
        header, rows = self.table()
        lines = [_html_row("<th>", header, "</th>"), *(_html_row("<td>", row, "</td>") for row in rows)]
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        return f"<table>{''.join(lines)}</table>{notes}"

    def _notes(self) -> list[str]:
        return [f"Note: {note}." for note in self.notes]


def summary(model: Any, /, *args: Any, depth: int | None = None, **kwargs: Any) -> Summary:
    """Returns what a model has and does, scope by scope, without running or compiling it.

    >>> def mlp(scope, x):
    ...     x = jax.nn.relu(jscope.nn.dense(scope / "hidden", x, 64))
    ...     return jscope.nn.dense(scope / "out", x, 10)
    >>> print(jscope.summary(mlp, jax.ShapeDtypeStruct((8, 32), "float32")))
    scope               output   params      bytes   state     FLOPs   gradient      kept    share
    hidden       float32[8,64]    2,112    8,448 B       0   33.28 k    33.22 k       0 B    67.2%
    out          float32[8,10]      650    2,600 B       0   10.32 k    20.55 k       0 B    31.2%
    (no scope)                        0        0 B       0       512      1,024   2,560 B     1.6%
    total        float32[8,10]    2,762   11.05 kB       0   44.11 k    54.79 k   2,560 B   100.0%

    Args:
      model: A function of a scope, or what `transform` made of one.
      *args: Its arguments, as for `init`: arrays or `jax.ShapeDtypeStruct`s, and whatever else it takes.
      depth: How many parts of a path to show: 1 for the outermost scopes. None shows all. Sums do not change.
      **kwargs: Its keyword arguments.

    Raises:
      InvalidArgumentError: `depth` is not a non-negative int. Errors of the model itself come as they are.
    """
    depth = checked_depth(depth)
    programs = traced(model, args, kwargs)
    counter, amounts = Counter(), dict[Place, Amounts]()

    def add(place: Place, **more: int) -> None:
        amounts[place] = amounts.get(place, Amounts()).plus(Amounts(**more))

    for spec in programs.specs.flat().values():
        kind = "params" if spec.trainable else "state"
        add(_path.parent(spec.path), **{kind: spec.size, f"{kind}_bytes": spec.nbytes})
    forward = counter.costs(needed(programs.forward))
    for place, cost in forward.items():
        add(place, flops=cost.flops, transcendentals=cost.transcendentals)
    if programs.gradient is not None:
        for place, cost in counter.costs(programs.gradient).items():
            add(place, gradient_flops=cost.flops)
        for place, cost in forward.items():
            # The program with the gradient computes what `apply` does as well.
            add(place, gradient_flops=-cost.flops)
        for variable in programs.kept:
            add(counter.source(programs.gradient, variable), kept_bytes=_nbytes(variable.aval))
    flow = Flow(programs.forward, programs.outputs)
    outputs = tuple(str_of(aval) for aval in programs.forward.out_avals[: programs.outputs])
    notes = list(counter.notes)
    if programs.refusal is not None:
        notes.append(f"no gradient was counted, since JAX has none of this model ({programs.refusal})")
    return replace(_summed(amounts, flow, programs.specs, outputs, tuple(notes), depth), programs=programs)


def _summed(
    amounts: dict[Place, Amounts],
    flow: Flow,
    specs: Specs,
    outputs: tuple[str, ...],
    notes: tuple[str, ...],
    depth: int | None,
) -> Summary:
    """Returns the summary of these amounts."""
    totals: dict[Place, Amounts] = {}
    for place, each in amounts.items():
        for scope in (*_path.prefixes(place), place) if place else (place,):
            totals[scope] = totals.get(scope, Amounts()).plus(each)
    total = _sum(amounts.values())
    variables: dict[str, list[str]] = {}
    for path in specs:
        variables.setdefault(_path.parent(path), []).append(path)
    rows = []
    for place in _in_order([*flow.order, *variables, *amounts]):
        if place in totals:
            own, whole = amounts.get(place, Amounts()), totals[place]
            share = _work(whole, total) / max(_work(total, total), 1)
            named = () if place is None else (tuple(flow.outputs.get(place, ())), tuple(variables.get(place, ())))
            rows.append(Row(place, *(named or ((), ())), own, whole, share))
    return Summary(tuple(rows), total, outputs, specs, notes, depth, flow.edges)


def _in_order(places: Iterable[Place]) -> list[Place]:
    """Returns all scopes, and those around them, each with those below it behind it, else in the order given."""
    tree: dict[str, Any] = {}
    found = list(places)
    for place in found:
        if place:
            _make(tree, _path.parts(place))
    # The root itself and what belongs to no scope are rows like others; they stand at the end.
    return [*_paths(tree, ""), *([""] if "" in found else []), *([None] if None in found else [])]


def _make(tree: dict[str, Any], names: Iterable[str]) -> None:
    for name in names:
        tree = tree.setdefault(name, {})


def _paths(tree: dict[str, Any], at: str) -> Iterator[str]:
    for name, below in tree.items():
        path = _path.child(at, name)
        yield path
        yield from _paths(below, path)


def _sum(every: Iterable[Amounts]) -> Amounts:
    total = Amounts()
    for each in every:
        total = total.plus(each)
    return total


def _fields(amounts: Amounts) -> tuple[int, ...]:
    return tuple(getattr(amounts, name) for name in amounts.__slots__)


def _work(amounts: Amounts, total: Amounts) -> int:
    """Returns what shares are shares of: operations, or bytes of params where there are none."""
    # Without any, as of a table that is only looked up, shares of zero would say nothing.
    flops: Callable[[Amounts], int] = lambda each: each.flops + each.gradient_flops  # noqa: E731
    return flops(amounts) if flops(total) else amounts.params_bytes


def _nbytes(aval: Any) -> int:
    return math.prod(aval.shape) * getattr(aval.dtype, "itemsize", 1)


def _level(path: Place) -> int:
    return len(_path.parts(path or "")) or 1


def _line(label: str, outputs: tuple[str, ...], amounts: Amounts, share: float) -> tuple[str, ...]:
    shown = ", ".join(outputs[:2]) + (f", {len(outputs) - 2} more" if len(outputs) > 2 else "")
    sizes = (short(amounts.params), short_bytes(amounts.params_bytes + amounts.state_bytes), short(amounts.state))
    work = (short(amounts.flops), short(amounts.gradient_flops), short_bytes(amounts.kept_bytes), f"{share:.1%}")
    # `jax.named_scope` takes any name, also one that would steer a terminal.
    return _plain.printable(label), shown, *sizes, *work


def _html_row(opening: str, cells: Iterable[str], closing: str) -> str:
    return "<tr>" + "".join(opening + html.escape(cell) + closing for cell in cells) + "</tr>"
