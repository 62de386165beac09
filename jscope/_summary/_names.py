"""To which scope an equation belongs.

An equation belongs to the scope whose name was entered around it (`named`, `with scope:`, a layer of `nn`, a lift). An
equation without a name belongs to the scope of the variable that it reads, or of the variables from which all that it
reads was computed; within a loop or another function it belongs where that was called. What is left belongs to none.

The scope of each equation is written into the program, as a name that JAX carries along when it differentiates. So
the equations of a gradient are known to belong where the equations belong that they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from jscope import _path

Place: TypeAlias = str | None
"""The path of a scope, or None for what belongs to none."""

_TAG = "jscope:"


class Names:
    """Writes the scope of each equation into a program."""

    def __init__(self) -> None:
        self._done: dict[Any, Any] = {}

    def tagged(self, jaxpr: Any, variables: Sequence[Place], place: Place = None, entered: str = "") -> Any:
        """Returns a jaxpr whose equations are tagged, where they belong elsewhere than the jaxpr itself.

        Args:
          jaxpr: A jaxpr, closed or not.
          variables: For each of its inputs, the scope of the variables that it was computed from, if from these alone.
          place: Where the equation belongs that calls this jaxpr.
          entered: The names that were entered around that equation.
        """
        # What many places call, such as `jnp.where`, is written once. The jaxpr is kept, so that its id stays its own.
        key = id(jaxpr), tuple(variables), place, entered
        if key not in self._done:
            self._done[key] = jaxpr, self._tag(jaxpr, variables, place, entered)
        return self._done[key][1]

    def _tag(self, jaxpr: Any, variables: Sequence[Place], place: Place, entered: str) -> Any:
        opened = opened_jaxpr(jaxpr)
        known = dict(zip(opened.invars, variables, strict=True))
        equations = [self._equation(equation, known, place, entered) for equation in opened.eqns]
        if all(new is old for new, old in zip(equations, opened.eqns, strict=True)):
            return jaxpr
        new = opened.replace(eqns=equations)
        return new if opened is jaxpr else jaxpr.replace(jaxpr=new)

    def _equation(self, equation: Any, known: dict[Any, Place], place: Place, entered: str) -> Any:
        read = [(v, known.get(v)) for v in equation.invars if not hasattr(v, "val")]
        sources = [source for _, source in read if source is not None]
        own = _path.join(entered, names) if (names := _entered(equation)) else ""
        where = own or (_common(sources) if sources else place)
        if read and len(sources) == len(read):
            # A cast or a norm of variables is still theirs, and so is what reads it.
            known.update(dict.fromkeys(equation.outvars, _common(sources)))
        params = {
            name: self._inner(name, value, equation, known, where, own or entered)
            for name, value in equation.params.items()
        }
        if where == place and all(params[name] is value for name, value in equation.params.items()):
            return equation
        return with_tag(equation.replace(params=params), where if where != place else None)

    def _inner(self, name: str, value: Any, equation: Any, known: dict[Any, Place], place: Place, entered: str) -> Any:
        """Returns a parameter of an equation, tagged if it is a jaxpr, or a tuple of some."""
        if isinstance(value, tuple) and any(map(is_jaxpr, value)):
            new = tuple(self._inner(name, each, equation, known, place, entered) for each in value)
            return value if all(a is b for a, b in zip(new, value, strict=True)) else new
        if not is_jaxpr(value):
            return value
        given = [None if hasattr(v, "val") else known.get(v) for v in operands(equation, name)]
        count = len(opened_jaxpr(value).invars)
        # Where operands and inputs do not pair up, nothing is said of where they come from, which is better than
        # something wrong.
        return self.tagged(value, given if len(given) == count else [None] * count, place, entered)


def operands(equation: Any, name: str) -> list[Any]:
    """Returns what an equation hands to its jaxpr `name`, as far as each run of it gets the same."""
    variables, params = list(equation.invars), equation.params
    match equation.primitive.name:
        case "cond":
            return variables[1:]
        case "while":
            start, stop = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
            constants = variables[:start] if name == "cond_jaxpr" else variables[start:stop]
            return [*constants, *map(_changing, variables[stop:])]
        case "scan":
            start, stop = carried(equation)
            return [*variables[:start], *map(_changing, variables[start:stop]), *variables[stop:]]
    return variables


def carried(scan: Any) -> tuple[int, int]:
    """Returns where what a scan carries begins and ends among what it reads."""
    body = opened_jaxpr(scan.params["jaxpr"])

    def same(outer: Any, inner: Any) -> int:
        """Counts what goes in or out whole; slices have an axis less than what they are slices of."""
        return sum(len(a.aval.shape) == len(b.aval.shape) for a, b in zip(outer, inner, strict=True))

    # Constants and the carry go in whole, and the carry comes out whole. (How JAX says it depends on its version.)
    stop = same(scan.invars, body.invars)
    return stop - same(scan.outvars, body.outvars), stop


def _changing(variable: Any) -> _Unknown:
    return _Unknown()


class _Unknown:
    """Stands for what a loop carries: its first value says nothing of the others."""


def is_jaxpr(value: Any) -> bool:
    """Whether this is a jaxpr, closed or not."""
    return hasattr(value, "eqns")


def opened_jaxpr(jaxpr: Any) -> Any:
    """Returns a jaxpr without the values of its constants; newer versions of JAX make no difference."""
    return getattr(jaxpr, "jaxpr", jaxpr)


def with_tag(equation: Any, place: Place) -> Any:
    """Returns an equation with a scope written into it, or, for None, with nothing but what it says already."""
    # JAX has no public name for the class of a stack of names, so an empty one comes from what there is.
    info, names = equation.source_info, type(equation.source_info.name_stack)()
    stack = names if place is None else names.extend(_TAG + place)
    return equation.replace(source_info=info.replace(name_stack=stack))


def place_of(equation: Any, place: Place) -> Place:
    """Returns where an equation of a tagged program belongs, in a jaxpr that is called at `place`."""
    tags = [name for name in _names(equation) if name.startswith(_TAG)]
    return tags[-1].removeprefix(_TAG) if tags else place


def _names(equation: Any) -> list[str]:
    # Between the names stand the transforms that the equation went through, which have another type.
    return [each.name for each in equation.source_info.name_stack.stack if type(each).__name__ == "Scope"]


def _entered(equation: Any) -> str:
    # JAX itself names what comes from `jnp.einsum`, by its formula.
    return _path.join(*(name for name in _names(equation) if "->" not in name))


def _common(places: Sequence[str]) -> str:
    """Returns the innermost scope around all of these."""
    parts = [_path.parts(place) for place in places]
    shared = []
    for each in zip(*parts, strict=False):
        if len(set(each)) > 1:
            break
        shared.append(each[0])
    return _path.join(*shared)
