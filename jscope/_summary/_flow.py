"""What flows from scope to scope: the results of each, and who reads them."""

from __future__ import annotations

from typing import Any, TypeAlias

from jscope import _path
from jscope._summary._count import jaxprs_of
from jscope._summary._names import Place, opened_jaxpr, place_of

Edges: TypeAlias = dict[tuple[Place, Place], dict[str, None]]
"""The types of the arrays that go from one scope to another."""


class Flow:
    """The results of the scopes of a program, and the edges between the scopes.

    Attributes:
      outputs: The types of the arrays that leave a scope, by its path, in the order in which they are made.
      edges: The types of the arrays that one scope makes and another reads.
      order: The scopes, in the order of their first equations.
    """

    def __init__(self, jaxpr: Any, outputs: int) -> None:
        self.outputs: dict[str, dict[str, None]] = {}
        self.edges: Edges = {}
        self.order: dict[Place, None] = {}
        # New state leaves the program, too, but not as an output of a scope.
        self._walk(opened_jaxpr(jaxpr), None, {}, set(), outputs)

    def _walk(
        self, jaxpr: Any, outer: Place, makers: dict[Any, Place], walked: set[Any], outputs: int | None = None
    ) -> None:
        for equation in jaxpr.eqns:
            place = place_of(equation, outer)
            self.order.setdefault(place)
            for variable in _variables(equation.invars):
                if variable in makers:
                    self._flows(variable, makers[variable], place, outer)
            makers.update(dict.fromkeys(equation.outvars, place))
            for inner in jaxprs_of(equation):
                # What many call, such as `jnp.where`, is walked once for each place.
                key = id(inner), place
                if key not in walked:
                    walked.add(key)
                    opened = opened_jaxpr(inner)
                    # Where it is called is seen what comes into it. Inside, that comes from there; params do not.
                    pairs = zip(reversed(opened.invars), reversed(equation.invars), strict=False)
                    given = {inside: place for inside, out in pairs if not hasattr(out, "val") and out in makers}
                    self._walk(opened, place, given, walked)
        for variable in _variables(jaxpr.outvars[:outputs]):
            if variable in makers:
                self._flows(variable, makers[variable], outer, outer)

    def _flows(self, variable: Any, maker: Place, reader: Place, outer: Place) -> None:
        if maker == reader:
            return
        shown = str_of(variable.aval)
        self.edges.setdefault((maker, reader), {})[shown] = None
        for scope in () if maker is None else (*_path.prefixes(maker), maker):
            # The results of the scopes around the whole jaxpr are seen where it is called.
            if not _holds(scope, reader) and not _holds(scope, outer):
                self.outputs.setdefault(scope, {})[shown] = None


def str_of(aval: Any) -> str:
    """Returns a type as text.

    >>> str_of(jax.ShapeDtypeStruct((2, 3), "float32"))
    'float32[2,3]'
    """
    dtype = getattr(aval, "dtype", None)
    return f"{getattr(dtype, 'name', dtype)}[{','.join(map(str, getattr(aval, 'shape', ())))}]"


def _holds(scope: str, place: Place) -> bool:
    return place is not None and _path.relative(place, scope) is not None


def _variables(atoms: Any) -> list[Any]:
    return [atom for atom in atoms if not hasattr(atom, "val")]
