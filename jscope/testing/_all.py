"""All laws at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jscope._types import Key
from jscope._util import _text
from jscope.errors import InvalidArgumentError
from jscope.sharding import Rules
from jscope.testing._case import LawError
from jscope.testing._dtypes import dtypes_are_sound
from jscope.testing._places import keeps_contract, shardings_are_legal
from jscope.testing._randomness import key_decides, without_key_nothing_is_random
from jscope.testing._structure import init_agrees, state_keeps_structure
from jscope.testing._values import eager_equals_jitted, params_matter, rows_do_not_mix, scanned_equals_unrolled

_ALWAYS = (
    init_agrees,
    params_matter,
    rows_do_not_mix,
    eager_equals_jitted,
    state_keeps_structure,
    dtypes_are_sound,
    key_decides,
    without_key_nothing_is_random,
)


def every_law(
    model: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    key: Key | None = None,
    skip: Collection[str] = (),
    unrolled: Any = None,
    mesh: Any = None,
    rules: Rules | None = None,
    contract: str | Path | None = None,
) -> None:
    """Checks all laws of `jscope.testing`, and raises one report of those that are broken.

    >>> def model(scope, x):
    ...     return jscope.nn.dense(scope / "out", jax.nn.relu(jscope.nn.dense(scope / "hidden", x, 8)), 2)
    >>> every_law(model, (jax.ShapeDtypeStruct((4, 3), "float32"),))

    Args:
      model: A function of a scope, or what `transform` made of one.
      args: Its arguments: arrays or `jax.ShapeDtypeStruct`s, and whatever else it takes.
      kwargs: Its keyword arguments.
      key: The key of initial values and of what is drawn.
      skip: Names of laws that are not for this model: `{"rows_do_not_mix"}`, where it normalizes over a batch.
      unrolled: The same model with layers that are not scanned, for `scanned_equals_unrolled`.
      mesh: With `rules`, for `shardings_are_legal`.
      rules: The rules for the mesh.
      contract: A file, for `keeps_contract`.

    Raises:
      LawError: With the reports of all laws that are broken. Other errors of the model come as they are.
      InvalidArgumentError: `skip` names a law that there is not, or one of `mesh` and `rules` comes without the other.
    """
    if (mesh is None) != (rules is None):
        given, lacks = ("rules", "mesh") if mesh is None else ("mesh", "rules")
        raise InvalidArgumentError(f"every_law: `{given}=` needs `{lacks}=`, for `shardings_are_legal`.")
    if isinstance(skip, str):
        raise InvalidArgumentError(f"every_law: skip={skip!r} must be a set of names: `skip={{{skip!r}}}`.")
    laws: dict[str, Callable[[], None]] = {law.__name__: partial(law, model, args, kwargs, key=key) for law in _ALWAYS}
    if unrolled is not None:
        laws["scanned_equals_unrolled"] = partial(scanned_equals_unrolled, model, unrolled, args, kwargs, key=key)
    if mesh is not None and rules is not None:
        laws["shardings_are_legal"] = partial(shardings_are_legal, model, args, kwargs, mesh=mesh, rules=rules)
    if contract is not None:
        laws["keeps_contract"] = partial(keeps_contract, model, args, kwargs, contract=contract)
    # A misspelt name would leave out nothing, and the law that it means would fail for no visible reason.
    for name in skip:
        if name not in laws:
            raise InvalidArgumentError(f"every_law: there is no law {name!r} to skip.{_text.did_you_mean(name, laws)}")
    reports = []
    for name, law in laws.items():
        if name not in skip:
            try:
                law()
            except LawError as error:
                reports.append(str(error))
    if reports:
        raise LawError("\n".join(reports))
