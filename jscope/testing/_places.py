"""Laws of where the variables of a model are kept: on a mesh, and in a contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jscope._contract import compare_specs
from jscope._specs import Specs
from jscope.sharding import Rules, ShardingError, shardings
from jscope.testing._case import break_law, case


def shardings_are_legal(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, mesh: Any, rules: Rules
) -> None:
    """The rules split every variable over the mesh, which may be a `jax.sharding.AbstractMesh`, without devices.

    >>> model = lambda scope: scope.get_variable("w", (4, 8), axes=("embed", "mlp"))
    >>> mesh = jax.sharding.AbstractMesh((1, 2), ("data", "model"))
    >>> shardings_are_legal(model, mesh=mesh, rules=jscope.sharding.tensor_parallel())

    Raises:
      LawError: With a line for each variable that they do not fit.
    """
    lines = []
    for path, spec in case(model, args, kwargs, None).specs.flat().items():
        try:
            # One by one, since the first that does not fit would hide the others.
            shardings(Specs({path: spec}), mesh, rules)
        except ShardingError as error:
            lines.append(str(error).partition("\n")[0])
    if lines:
        break_law("shardings_are_legal", lines, "Change the rules, the sizes or the mesh: see `docs/sharding.md`.")


def keeps_contract(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, contract: str | Path
) -> None:
    """The variables are those in a file that `Specs.to_json` or `python -m jscope specs --out` has written.

    >>> import tempfile
    >>> contract = Path(tempfile.mkdtemp()) / "specs.json"
    >>> model = jscope.transform(lambda scope: scope.get_variable("w", (2, 3)))
    >>> _ = contract.write_text(model.specs().to_json())
    >>> keeps_contract(model, contract=contract)

    Raises:
      LawError: With what differs, and what that means: see `docs/seeing.md`.
    """
    kept = Specs.from_json(Path(contract).read_text(encoding="utf8"))
    if changes := compare_specs(kept, case(model, args, kwargs, None).specs):
        lines = str(changes).splitlines()
        break_law("keeps_contract", lines, f"Where this is meant, write `{contract}` anew.")
