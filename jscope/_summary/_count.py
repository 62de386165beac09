"""What a program costs, by scope.

The program is walked, not compiled. A loop costs what its body costs, times its length; a `cond` what its dearest
branch costs; what `remat` computes again stands in the program again, and is counted again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

from jscope._summary._cost import NOTHING, REDUCTIONS, RULES, Cost, cost
from jscope._summary._names import Place, is_jaxpr, opened_jaxpr, place_of

Costs: TypeAlias = dict[Place, Cost]


class Counter:
    """Counts programs, and remembers the functions that many places call.

    Attributes:
      notes: What could not be counted, and what was assumed.
    """

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}
        self._done: dict[Any, Any] = {}
        self._makers: dict[int, Any] = {}

    def costs(self, jaxpr: Any, place: Place = None) -> Costs:
        """Returns the cost of a tagged jaxpr that is called at `place`, by scope."""
        # The jaxpr is kept, so that its id stays its own.
        key = id(jaxpr), place
        if key not in self._done:
            each = (self._equation(equation, place) for equation in opened_jaxpr(jaxpr).eqns)
            self._done[key] = jaxpr, _total(each)
        return self._done[key][1]

    def source(self, jaxpr: Any, variable: Any, place: Place = None) -> Place:
        """Returns where a result of a tagged jaxpr was computed, be it inside of a function that the jaxpr calls."""
        # Found once for each jaxpr, as large ones keep thousands of results.
        if id(jaxpr) not in self._makers:
            self._makers[id(jaxpr)] = jaxpr, makers(jaxpr)
        equation = self._makers[id(jaxpr)][1].get(variable)
        if equation is None:
            return place
        where, inner = place_of(equation, place), jaxprs_of(equation)
        results = opened_jaxpr(inner[0]).outvars if inner else ()
        # Most functions return what their jaxpr returns; the others keep their secret.
        if len(results) != len(equation.outvars):
            return where
        result = results[equation.outvars.index(variable)]
        return where if hasattr(result, "val") else self.source(inner[0], result, where)

    def _equation(self, equation: Any, outer: Place) -> Costs:
        place, name, params = place_of(equation, outer), equation.primitive.name, equation.params
        # The jaxpr of a reduction or a scatter is what it does to two elements: its cost is in the rules.
        inner = () if name in RULES or name in REDUCTIONS or name.startswith("scatter") else jaxprs_of(equation)
        if not inner:
            return {place: cost(equation)}
        every = [self.costs(jaxpr, place) for jaxpr in inner]
        match name:
            case "cond":
                return max(every, key=lambda costs: sum(each.flops for each in costs.values()))
            case "scan":
                return _times(every[0], params["length"])
            case "while":
                self.notes["a while loop was counted as one iteration: how many there are is not known"] = None
                return _total(every)
            case "shard_map":
                # The body is what one device does.
                return _times(every[0], math.prod(params["mesh"].shape.values()))
            case "pallas_call":
                # The body is one step of the grid.
                return _times(every[0], math.prod(params["grid_mapping"].grid))
        return _total(every)


def makers(jaxpr: Any) -> dict[Any, Any]:
    """Returns the equation that each variable of a jaxpr comes from."""
    return {variable: equation for equation in opened_jaxpr(jaxpr).eqns for variable in equation.outvars}


def jaxprs_of(equation: Any) -> list[Any]:
    """Returns the jaxprs that an equation runs."""
    found = []
    # Rules of differentiation stand beside the jaxpr of a `custom_jvp` as functions: they are not run, and not found.
    for value in equation.params.values():
        found += [each for each in (value if isinstance(value, tuple) else (value,)) if is_jaxpr(each)]
    return found


def _total(every: Iterable[Costs]) -> Costs:
    total: Costs = {}
    for costs in every:
        for place, each in costs.items():
            total[place] = total.get(place, NOTHING).plus(each)
    return total


def _times(costs: Costs, number: int) -> Costs:
    return {place: each.times(number) for place, each in costs.items()}
